"""What goes with a job's audio on its timeline: subtitles and the waveform."""

import asyncio
from typing import Annotated

import msgspec
from fastapi import APIRouter, Query, Request, Response

from rhapsode.api.audio import LiveResponse, disposition, job_headers, next_piece, unfinished
from rhapsode.api.connection import while_connected
from rhapsode.api.context import Context, Ctx, Reader
from rhapsode.api.ranges import matches
from rhapsode.api.schemas_media import PeaksAnswer
from rhapsode.deliver.peaks import Peaks
from rhapsode.jobs.peaks import measure_peaks
from rhapsode.jobs.subtitles import SubtitleFormat, subtitles
from rhapsode.model import Caller, Job

router = APIRouter(prefix="/tts/{job_id}", tags=["timeline"])

_MOST = 20_000
_TYPES = {SubtitleFormat.VTT: "text/vtt", SubtitleFormat.SRT: "application/x-subrip"}

Partial = Annotated[bool, Query(description="Of an unfinished job, what is spoken up to the first gap.")]


@router.get(
    "/subtitles.vtt",
    response_class=Response,
    responses={200: {"description": "WebVTT.", "content": {_TYPES[SubtitleFormat.VTT]: {}}}},
)
async def subtitles_vtt(job_id: str, request: Request, ctx: Ctx, caller: Reader, partial: Partial = False) -> Response:
    """Subtitles as WebVTT, timed as the finished audio."""
    return await _subtitles(ctx, request, caller, job_id, SubtitleFormat.VTT, partial)


@router.get(
    "/subtitles.srt",
    response_class=Response,
    responses={200: {"description": "SubRip.", "content": {_TYPES[SubtitleFormat.SRT]: {}}}},
)
async def subtitles_srt(job_id: str, request: Request, ctx: Ctx, caller: Reader, partial: Partial = False) -> Response:
    """Subtitles as SubRip, timed as the finished audio."""
    return await _subtitles(ctx, request, caller, job_id, SubtitleFormat.SRT, partial)


@router.get("/peaks", response_class=Response, responses={200: {"model": PeaksAnswer}})
async def peaks(
    job_id: str,
    request: Request,
    ctx: Ctx,
    caller: Reader,
    points: Annotated[int, Query(ge=1, le=_MOST, description="Stretches to divide the audio into.")] = 1000,
    partial: Partial = False,
) -> Response:
    """The waveform of the finished audio."""
    job = await ctx.service.living(job_id, caller)
    answer = None if partial else unfinished(job, "the waveform")
    if answer:
        return answer
    etag = _etag(job, str(points))
    headers = job_headers(job) | _validators(etag)
    if etag and matches(request, etag):
        return Response(status_code=304, headers=headers)
    key = (job.id, job.result.revision, points) if job.result else None

    async def make() -> bytes:
        return await asyncio.to_thread(_encoded, await measure_peaks(ctx.service.shop, job, points))

    body = await while_connected(request, ctx.waveforms.get(key, make))
    return Response(body, headers=headers, media_type="application/json")


async def _subtitles(
    ctx: Context, request: Request, caller: Caller, job_id: str, wanted: SubtitleFormat, partial: bool
) -> Response:
    job = await ctx.service.living(job_id, caller)
    answer = None if partial else unfinished(job, "the subtitles")
    if answer:
        return answer
    etag = _etag(job, wanted.value)
    headers = job_headers(job) | disposition(f"subtitles_of_{job.id}.{wanted.value}") | _validators(etag)
    if etag and matches(request, etag):
        return Response(status_code=304, headers=headers)
    stream = subtitles(ctx.service.shop, job, wanted)
    try:
        first = await while_connected(request, next_piece(stream))
    except BaseException:
        await stream.aclose()
        raise
    return LiveResponse(request, first, stream, headers=headers, media_type=f"{_TYPES[wanted]}; charset=utf-8")


def _etag(job: Job, kind: str) -> str | None:
    """What tells one version of a completed job from the next; None while it is still growing."""
    return f'"{job.result.digest[:32]}-{job.result.revision}-{kind}"' if job.result else None


def _validators(etag: str | None) -> dict[str, str]:
    return {"ETag": etag, "Cache-Control": "no-cache"} if etag else {"Cache-Control": "no-store"}


def _encoded(found: Peaks) -> bytes:
    return msgspec.json.encode(
        {
            "points": len(found.low),
            "sample_rate": found.rate,
            "duration_seconds": round(found.samples / found.rate, 6) if found.rate else 0.0,
            "min": found.low,
            "max": found.high,
        }
    )
