"""What can be spoken with: voices and recordings, to see, hear, rename and delete."""

import asyncio
from pathlib import PurePath
from typing import Annotated
from urllib.parse import quote

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field

from rhapsode.api.body import described, read_small
from rhapsode.api.connection import while_connected
from rhapsode.api.context import Admin, Context, Ctx, Reader, SameSite, Submitter, root_of
from rhapsode.api.languages import language_name
from rhapsode.api.ranges import FileInParts, bytes_response, matches
from rhapsode.api.schemas_voices import VoiceInfo, VoiceList
from rhapsode.errors import NotFound
from rhapsode.fleet.base import EngineDescription
from rhapsode.jobs.consents import Consent
from rhapsode.jobs.library import Recording
from rhapsode.jobs.status import iso
from rhapsode.model import Voice

router = APIRouter(tags=["voices"])

REFERENCE = "reference:"
WhichEngine = Annotated[str | None, Query(description="Whose voice; without it the active engine's comes first.")]
_TYPES = {".wav": "audio/wav", ".mp3": "audio/mpeg"}


class VoicePatch(BaseModel):
    """What can be changed of a voice."""

    model_config = ConfigDict(extra="forbid")

    name: Annotated[str, Field(min_length=1, max_length=200, description="New name of its file, without an ending.")]


@router.get("/get_predefined_voices")
async def predefined_voices(ctx: Ctx, _: Reader) -> list[dict[str, str]]:
    """Voices that the loaded engine can speak."""
    described = await ctx.service.shop.fleet.describe(refresh=True)
    return [{"display_name": voice.display_name, "filename": voice.filename} for voice in described.voices]


@router.get("/get_reference_files")
async def reference_files(ctx: Ctx, _: Reader) -> list[str]:
    """Reference recordings for cloning."""
    return await asyncio.to_thread(ctx.service.references)


@router.get("/voices", responses={200: {"model": VoiceList}})
async def voices(request: Request, ctx: Ctx, _: Reader) -> JSONResponse:
    """Predefined voices of the active engine, then of the others, then reference recordings."""
    found = [
        await _voice(ctx, described, voice, request)
        for described in await ctx.service.all_described(refresh=True)
        for voice in described.voices
    ]
    found += [_recording(one, request) for one in await asyncio.to_thread(ctx.service.library.recordings)]
    return JSONResponse({"voices": found}, headers={"Cache-Control": "no-store"})


@router.get("/voices/{voice_id}", responses={200: {"model": VoiceInfo}})
async def voice(voice_id: str, request: Request, ctx: Ctx, _: Reader, engine: WhichEngine = None) -> JSONResponse:
    """One voice or recording."""
    return JSONResponse(await _described(ctx, voice_id, request, engine))


@router.patch(
    "/voices/{voice_id}",
    openapi_extra=described(VoicePatch),
    responses={200: {"model": VoiceInfo}},
    dependencies=[SameSite],
)
async def rename(voice_id: str, request: Request, ctx: Ctx, _: Admin, engine: WhichEngine = None) -> JSONResponse:
    """Rename the files of a voice, or a recording."""
    body = await read_small(request, VoicePatch)
    library = ctx.service.library
    if (name := _reference_of(voice_id)) is not None:
        fresh = REFERENCE + await library.rename_recording(name, body.name)
    else:
        fresh = await library.rename_voice((await _find(ctx, voice_id, engine))[1], body.name)
    return JSONResponse(await _described(ctx, fresh, request, engine))


@router.delete("/voices/{voice_id}", status_code=204, dependencies=[SameSite])
async def delete(voice_id: str, ctx: Ctx, _: Admin, engine: WhichEngine = None) -> Response:
    """Delete the files of a voice, or a recording."""
    if (name := _reference_of(voice_id)) is not None:
        await ctx.service.library.delete_recording(name)
    else:
        described, found = await _find(ctx, voice_id, engine)
        await ctx.service.library.delete_voice(found)
        await ctx.service.described(described.info.name, refresh=True)
    return Response(status_code=204)


