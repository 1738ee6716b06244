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

_ABSENT: dict[str, object] = {
    "active": False, "offered": False, "loaded": False, "controls": [], "tags": [], "languages": {},
} | dict.fromkeys(
    (
        "revision", "determinism", "device", "max_chars", "can_clone", "mixes_voices", "reads_numbers", "reads_digits", "takes_ipa",
        "voices", "realtime_factor",
    )
)  # fmt: skip
_MODEL_TYPES = {"chatterbox": "original", "chatterbox-turbo": "turbo", "chatterbox-multilingual": "multilingual"}


@router.get("/engines", responses={200: {"model": EngineList}})
async def engines(ctx: Ctx, _: Reader) -> JSONResponse:
    """The engines that can be spoken with, the active one first, then those that are installed but not offered, or lack packages."""
    fleet = ctx.service.shop.fleet
    offered = fleet.engines()
    installed = await asyncio.to_thread(ctx.service.shop.installed_engines, ctx.service.settings)
    loaded = {engine for slot in fleet.slots() for engine, _ in slot.warm}
    found = [_offered(ctx, name, name == offered[0], name in loaded) for name in offered]
    for name, lacks in installed.items():
        if name not in offered:
            state = f"not installed: {lacks}" if lacks else "not offered (engine.also)"
            found.append(_ABSENT | {"name": name, "state": state})
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
    languages = {code: language_name(code) for code in _languages(described)} if described else {}
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


def _offered(ctx: Context, name: str, active: bool, loaded: bool) -> dict[str, object]:
    """An engine that requests can name; of one that has not described itself yet no more is known."""
    fleet = ctx.service.shop.fleet
    waits = fleet.waiting_for(name)
    described = fleet.known(name)
    about: dict[str, object] = {"name": name, "active": active, "offered": True, "loaded": loaded}
    if described is None:
        return _ABSENT | about | {"state": waits or "starting"}
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
    pace = ctx.service.scheduler.attempts.pace.realtime_factor(name)
    return about | {
        "state": waits or "ready",
        "revision": info.revision,
        "determinism": info.determinism.value,
        "device": info.device,
        "max_chars": info.max_chars,
        "can_clone": info.can_clone,
        "mixes_voices": info.mixes_voices,
        "reads_numbers": info.reads_numbers,
        "reads_digits": info.reads_digits,
        "takes_ipa": info.takes_ipa,
        "controls": controls,
        "tags": list(info.tags),
        "languages": {code: language_name(code) for code in _languages(described)},
        "voices": len(described.voices),
        "realtime_factor": None if pace is None else round(pace, 3),
    }


def _languages(described: EngineDescription) -> list[str]:
    """Codes of what its voices and its clones speak, each once."""
    return list(dict.fromkeys([*(voice.language for voice in described.voices), *described.info.languages]))
