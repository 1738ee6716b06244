"""A job piece by piece: its segments, what became of each, and how it sounds."""

from collections.abc import Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import JSONResponse

from rhapsode.api.audio import AUDIO, disposition, job_headers, unfinished
from rhapsode.api.connection import while_connected
from rhapsode.api.context import Context, Ctx, Reader, root_of
from rhapsode.api.errors import problem
from rhapsode.api.ranges import bytes_response, matches
from rhapsode.api.schemas_media import Segments
from rhapsode.audio.encode import content_type, extension
from rhapsode.deliver.piece import encode_piece
from rhapsode.deliver.timeline import Placer
from rhapsode.errors import BlobError, InvalidInput, NotFound
from rhapsode.jobs.joiner import in_thread, joint_of, read_take, timeline_options
from rhapsode.jobs.spoken import lost_take, placer_from
from rhapsode.model import AudioFormat, Job, JobStatus, SegmentState, SegmentStatus, Take

router = APIRouter(prefix="/tts/{job_id}/segments", tags=["segments"])

_MOST = 1000
_LAST = 10**9
_FORMATS = tuple(name for name in AudioFormat if name is not AudioFormat.PCM)


@router.get("", responses={200: {"model": Segments}})
async def segments(
    job_id: str,
    request: Request,
    ctx: Ctx,
    caller: Reader,
    start: Annotated[int, Query(ge=0, le=_LAST, description="First segment, counted from 0.")] = 0,
    limit: Annotated[int, Query(ge=1, le=_MOST, description="Most segments in one answer.")] = 100,
    status: Annotated[SegmentStatus | None, Query(description="Only segments of this status.")] = None,
    words: Annotated[bool, Query(description="With the time of each spoken word.")] = False,
) -> JSONResponse:
    """The segments of a job: text, status, and where each lies in the finished audio as soon as that is certain."""
    job = await ctx.service.living(job_id, caller)
    ledger = ctx.service.shop.ledger
    placer = await placer_from(ledger, job, start)
    found = await ledger.segments(job.id, start, limit + 1, status)
    base = f"{root_of(request)}/tts/{job.id}/segments"
    answer = {
        "segments": _described(job, found[:limit], start, placer, base, words),
        "next_start": found[limit].segment.index if len(found) > limit else None,
        "total": job.segments_total,
        "plan_done": job.plan_done,
    }
    return JSONResponse(answer, headers={"Cache-Control": "no-store"})


@router.head("/{n}/audio", include_in_schema=False)
@router.get("/{n}/audio", response_class=Response, responses=AUDIO)
async def segment_audio(
    job_id: str,
    n: str,
    request: Request,
    ctx: Ctx,
    caller: Reader,
    wanted: Annotated[str, Query(alias="format", description="wav, flac, mp3, opus or aac.")] = "wav",
) -> Response:
    """One segment as it sounds in the finished audio."""
    job = await ctx.service.living(job_id, caller)
    audio_format = _format(wanted)
    index = _index(n, job)
    found = await ctx.service.shop.ledger.segments(job.id, index, 1)
    state = found[0] if found and found[0].segment.index == index else None
    if state is None and job.plan_done:
        raise _unknown(n, job)
    if state is None or state.take is None:
        return unfinished(job, f"segment {index}") or _lost(job, index)
    etag = f'"{state.take.digest[:32]}-{audio_format.value}"'
    headers = job_headers(job) | {"ETag": etag, "Cache-Control": "no-cache"}
    if matches(request, etag):
        return Response(status_code=304, headers=headers)
    data = await while_connected(request, _encoded(ctx, job, state, state.take, audio_format))
    name = f"segment_{index}_of_{job.id}.{extension(audio_format)}"
    return bytes_response(request, data, content_type(audio_format), headers | disposition(name))


def _described(
    job: Job, states: Sequence[SegmentState], expected: int, placer: Placer | None, base: str, words: bool
) -> list[dict[str, object]]:
    """Segments as JSON; places are known up to the first that is missing or not spoken."""
    described: list[dict[str, object]] = []
    for state in states:
        if state.take is None or state.segment.index != expected:
            placer = None
        described.append(_segment(job, state, placer, base, words))
        expected += 1
    return described


def _segment(job: Job, state: SegmentState, placer: Placer | None, base: str, words: bool) -> dict[str, object]:
    segment, take = state.segment, state.take
    audio: dict[str, float | None] | None = None
    if take is not None:
        audio = {"start_seconds": None, "end_seconds": None, "duration_seconds": _seconds(take.samples, take)}
        if placer is not None:
            placed = placer.place(take.samples, segment.joint)
            audio |= {"start_seconds": _seconds(placed.start, take), "end_seconds": _seconds(placed.end, take)}
    described: dict[str, Any] = {
        "index": segment.index,
        "status": state.status.value,
        "text": segment.text,
        "start": segment.start,
        "end": segment.end,
        "chars": segment.end - segment.start,
        "boundary": segment.boundary.value,
        "voice": segment.voice or job.request.voice,
        "pause_before_seconds": None if segment.lead_ms is None else segment.lead_ms / 1000,
        "speed": segment.speed,
        "attempt": state.attempt,
        "failures": state.failures,
        "variant": state.variant,
        "error": state.error,
        "audio": audio,
        "links": {"audio": f"{base}/{segment.index}/audio"},
    }
    if words:
        described["words"] = [
            {"text": word.text, "start_seconds": _seconds(word.start, take), "end_seconds": _seconds(word.end, take)}
            for word in (take.words if take else ())
            if take
        ]
    return described


def _seconds(samples: int, take: Take) -> float:
    return round(samples / take.rate, 6)


async def _encoded(ctx: Context, job: Job, state: SegmentState, take: Take, audio_format: AudioFormat) -> bytes:
    try:
        data = await read_take(ctx.service.shop, state)
    except BlobError as error:
        raise lost_take(job, error) from error
    options, gain_db = timeline_options(job, take.rate), joint_of(job, state).gain_db
    return await in_thread(encode_piece, data, audio_format, options, gain_db)


def _format(name: str) -> AudioFormat:
    if name.lower() not in _FORMATS:
        raise InvalidInput(f"format must be one of {', '.join(_FORMATS)}; not {name[:40]!r}", "format")
    return AudioFormat(name.lower())


def _index(text: str, job: Job) -> int:
    """The number of a segment; what cannot be one is not found, as with ids."""
    if not text.isascii() or not text.isdigit() or len(text) > 9 or int(text) >= max(job.text_chars, 1):
        raise _unknown(text, job)
    return int(text)


def _unknown(text: str, job: Job) -> NotFound:
    bound = f"0 … {job.segments_total - 1}" if job.segments_total else "none"
    return NotFound(f"job {job.id} has no segment {text[:40]!r}; there are {bound}", "n")


def _lost(job: Job, index: int) -> Response:
    """A completed job without a take: it is being made again this very moment."""
    if job.status is not JobStatus.COMPLETED:
        raise _unknown(str(index), job)
    return problem(
        425, "too_early", f"segment {index} of job {job.id} is being made again", headers={"Retry-After": "2"}
    )
