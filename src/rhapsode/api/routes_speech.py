"""Ask for speech: ``POST /tts`` waits for it, ``POST /tts/enqueue`` answers at once."""

from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse

from rhapsode.api.audio import live_response, spoken_response
from rhapsode.api.body import SPEECH_SCHEMA, read_speech
from rhapsode.api.context import Ctx, Submitter, root_of
from rhapsode.api.idempotency import REPLAYED, idempotency_key
from rhapsode.api.schemas import Enqueued
from rhapsode.jobs.status import links

router = APIRouter(tags=["speech"])

_AUDIO: dict[int | str, dict[str, Any]] = {
    200: {"description": "The audio.", "content": {f"audio/{kind}": {} for kind in ("wav", "opus", "mpeg", "flac")}}
}


@router.post("/tts", openapi_extra=SPEECH_SCHEMA, responses=_AUDIO, response_class=Response)
async def speak(request: Request, ctx: Ctx, caller: Submitter) -> Response:
    """Speak a text and answer with the audio. The job is cancelled when the client leaves."""
    key = idempotency_key(request)
    body = await read_speech(request, ctx.settings.limits.max_body_bytes)
    ctx.service.require_engine()
    job = await ctx.service.submit(body, caller, attached=True, idempotency_key=key)
    if body.stream:
        return await live_response(ctx.service, job, request, job.request.output_format)
    return await spoken_response(ctx.service, job, request)


@router.post("/tts/enqueue", status_code=202, openapi_extra=SPEECH_SCHEMA, responses={202: {"model": Enqueued}})
async def enqueue(request: Request, ctx: Ctx, caller: Submitter) -> JSONResponse:
    """Store a job and answer at once: it survives from here on."""
    key = idempotency_key(request)
    body = await read_speech(request, ctx.settings.limits.max_body_bytes)
    job, created = await ctx.service.submit_once(body, caller, idempotency_key=key)
    root = root_of(request)
    base = links(job.id, root)
    answer = {
        "job_id": job.id,
        "status": job.status.value,
        "message": f"Job {job.id} queued",
        "status_url": base["self"],
        "result_url": base["result"],
        "seed": job.request.seed,
        "warnings": list(job.warnings),
        "links": base,
    }
    headers = {"Location": base["self"], "X-Job-Id": job.id} | ({} if created else REPLAYED)
    return JSONResponse(answer, 202, headers=headers)
