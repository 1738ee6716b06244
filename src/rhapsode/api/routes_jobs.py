"""Watch a job, fetch its audio, cancel it, keep it, queue it again."""

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import JSONResponse

from rhapsode.api.audio import live_response, result_response
from rhapsode.api.context import Ctx, Reader, Submitter, root_of
from rhapsode.api.errors import job_failed, problem
from rhapsode.api.schemas import Message, Status
from rhapsode.errors import Gone, InvalidInput
from rhapsode.model import AudioFormat, Job, JobStatus

router = APIRouter(prefix="/tts/{job_id}", tags=["jobs"])

_RETRY_AFTER_S = 2


@router.get("/status", responses={200: {"model": Status}})
async def status(job_id: str, request: Request, ctx: Ctx, caller: Reader) -> JSONResponse:
    """Where the job stands."""
    job = await ctx.service.living(job_id, caller)
    return JSONResponse(await ctx.service.status(job, root_of(request)), headers={"Cache-Control": "no-store"})


@router.head("/result", include_in_schema=False)
@router.get("/result")
async def result(job_id: str, request: Request, ctx: Ctx, caller: Reader) -> Response:
    """The finished file."""
    job = await ctx.service.living(job_id, caller)
    if job.status in (JobStatus.QUEUED, JobStatus.RUNNING):
        headers = {"Retry-After": str(_RETRY_AFTER_S), "Cache-Control": "no-store"}
        return problem(425, "too_early", f"job {job.id} is {job.status}, {job.progress:g} % done", headers=headers)
    return await _finished(ctx, job, request)


@router.head("/audio", include_in_schema=False)
@router.get("/audio")
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
        return Response(headers={"Cache-Control": "no-store"})
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
