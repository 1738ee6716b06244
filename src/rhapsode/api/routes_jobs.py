"""Watch a job, fetch its audio, cancel it, keep it, queue it again."""

from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import JSONResponse, PlainTextResponse, StreamingResponse
from pydantic import BaseModel, ConfigDict, Field, field_validator

from rhapsode.api.audio import AUDIO, live_head, live_response, rendition_response, result_response
from rhapsode.api.body import described, read_small
from rhapsode.api.context import Ctx, Reader, Submitter, root_of
from rhapsode.api.errors import job_failed, problem
from rhapsode.api.prefer import applied, until_ended
from rhapsode.api.schemas import Message, Resource, Status
from rhapsode.errors import Gone, InvalidInput
from rhapsode.jobs.renditions import FORMATS
from rhapsode.jobs.request import PRIORITIES, Tag, known_priority
from rhapsode.jobs.status import resource
from rhapsode.ledger.base import EXCERPT_OF, excerpt
from rhapsode.model import AudioFormat, Job, JobStatus

router = APIRouter(prefix="/tts/{job_id}", tags=["jobs"])

_RETRY_AFTER_S = 2
_PIECE = 65_536


class JobPatch(BaseModel):
    """What of a job can be changed (JSON merge patch, RFC 7396). Unknown fields are ignored."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    priority: str = Field("", description="interactive, normal or batch; of unfinished jobs.")
    tags: list[Tag] | None = Field(None, max_length=32, description="The new tags; null: none.")

    @field_validator("priority")
    @classmethod
    def _known_priority(cls, value: str) -> str:
        return known_priority(value) or ""


_MERGE_PATCH = described(JobPatch, kinds=("application/json", "application/merge-patch+json"))


@router.get("", responses={200: {"model": Resource}})
async def job(job_id: str, request: Request, ctx: Ctx, caller: Reader) -> JSONResponse:
    """The job: where it stands, and what was asked for."""
    return await _resource(ctx, await ctx.service.living(job_id, caller), request)


@router.get("/text", response_class=PlainTextResponse)
async def text(job_id: str, ctx: Ctx, caller: Reader) -> Response:
    """The text, as it was sent."""
    job = await ctx.service.living(job_id, caller)
    headers = {"Cache-Control": "no-store"}
    return StreamingResponse(_text(ctx, job), media_type="text/plain; charset=utf-8", headers=headers)


@router.get("/status", responses={200: {"model": Status}})
async def status(job_id: str, request: Request, ctx: Ctx, caller: Reader) -> Response:
    """Where the job stands; with ``Prefer: wait=n`` once it has ended, or after ``n`` seconds (60 at most)."""
    job, waited = await until_ended(ctx, await ctx.service.living(job_id, caller), caller, request)
    headers = {"Cache-Control": "no-store"}
    return applied(JSONResponse(await ctx.service.status(job, root_of(request)), headers=headers), waited)


@router.patch("", openapi_extra=_MERGE_PATCH, responses={200: {"model": Resource}})
async def change(job_id: str, request: Request, ctx: Ctx, caller: Submitter) -> JSONResponse:
    """Change priority, tags or both."""
    body = await read_small(request, JobPatch)
    if not body.model_fields_set:
        raise InvalidInput("priority, tags or both must be given", "priority")
    tags = (body.tags or []) if "tags" in body.model_fields_set else None
    priority = PRIORITIES[body.priority] if body.priority else None
    return await _resource(ctx, await ctx.service.change(job_id, caller, priority, tags), request)


@router.head("/result", include_in_schema=False)
@router.get("/result", response_class=Response, responses=AUDIO)
async def result(
    job_id: str,
    request: Request,
    ctx: Ctx,
    caller: Reader,
    wanted: Annotated[
        str | None,
        Query(alias="format", description="wav, flac, mp3, opus or aac; as asked for at submit when left out."),
    ] = None,
) -> Response:
    """The finished file; with ``Prefer: wait=n`` once it is there, or 425 after ``n`` seconds (60 at most)."""
    audio_format = _format(wanted)
    if audio_format is AudioFormat.PCM:
        raise InvalidInput(f"format must be one of {', '.join(FORMATS)}; not 'pcm'", "format")
    job, waited = await until_ended(ctx, await ctx.service.living(job_id, caller), caller, request)
    if job.status in (JobStatus.QUEUED, JobStatus.RUNNING):
        headers = {"Retry-After": str(_RETRY_AFTER_S), "Cache-Control": "no-store"}
        detail = f"job {job.id} is {job.status}, {job.progress:g} % done"
        return applied(problem(425, "too_early", detail, headers=headers), waited)
    if job.status is JobStatus.COMPLETED and audio_format not in (None, job.request.output_format):
        return applied(await rendition_response(ctx.service, job, request, audio_format), waited)
    return applied(await _finished(ctx, job, request), waited)


@router.head("/audio", include_in_schema=False)
@router.get("/audio", response_class=Response, responses=AUDIO)
async def audio(
    job_id: str,
    request: Request,
    ctx: Ctx,
    caller: Reader,
    wanted: Annotated[
        str | None, Query(alias="format", description="mp3, opus, aac, wav, pcm or flac; as the result when left out.")
    ] = None,
    segment: Annotated[str | None, Query(description="First segment to hear.")] = None,
) -> Response:
    """The audio while it is made; once the job is completed, the finished file with ranges."""
    job = await ctx.service.living(job_id, caller)
    audio_format = _format(wanted) or job.request.output_format
    start = _segment(segment, job)
    if job.status in (JobStatus.FAILED, JobStatus.CANCELLED):
        return await _finished(ctx, job, request)
    if job.status is JobStatus.COMPLETED and not start and audio_format is job.request.output_format:
        return await _finished(ctx, job, request)
    if request.method == "HEAD":
        return live_head(job, audio_format)
    return await live_response(ctx.service, job, request, audio_format, start)


@router.delete("", responses={200: {"model": Message}})
async def cancel(job_id: str, ctx: Ctx, caller: Submitter, purge: bool = False) -> JSONResponse:
    """Cancel an unfinished job; with ``purge=true`` delete it and all its audio."""
    if purge:
        await ctx.service.purge(job_id, caller)
        return JSONResponse({"message": f"Job {job_id} deleted"})
    job = await ctx.service.cancel(job_id, caller)
    return JSONResponse({"message": f"Job {job.id} cancelled successfully"})


@router.post("/keep", responses={200: {"model": Status}})
async def keep(job_id: str, request: Request, ctx: Ctx, caller: Submitter, keep: bool = True) -> JSONResponse:
    """Exempt the job from expiry; ``keep=false`` lets it expire again."""
    return JSONResponse(await ctx.service.status(await ctx.service.keep(job_id, keep, caller), root_of(request)))


@router.post("/retry", status_code=202, responses={202: {"model": Status}})
async def retry(job_id: str, request: Request, ctx: Ctx, caller: Submitter) -> JSONResponse:
    """Queue a failed or cancelled job again; good takes are kept."""
    return JSONResponse(await ctx.service.status(await ctx.service.retry(job_id, caller), root_of(request)), 202)


async def _resource(ctx: Ctx, job: Job, request: Request) -> JSONResponse:
    beginning = await ctx.service.shop.ledger.read_text(job.id, 0, EXCERPT_OF)
    status = await ctx.service.status(job, root_of(request))
    return JSONResponse(resource(job, status, excerpt(beginning)), headers={"Cache-Control": "no-store"})


async def _text(ctx: Ctx, job: Job) -> AsyncIterator[str]:
    """Piece by piece; breaks off when the text is deleted meanwhile, so that a part is not taken for the whole."""
    offset = 0
    while offset < job.text_chars:
        piece = await ctx.service.shop.ledger.read_text(job.id, offset, _PIECE)
        if not piece:
            raise Gone(f"job {job.id} was deleted or has expired")
        offset += len(piece)
        yield piece


async def _finished(ctx: Ctx, job: Job, request: Request) -> Response:
    if job.status is JobStatus.CANCELLED:
        raise Gone(f"job {job.id} was cancelled")
    if job.status is JobStatus.FAILED:
        return job_failed(job)
    return await result_response(ctx.service, job, request)


def _format(name: str | None) -> AudioFormat | None:
    if name is None:
        return None
    try:
        return AudioFormat(name.lower())
    except ValueError:
        raise InvalidInput(f"format must be one of {', '.join(AudioFormat)}; not {name[:40]!r}", "format") from None


def _segment(text: str | None, job: Job) -> int:
    if text is None:
        return 0
    limit = job.segments_total if job.plan_done else job.text_chars
    if not text.isascii() or not text.isdigit() or len(text) > 9 or not 0 <= int(text) < max(limit, 1):
        raise InvalidInput(f"segment must be 0 … {max(limit - 1, 0)}; not {text[:40]!r}", "segment")
    return int(text)
