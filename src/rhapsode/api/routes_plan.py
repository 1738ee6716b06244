"""``POST /tts/plan``: what would happen, without doing it."""

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse

from rhapsode.api.body import SPEECH_SCHEMA, read_speech
from rhapsode.api.connection import while_connected
from rhapsode.api.context import Ctx, Submitter
from rhapsode.api.schemas import Plan
from rhapsode.jobs.estimate import dry_run

router = APIRouter(tags=["speech"])


@router.post("/tts/plan", openapi_extra=SPEECH_SCHEMA, responses={200: {"model": Plan}})
async def plan(request: Request, ctx: Ctx, caller: Submitter) -> JSONResponse:
    """How a text would be cut up, how long it would sound and when it would be done. Nothing is queued."""
    body = await read_speech(request, ctx.settings.limits.max_body_bytes)
    answer = await while_connected(request, dry_run(ctx.service, body, caller))
    return JSONResponse(answer, headers={"Cache-Control": "no-store"})
