"""The pronunciation dictionary that all jobs share."""

import asyncio
from collections.abc import Sequence

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field

from rhapsode.api.body import read_body
from rhapsode.api.context import Admin, Context, Ctx, Reader, SameSite
from rhapsode.errors import InvalidInput
from rhapsode.jobs.dictionary import Frozen
from rhapsode.jobs.pronunciations import Entry
from rhapsode.model import Pronunciation
from rhapsode.text.lexicon import MAX_ENTRIES, as_rows, checked
from rhapsode.text.pls import read_pls

router = APIRouter(prefix="/dictionary", tags=["dictionary"])

_FILE = "the document"


class DictionaryBody(BaseModel):
    """Body of ``PUT`` and ``PATCH /dictionary``."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    entries: list[Entry] = Field(max_length=MAX_ENTRIES)


class DictionaryAnswer(BaseModel):
    """The dictionary as it is now."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    entries: list[Entry] = Field(description="Sorted by word.")
    digest: str | None = Field(description="Changes with the content; null when it is empty.")
    warnings: list[str] = Field(description="What was passed over, or is wrong with the file.")


_BODY = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {
                "schema": DictionaryBody.model_json_schema(ref_template="#/components/schemas/{model}")
            }
        },
    }
}


@router.get("", responses={200: {"model": DictionaryAnswer}})
async def show(ctx: Ctx, _: Reader) -> JSONResponse:
    """All words. A job gets the dictionary as it is when it is submitted."""
    return _answer(ctx, await asyncio.to_thread(ctx.service.dictionary.now))


@router.put("", dependencies=[SameSite], openapi_extra=_BODY, responses={200: {"model": DictionaryAnswer}})
async def replace(request: Request, ctx: Ctx, _: Admin) -> JSONResponse:
    """Other words instead of those there are. Running jobs keep what they have."""
    data = await read_body(request, ctx.settings.limits.max_body_bytes)
    return _answer(ctx, await asyncio.to_thread(lambda: ctx.service.dictionary.replace(_entries(data))))


@router.patch("", dependencies=[SameSite], openapi_extra=_BODY, responses={200: {"model": DictionaryAnswer}})
async def add(request: Request, ctx: Ctx, _: Admin) -> JSONResponse:
    """More words; they win over those there are. Running jobs keep what they have."""
    data = await read_body(request, ctx.settings.limits.max_body_bytes)
    return _answer(ctx, await asyncio.to_thread(lambda: ctx.service.dictionary.add(_entries(data))))


@router.post(
    "/import",
    dependencies=[SameSite],
    responses={200: {"model": DictionaryAnswer}},
    openapi_extra={
        "requestBody": {"required": True, "content": {"application/pls+xml": {"schema": {"type": "string"}}}}
    },
)
async def import_pls(request: Request, ctx: Ctx, _: Admin) -> JSONResponse:
    """Add the words of a W3C pronunciation lexicon (PLS, XML); they win over those there are."""
    data = await read_body(request, ctx.settings.limits.max_body_bytes)
    now, told = await asyncio.to_thread(_import, ctx, data)
    return _answer(ctx, now, told)


@router.delete("/{word:path}", dependencies=[SameSite], responses={200: {"model": DictionaryAnswer}})
async def remove(word: str, ctx: Ctx, _: Admin) -> JSONResponse:
    """Take out a word, written as it is there. Running jobs keep it."""
    return _answer(ctx, await asyncio.to_thread(ctx.service.dictionary.remove, word))


def _entries(data: bytes) -> Sequence[Pronunciation]:
    body = DictionaryBody.model_validate_json(data)
    return [checked(entry.value(), f"entries/{number}") for number, entry in enumerate(body.entries)]


def _import(ctx: Context, data: bytes) -> tuple[Frozen, Sequence[str]]:
    try:
        document = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InvalidInput(f"{_FILE} is not UTF-8: byte {error.start}") from None
    entries, told = read_pls(document, _FILE)
    return ctx.service.dictionary.add(entries), told


def _answer(ctx: Context, now: Frozen, told: Sequence[str] = ()) -> JSONResponse:
    trouble = ctx.service.dictionary.trouble
    answer = {
        "entries": as_rows(now.entries),
        "digest": now.digest,
        "warnings": [*told, *([trouble] if trouble else [])],
    }
    return JSONResponse(answer, headers={"Cache-Control": "no-store"})
