"""The configuration over HTTP, and what the page needs when it starts."""

import asyncio
import json
import logging
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from rhapsode.api.body import read_body
from rhapsode.api.context import Admin, Ctx, Reader, SameSite
from rhapsode.api.routes_engines import described_model
from rhapsode.config_file import LIVE, is_file_only, needs_restart
from rhapsode.errors import ConfigError, InvalidInput, RhapsodeError
from rhapsode.settings import Engines, OpenSection, sections

router = APIRouter(tags=["settings"])
log = logging.getLogger(__name__)

_NO_RESULT = dict.fromkeys(
    ("outputUrl", "filename", "genTime", "submittedVoiceMode", "submittedPredefinedVoice", "submittedCloneFile")
)


@router.get("/api/ui/initial-data")
async def initial_data(ctx: Ctx, _: Reader) -> JSONResponse:
    """All that the page shows when it starts."""
    try:
        described = await ctx.service.shop.fleet.describe(refresh=True)
        voices = [{"display_name": voice.display_name, "filename": voice.filename} for voice in described.voices]
    except RhapsodeError:
        voices = []
    config = await asyncio.to_thread(ctx.config.view)
    answer = {
        "config": config | {"initial_gen_result": _NO_RESULT},
        "reference_files": await asyncio.to_thread(ctx.service.references),
        "predefined_voices": voices,
        "presets": await asyncio.to_thread(_presets, ctx.settings.data_dir),
        "initial_gen_result": _NO_RESULT,
        "model_info": await described_model(ctx),
    }
    return JSONResponse(answer, headers={"Cache-Control": "no-store"})


@router.get("/settings")
async def settings(ctx: Ctx, _: Admin) -> JSONResponse:
    """Every setting with its value, default, unit, bounds and meaning, by section."""
    view = await asyncio.to_thread(ctx.config.view)
    named = ctx.config.loaded.named
    found = []
    for name, section in sections().items():
        if section is Engines:
            rows = _of_engines(ctx.config.loaded.settings.engines, ctx.service.shop.fleet.engines())
        elif issubclass(section, OpenSection):
            continue
        else:
            rows = [
                _setting(f"{name}.{key}", field, view[name].get(key), f"{name}.{key}" in named)
                for key, field in section.model_json_schema()["properties"].items()
            ]
        found.append({"name": name, "help": " ".join((section.__doc__ or "").split()), "settings": rows})
    answer = {"file": ctx.config.path.name, "sections": found}
    return JSONResponse(answer, headers={"Cache-Control": "no-store"})


@router.post("/save_settings", dependencies=[SameSite])
async def save(request: Request, ctx: Ctx, _: Admin) -> JSONResponse:
    """Merge an object into the configuration file, all of it or nothing; comments and unknown keys stay."""
    data = await read_body(request, ctx.settings.limits.max_body_bytes)
    try:
        changes = await asyncio.to_thread(json.loads, data)
    except (ValueError, RecursionError) as error:
        raise InvalidInput(f"the body must be a JSON object: {error}", "", 400) from None
    if not isinstance(changes, dict):
        raise InvalidInput("the body must be a JSON object", "", 400)
    try:
        loaded = await asyncio.to_thread(ctx.config.save, changes)
    except ConfigError as error:
        raise InvalidInput(str(error), str(error).partition(" = ")[0].partition(":")[0][:100], 422) from None
    ctx.service.apply(loaded.settings, LIVE.intersection(changes))
    restart = needs_restart(changes)
    message = "Settings saved." if not restart else "Settings saved; some of them need a restart."
    return JSONResponse({"message": message, "restart_needed": restart})


@router.post("/reset_settings", dependencies=[SameSite])
async def reset(ctx: Ctx, _: Admin) -> JSONResponse:
    """Every setting to its default; the old file stays beside the new one. Voices, jobs and keys stay."""
    loaded = await asyncio.to_thread(ctx.config.reset)
    ctx.service.apply(loaded.settings, LIVE)
    return JSONResponse({"message": "Settings reset to their defaults.", "restart_needed": True})


def _of_engines(engines: Engines, offered: Sequence[str]) -> list[dict[str, object]]:
    """How each engine is run, of those that are offered or have settings of their own."""
    fields = engines.member.model_json_schema()["properties"].items()
    return [
        _setting(f"engines.{name}.{key}", field, getattr(run, key), key in run.model_fields_set)
        for name in dict.fromkeys([*offered, *engines.named()])
        for run in [engines.run(name)]
        for key, field in fields
    ]


def _setting(key: str, field: Mapping[str, Any], value: object, named: bool) -> dict[str, object]:
    plain = dict(field)
    for option in plain.pop("anyOf", ()):  # something or null: the something
        if option.get("type") != "null":
            plain = option | plain
    section = key.partition(".")[0]
    return {
        "key": key,
        "value": value,
        "default": plain.get("default"),
        "type": "choice" if "enum" in plain else plain.get("type", "string"),
        "choices": plain.get("enum", []),
        "minimum": plain.get("minimum", plain.get("exclusiveMinimum")),
        "maximum": plain.get("maximum", plain.get("exclusiveMaximum")),
        "unit": plain.get("unit", ""),
        "special": plain.get("special", ""),
        "help": plain.get("description", ""),
        "named": named,
        "file_only": is_file_only(key),
        "restart": section not in LIVE or key == "audio_output.save_to_disk",
    }


def _presets(data_dir: Path) -> list[dict[str, Any]]:
    """Those of ``presets.yaml`` in the data directory, else those that come with the package."""
    own = data_dir / "presets.yaml"
    try:
        text = own.read_text(encoding="utf-8") if own.exists() else _built_in()
        found = YAML(typ="safe", pure=True).load(text)
    except (OSError, YAMLError, UnicodeDecodeError) as error:
        log.warning("presets.yaml cannot be read: %s", error)
        return []
    return [one for one in found if isinstance(one, dict) and one.get("name")] if isinstance(found, list) else []


def _built_in() -> str:
    return resources.files("rhapsode.api").joinpath("presets.yaml").read_text(encoding="utf-8")
