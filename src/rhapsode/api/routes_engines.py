"""The engine: what it can do, load it anew, unload it."""

import asyncio
import logging

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse

from rhapsode.api.context import Admin, Context, Ctx, Reader, SameSite
from rhapsode.api.errors import problem
from rhapsode.api.languages import language_name
from rhapsode.api.schemas_voices import EngineList
from rhapsode.errors import ConfigError, RhapsodeError, Unavailable
from rhapsode.fleet.base import EngineDescription

router = APIRouter(tags=["engines"])
log = logging.getLogger(__name__)

_MODEL_TYPES = {"chatterbox": "original", "chatterbox-turbo": "turbo", "chatterbox-multilingual": "multilingual"}


@router.get("/engines", responses={200: {"model": EngineList}})
async def engines(ctx: Ctx, _: Reader) -> JSONResponse:
    """The engines that are installed; capabilities and controls of the one that runs."""
    fleet = ctx.service.shop.fleet
    described = await _description(ctx)
    found = [_active(ctx, described, fleet.waiting_for())] if described else []
    running = described.info.name if described else None
    found += [_installed(name) for name in ctx.service.shop.engine_names() if name != running]
    return JSONResponse({"engines": found}, headers={"Cache-Control": "no-store"})


@router.get("/api/model-info")
async def model_info(ctx: Ctx, _: Reader) -> dict[str, object]:
    """The engine as the old page knows it."""
    return await described_model(ctx)


@router.post("/restart_server", dependencies=[SameSite])
async def restart(ctx: Ctx, _: Admin) -> JSONResponse:
    """Load the engine anew, with its settings as they are now; answers once it speaks. Jobs go on."""
    try:
        loaded = await asyncio.to_thread(ctx.config.reload)
        await ctx.service.load_engine(loaded.settings)
    except Unavailable:
        raise
    except (ConfigError, RhapsodeError) as error:
        return problem(500, "engine_not_loaded", f"the engine could not be loaded; what ran before goes on: {error}")
    return JSONResponse({"message": "The engine was loaded.", "restart_needed": False})


@router.post("/api/unload", dependencies=[SameSite])
async def unload(request: Request, ctx: Ctx, _: Admin) -> dict[str, str]:
    """End the workers and free their memory. Queued jobs wait until ``POST /restart_server``."""
    await ctx.service.shop.fleet.unload()
    return {"status": "unloaded"}


async def described_model(ctx: Context) -> dict[str, object]:
    """``model_info`` of the old page."""
    described = await _description(ctx)
    info = described.info if described else None
    voices = described.voices if described else ()
    languages = {voice.language: language_name(voice.language) for voice in voices}
    name = info.name if info else ctx.service.settings.engine.name
    return {
        "loaded": described is not None and ctx.service.shop.fleet.waiting_for() is None,
        "type": _MODEL_TYPES.get(name, "original"),
        "class_name": name,
        "device": info.device if info else ctx.service.settings.tts_engine.device,
        "sample_rate": voices[0].sample_rate if voices else 0,
        "supports_paralinguistic_tags": bool(info and info.tags),
        "available_paralinguistic_tags": list(info.tags) if info else [],
        "turbo_available_in_package": False,
        "multilingual_available_in_package": False,
        "supports_multilingual": len(languages) > 1,
        "supported_languages": languages,
    }


async def _description(ctx: Context) -> EngineDescription | None:
    try:
        return await ctx.service.shop.fleet.describe()
    except RhapsodeError as error:
        log.warning("the engine cannot be described: %s", error)
        return None


def _active(ctx: Context, described: EngineDescription, waiting_for: str | None) -> dict[str, object]:
    info, defaults = described.info, ctx.service.settings.generation_defaults
    controls = [
        {
            "name": control.name,
            "minimum": control.minimum,
            "maximum": control.maximum,
            "default": min(max(getattr(defaults, control.name, control.default), control.minimum), control.maximum),
            "help": control.help,
        }
        for control in info.controls
    ]
    return {
        "name": info.name,
        "active": True,
        "state": waiting_for or "ready",
        "revision": info.revision,
        "determinism": info.determinism.value,
        "device": info.device,
        "max_chars": info.max_chars,
        "can_clone": info.can_clone,
        "reads_numbers": info.reads_numbers,
        "takes_ipa": info.takes_ipa,
        "controls": controls,
        "tags": list(info.tags),
        "languages": {voice.language: language_name(voice.language) for voice in described.voices},
        "voices": len(described.voices),
        "realtime_factor": None,
    }


def _installed(name: str) -> dict[str, object]:
    unknown = (
        "state",
        "revision",
        "determinism",
        "device",
        "max_chars",
        "can_clone",
        "reads_numbers",
        "takes_ipa",
        "voices",
        "realtime_factor",
    )
    return {"name": name, "active": False, "controls": [], "tags": [], "languages": {}} | dict.fromkeys(unknown)
