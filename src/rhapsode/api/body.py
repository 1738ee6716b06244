"""Read a request's body, never more than is allowed."""

import asyncio
from collections.abc import Sequence
from typing import Any, TypeVar

from fastapi import Request
from pydantic import BaseModel
from starlette.requests import ClientDisconnect

from rhapsode.api.connection import ClientLeft
from rhapsode.errors import TooLarge
from rhapsode.jobs.request import SpeechBody

M = TypeVar("M", bound=BaseModel)

SMALL_BYTES = 256 * 1024
"""Largest body of a request that brings no text to speak."""
_THREAD_BYTES = 128 * 1024
"""Larger bodies are parsed in a thread, so that the event loop goes on."""


def described(
    model: type[BaseModel], required: bool = True, kinds: Sequence[str] = ("application/json",)
) -> dict[str, Any]:
    """For OpenAPI (``openapi_extra``): the body of a route that reads it by itself, so that whoever may not call it sends nothing."""
    schema = model.model_json_schema(ref_template="#/components/schemas/{model}")
    return {"requestBody": {"required": required, "content": {kind: {"schema": schema} for kind in kinds}}}


SPEECH_SCHEMA = described(SpeechBody)
"""Of routes that use :func:`read_speech`."""


async def read_body(request: Request, limit: int, setting: str = "limits.max_body_bytes") -> bytes:
    """The whole body.

    Args:
        request: Whose.
        limit: Most bytes.
        setting: Where the limit is set; empty: nowhere.

    Raises:
        TooLarge: It has more than ``limit`` bytes; the rest is not read.
        ClientLeft: The client closed the connection before it was all there.
    """
    declared = request.headers.get("content-length", "")
    where = f" ({setting})" if setting else ""
    if declared.isdigit() and int(declared) > limit:
        raise TooLarge(f"the body has {int(declared):,} bytes; the limit is {limit:,}{where}")
    data = bytearray()
    try:
        async for piece in request.stream():
            data += piece
            if len(data) > limit:
                raise TooLarge(f"the body has more than {limit:,} bytes{where}")
    except ClientDisconnect as error:
        raise ClientLeft("the client closed the connection") from error
    return bytes(data)


async def read_speech(request: Request, limit: int) -> SpeechBody:
    """The body of ``POST /tts`` and ``POST /tts/enqueue``.

    Raises:
        TooLarge: As in :func:`read_body`.
        pydantic.ValidationError: It is no JSON, or a field is wrong.
    """
    data = await read_body(request, limit)
    if len(data) > _THREAD_BYTES:
        return await asyncio.to_thread(SpeechBody.model_validate_json, data)
    return SpeechBody.model_validate_json(data)


async def read_small(request: Request, model: type[M]) -> M:
    """A body that brings no text to speak.

    Raises:
        TooLarge: It has more than :data:`SMALL_BYTES`.
        ClientLeft: As in :func:`read_body`.
        pydantic.ValidationError: It is no JSON, or a field is wrong.
    """
    return model.model_validate_json(await read_body(request, SMALL_BYTES, setting=""))
