"""Read a request's body, never more than is allowed."""

import asyncio

from fastapi import Request
from starlette.requests import ClientDisconnect

from rhapsode.api.connection import ClientLeft
from rhapsode.errors import TooLarge
from rhapsode.jobs.request import SpeechBody

SPEECH_SCHEMA = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {"schema": SpeechBody.model_json_schema(ref_template="#/components/schemas/{model}")}
        },
    }
}
"""For OpenAPI, of routes that use :func:`read_speech`."""
_THREAD_BYTES = 128 * 1024
"""Larger bodies are parsed in a thread, so that the event loop goes on."""


async def read_body(request: Request, limit: int) -> bytes:
    """The whole body.

    Raises:
        TooLarge: It has more than ``limit`` bytes; the rest is not read.
        ClientLeft: The client closed the connection before it was all there.
    """
    declared = request.headers.get("content-length", "")
    if declared.isdigit() and int(declared) > limit:
        raise TooLarge(f"the body has {int(declared):,} bytes; the limit is {limit:,} (limits.max_body_bytes)")
    data = bytearray()
    try:
        async for piece in request.stream():
            data += piece
            if len(data) > limit:
                raise TooLarge(f"the body has more than {limit:,} bytes (limits.max_body_bytes)")
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
