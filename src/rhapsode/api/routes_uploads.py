"""Send recordings and voices: multipart, ``files`` repeated, as the old page does it."""

import asyncio
import contextlib
import shutil
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse
from starlette.datastructures import FormData, UploadFile
from starlette.exceptions import HTTPException
from starlette.formparsers import MultiPartException
from starlette.types import Message

from rhapsode.api.connection import ClientLeft
from rhapsode.api.context import Context, Ctx, SameSite, Submitter
from rhapsode.errors import InvalidInput, StorageFull, TooLarge
from rhapsode.jobs.consents import Consent, read_consent
from rhapsode.model import Caller

router = APIRouter(tags=["voices"])

Add = Callable[[str, Path, Consent | None], Awaitable[str]]
"""Takes a file in under a name, with what was said of it; the name that it got."""

_MOST_FILES = 100
_SCHEMA = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["files"],
                    "properties": {
                        "files": {
                            "type": "array",
                            "items": {"type": "string", "format": "binary"},
                            "description": "The files.",
                        },
                        "consent": {
                            "type": "string",
                            "description": "Whether who speaks in them agreed to being cloned: true, or a statement in words.",
                        },
                    },
                }
            }
        },
    },
    "responses": {
        "400": {
            "description": "None was taken: `errors` says why of each; or the form cannot be read.",
            "content": {"application/json": {}, "application/problem+json": {}},
        }
    },
}


@router.post("/upload_reference", openapi_extra=_SCHEMA, dependencies=[SameSite])
async def upload_reference(request: Request, ctx: Ctx, caller: Submitter) -> JSONResponse:
    """Add reference recordings (.wav, .mp3). One whose name is there already counts as uploaded and is not overwritten.

    `consent` is recorded with them; without it, it stays `unknown` (`GET /voices/{voice_id}`).
    """
    taken, errors = await _take(request, ctx, caller, ctx.service.library.add_recording)
    everything = await asyncio.to_thread(ctx.service.references)
    return _answer(taken, errors, {"all_reference_files": everything}, "recordings")


@router.post("/upload_predefined_voice", openapi_extra=_SCHEMA, dependencies=[SameSite])
async def upload_predefined_voice(request: Request, ctx: Ctx, caller: Submitter) -> JSONResponse:
    """Add files of predefined voices: .wav and .mp3 for engines that speak like a recording, .onnx with its .onnx.json for Piper."""
    taken, errors = await _take(request, ctx, caller, ctx.service.library.add_voice)
    described = await ctx.service.shop.fleet.describe(refresh=True)
    voices = [{"display_name": voice.display_name, "filename": voice.filename} for voice in described.voices]
    return _answer(taken, errors, {"all_predefined_voices": voices}, "voice files")


async def _take(request: Request, ctx: Context, caller: Caller, add: Add) -> tuple[list[str], list[dict[str, str]]]:
    if ctx.service.scheduler.disk_full:
        raise StorageFull("too little of the disk is free (limits.min_free_disk_mb)")
    taken: list[str] = []
    errors: list[dict[str, str]] = []
    form = await _form(request, ctx.settings.limits.max_upload_bytes)
    async with contextlib.AsyncExitStack() as stack:
        stack.push_async_callback(form.close)
        files = [file for file in form.getlist("files") if isinstance(file, UploadFile)]
        if not files:
            raise InvalidInput("files: at least one file is needed", "files", 400)
        said = form.get("consent")
        consent = read_consent(said if isinstance(said, str) else None, caller.owner, ctx.service.shop.clock())
        for file in files:
            shown = (file.filename or "")[:200]
            try:
                taken.append(await _through_disk(file, add, consent))
            except InvalidInput as error:
                errors.append({"filename": shown, "error": str(error)})
    return taken, errors


async def _through_disk(file: UploadFile, add: Add, consent: Consent | None) -> str:
    with tempfile.TemporaryDirectory(prefix="rhapsode-upload-") as folder:
        draft = Path(folder) / "upload"
        await asyncio.to_thread(_copy, file, draft)
        return await add(file.filename or "", draft, consent)


def _copy(file: UploadFile, target: Path) -> None:
    with target.open("wb") as out:
        shutil.copyfileobj(file.file, out)


async def _form(request: Request, limit: int) -> FormData:
    """The form; large files go to disk while they come in.

    Raises:
        TooLarge: It has more than ``limit`` bytes; the rest is not read.
        InvalidInput: It is no form.
        ClientLeft: The client closed the connection.
    """
    declared = request.headers.get("content-length", "")
    if declared.isdigit() and int(declared) > limit:
        raise TooLarge(f"the upload has {int(declared):,} bytes; the limit is {limit:,} (limits.max_upload_bytes)")
    if not request.headers.get("content-type", "").lower().startswith("multipart/form-data"):
        raise InvalidInput("the body must be multipart/form-data with files", "files", 400)
    got, refused = 0, ""

    async def counted() -> Message:
        nonlocal got, refused
        message = await request.receive()
        got += len(message.get("body", b""))
        if message["type"] == "http.disconnect":
            refused = "left"
        elif got > limit:
            refused = "large"
        if refused:  # the one error on which the parser lets go of what it holds
            raise MultiPartException(refused)
        return message

    try:
        return await Request(request.scope, counted).form(max_files=_MOST_FILES, max_fields=_MOST_FILES)
    except (MultiPartException, HTTPException) as error:  # the second is what Starlette makes of the first
        if refused == "left":
            raise ClientLeft("the client closed the connection") from error
        if refused:
            raise TooLarge(f"the upload has more than {limit:,} bytes (limits.max_upload_bytes)") from None
        why = error.message if isinstance(error, MultiPartException) else error.detail
        raise InvalidInput(f"the form cannot be read: {why}", "files", 400) from None


def _answer(taken: list[str], errors: list[dict[str, str]], extra: dict[str, Any], what: str) -> JSONResponse:
    done = bool(taken)
    message = f"{len(taken)} {what} taken" if done else f"no {what} taken"
    if errors:
        message += f", {len(errors)} refused"
    body = {"message": message, "uploaded_files": taken, **extra, "errors": errors}
    if not done:
        causes = "; ".join(f"{error['filename']}: {error['error']}" for error in errors)
        body["detail"] = f"{message}: {causes}"[:1000]
    return JSONResponse(body, 200 if done else 400)