@router.head("/voices/{voice_id}/preview", include_in_schema=False)
@router.get(
    "/voices/{voice_id}/preview",
    response_class=Response,
    responses={
        200: {"description": "The audio.", "content": {"audio/mpeg": {}, "audio/wav": {}}},
        206: {"description": "Part of it."},
    },
)
async def preview(voice_id: str, request: Request, ctx: Ctx, caller: Submitter, engine: WhichEngine = None) -> Response:
    """Hear a voice: a sentence or two that it speaks, or the recording itself."""
    if (name := _reference_of(voice_id)) is not None:
        _, path = await asyncio.to_thread(ctx.service.library.recording, name)
        return FileInParts(path, media_type=_TYPES[path.suffix.lower()], headers={"Cache-Control": "no-cache"})
    described, found = await _find(ctx, voice_id, engine)
    etag = f'"{quote(described.info.name)}-{quote(found.id)}-{found.revision[:32]}"'
    headers = {"ETag": etag, "Cache-Control": "no-cache"}
    if matches(request, etag):
        return Response(status_code=304, headers=headers)
    ctx.service.require_engine()
    data = await while_connected(request, ctx.previews.get(ctx.service, described.info.name, found, caller))
    return bytes_response(request, data, "audio/mpeg", headers)


def _reference_of(voice_id: str) -> str | None:
    return voice_id.removeprefix(REFERENCE) if voice_id.startswith(REFERENCE) else None


def _default(ctx: Context, described: EngineDescription) -> str:
    if described.info.name != ctx.service.shop.fleet.engines()[0]:
        return ""
    wanted = ctx.service.settings.tts_engine.default_voice_id
    found = described.voice(wanted) if wanted else None
    return (found or described.voices[0]).id if described.voices else ""


async def _find(ctx: Context, voice_id: str, engine: str | None) -> tuple[EngineDescription, Voice]:
    """A voice and its engine: the one named, else the active one, else the first that has a voice of this name."""
    for refresh in (False, True):
        described = await ctx.service.described(engine or ctx.service.engine_of(voice_id), refresh)
        if found := described.voice(voice_id):
            return described, found
    raise NotFound(f"there is no voice {voice_id[:100]!r}", "voice_id")


async def _described(ctx: Context, voice_id: str, request: Request, engine: str | None) -> dict[str, object]:
    if (name := _reference_of(voice_id)) is not None:
        return _recording((await asyncio.to_thread(ctx.service.library.recording, name))[0], request)
    return await _voice(ctx, *await _find(ctx, voice_id, engine), request)


async def _voice(ctx: Context, described: EngineDescription, voice: Voice, request: Request) -> dict[str, object]:
    active = described.info.name == ctx.service.shop.fleet.engines()[0]
    return {
        "id": voice.id,
        "kind": "predefined",
        "name": voice.display_name,
        "filename": voice.filename,
        "engine": described.info.name,
        "language": voice.language,
        "language_name": language_name(voice.language),
        "sample_rate": voice.sample_rate,
        "bytes": None,
        **_consent(*await asyncio.to_thread(ctx.service.library.consent_to, voice)),
        "default": voice.id == _default(ctx, described),
        "editable": bool(await asyncio.to_thread(ctx.service.library.files_of, voice)),
        "links": _links(voice.id, request, None if active else described.info.name),
    }


def _recording(found: Recording, request: Request) -> dict[str, object]:
    return {
        "id": REFERENCE + found.filename,
        "kind": "reference",
        "name": PurePath(found.filename).stem,
        "filename": found.filename,
        "engine": None,
        "language": None,
        "language_name": None,
        "sample_rate": None,
        "bytes": found.bytes,
        **_consent(True, found.consent),
        "default": False,
        "editable": True,
        "links": _links(REFERENCE + found.filename, request),
    }


def _consent(asked: bool, known: Consent | None) -> dict[str, object]:
    """What was said of a recording; ``asked``: whether it is one."""
    return {
        "consent": ("given" if known else "unknown") if asked else None,
        "consent_statement": (known.statement or None) if known else None,
        "consent_at": iso(known.at) if known else None,
    }


def _links(voice_id: str, request: Request, engine: str | None = None) -> dict[str, str]:
    base = f"{root_of(request)}/voices/{quote(voice_id, safe='')}"
    query = f"?engine={quote(engine, safe='')}" if engine else ""
    return {"self": f"{base}{query}", "preview": f"{base}/preview{query}"}
