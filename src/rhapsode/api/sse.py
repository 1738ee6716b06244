"""Server-sent events (WHATWG HTML, section 9.2): how they are written, and an answer that sends them until somebody leaves."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Coroutine, Mapping, Sequence
from functools import partial
from typing import Any

import msgspec
from fastapi import Request, Response
from starlette.types import Receive, Scope, Send

from rhapsode.api.connection import disconnected

End = Callable[[], Coroutine[Any, Any, object]]
"""Something to wait for."""
COMMENT = b":\n\n"
_RETRY_MS = 2000
_HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}


def message(id_: str, type_: str, data: Mapping[str, object]) -> bytes:
    """One event; JSON has no line breaks, so its data is one line."""
    return b"id: %b\nevent: %b\ndata: %b\n\n" % (id_.encode(), type_.encode(), msgspec.json.encode(data))


class EventStream(Response):
    """Sends what ``pieces`` yields until it ends, the client leaves, or one of ``ends`` comes.

    Args:
        request: Whom to send to.
        pieces: What to send.
        ends: Each gives something to wait for.
    """

    media_type = "text/event-stream"

    def __init__(self, request: Request, pieces: AsyncGenerator[bytes, None], *ends: End) -> None:
        super().__init__(headers=_HEADERS)
        del self.headers["content-length"]
        self._request = request
        self._pieces = pieces
        self._ends = ends

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send."""
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        await send(_body(b"retry: %d\n\n" % _RETRY_MS))
        waits: list[End] = [partial(disconnected, self._request), *self._ends]
        ends = [asyncio.create_task(wait()) for wait in waits]
        try:
            while (piece := await self._next(ends)) is not None:
                await send(_body(piece))
            await send({"type": "http.response.body", "body": b""})
        finally:
            for end in ends:
                end.cancel()
            await asyncio.gather(*ends, return_exceptions=True)
            await self._pieces.aclose()

    async def _next(self, ends: Sequence[asyncio.Task[object]]) -> bytes | None:
        """The next piece, or None at the end, whoever brings it about."""
        piece = asyncio.ensure_future(anext(self._pieces, None))
        waited: list[asyncio.Future[Any]] = [piece, *ends]
        try:
            await asyncio.wait(waited, return_when=asyncio.FIRST_COMPLETED)
            return await piece if piece.done() else None
        finally:
            if not piece.done():
                piece.cancel()
                await asyncio.gather(piece, return_exceptions=True)


def _body(data: bytes) -> dict[str, object]:
    return {"type": "http.response.body", "body": data, "more_body": True}
