"""Parts of an answer (RFC 9110, section 14): of bytes in memory, in pieces or in files, and the refusals for all."""

import asyncio
import os
import re
from collections.abc import AsyncIterator, Callable, Mapping

from fastapi import Request, Response
from fastapi.responses import FileResponse, StreamingResponse
from starlette.datastructures import Headers
from starlette.types import Message, Receive, Scope, Send

from rhapsode.api.errors import problem

_NOT_SATISFIABLE = 416
_METHODS = ("GET", "HEAD")
"""Those that have parts."""
_ZERO_COPY = "http.response.zerocopysend"
"""The server that runs this sends files by itself (ASGI extension)."""
_PART = r"(?:\d{1,18}-\d{0,18}|-\d{1,18})"
_RANGE = re.compile(rf"bytes=\s*{_PART}(?:\s*,\s*{_PART})*\s*", re.IGNORECASE)
_ONE = re.compile(r"bytes=\s*(\d*)-(\d*)\s*", re.IGNORECASE)


def is_range(header: str) -> bool:
    """Whether a Range header says something; what does not is to be ignored, and the whole be sent."""
    if not _RANGE.fullmatch(header):
        return False
    parts = [part.strip().partition("-") for part in header.partition("=")[2].split(",")]
    return all(not (first and last) or int(first) <= int(last) for first, _, last in parts)


def not_satisfiable(header: str, size: int, headers: Mapping[str, str] | None = None) -> Response:
    """The answer to a range that lies outside of what there is: 416."""
    detail = f"Range: there are {size} bytes, 0 … {max(size - 1, 0)}; {header[:80]!r} asks for others"
    errors = [{"pointer": "/Range", "detail": detail}]
    return problem(416, "invalid_input", detail, errors, {**(headers or {}), "Content-Range": f"bytes */{size}"})


def matches(request: Request, etag: str) -> bool:
    """Whether the client has this version already (If-None-Match)."""
    tags = [tag.strip().removeprefix("W/") for tag in request.headers.get("if-none-match", "").split(",")]
    return etag in tags or "*" in tags


def bytes_response(request: Request, data: bytes, media_type: str, headers: Mapping[str, str]) -> Response:
    """Bytes with ranges: one range as 206, several as the whole.

    Args:
        request: Its Range and If-Range are heeded.
        data: All of it.
        media_type: Of the data.
        headers: More headers, ETag among them.
    """
    headers = {**headers, "Accept-Ranges": "bytes"}
    part = one_range(request, len(data), headers["ETag"])
    if isinstance(part, Response):
        return part
    if part is None:
        return Response(data, headers=headers, media_type=media_type)
    headers["Content-Range"] = f"bytes {part.start}-{part.stop - 1}/{len(data)}"
    return Response(data[part.start : part.stop], 206, headers=headers, media_type=media_type)


async def stream_response(
    request: Request,
    read: Callable[[int, int], AsyncIterator[bytes]],
    size: int,
    media_type: str,
    headers: Mapping[str, str],
) -> Response:
    """Like :func:`bytes_response`, of bytes that ``read(start, end)`` gives in pieces; HEAD reads none.

    The first piece is read here, so that what cannot be read at all is an answer like any other.
    """
    part = one_range(request, size, headers["ETag"])
    if isinstance(part, Response):
        return part
    headers = {**headers, "Accept-Ranges": "bytes"}
    status = 200
    if part is not None:
        status, headers["Content-Range"] = 206, f"bytes {part.start}-{part.stop - 1}/{size}"
    part = part or range(size)
    headers["Content-Length"] = str(len(part))
    if request.method == "HEAD":
        return Response(None, status, headers, media_type)
    pieces = read(part.start, part.stop)
    first = await anext(pieces, b"")
    return StreamingResponse(_with(first, pieces), status, headers, media_type)


async def _with(first: bytes, rest: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    yield first
    async for data in rest:
        yield data


def one_range(request: Request, size: int, etag: str) -> range | Response | None:
    """The one range that is asked for; None when it is the whole, a refusal when there is no such range."""
    wanted = request.headers.get("range", "")
    one = _ONE.fullmatch(wanted) if is_range(wanted) and request.method in _METHODS else None
    if one is None or request.headers.get("if-range", etag) != etag:
        return None
    first, last = one.groups()
    start = int(first) if first else max(size - int(last), 0)
    end = min(int(last) + 1, size) if first and last else size
    if start >= size:
        return not_satisfiable(wanted, size, {"ETag": etag, "Accept-Ranges": "bytes"})
    return range(start, end)


class FileInParts(FileResponse):
    """A file, read in pieces so large that a short one is one piece: each costs a turn of a thread."""

    chunk_size = 512 * 1024

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send; a range that cannot be satisfied is a problem like any other, one that says nothing is ignored."""
        if self.stat_result is None:
            self.stat_result = await asyncio.to_thread(os.stat, self.path)
            self.set_stat_headers(self.stat_result)
        wanted = Headers(scope=scope).get("range")
        if wanted is not None and not is_range(wanted):
            scope = {**scope, "headers": [pair for pair in scope["headers"] if pair[0].lower() != b"range"]}
            wanted = None
        if scope["method"] == "GET" and _ZERO_COPY in scope.get("extensions", {}) and await self._sent(scope, send):
            return
        refused = False

        async def unless_refused(message: Message) -> None:
            nonlocal refused
            refused = refused or message.get("status") == _NOT_SATISFIABLE
            if not refused:
                await send(message)

        await super().__call__(scope, receive, unless_refused)
        if refused:
            about = {name: self.headers[name] for name in ("ETag", "X-Job-Id", "Accept-Ranges") if name in self.headers}
            await not_satisfiable(wanted or "", int(self.headers["Content-Length"]), about)(scope, receive, send)

    async def _sent(self, scope: Scope, send: Send) -> bool:
        """Have the kernel send the file, or the one part that is asked for; False: it is neither."""
        size = int(self.headers["Content-Length"])
        part = one_range(Request(scope), size, self.headers["ETag"])
        if isinstance(part, Response) or (part is None and "," in Headers(scope=scope).get("range", "")):
            return False
        if part is not None:
            self.headers["Content-Range"] = f"bytes {part.start}-{part.stop - 1}/{size}"
            self.headers["Content-Length"] = str(len(part))
            self.status_code = 206
        part = part or range(size)
        with open(self.path, "rb") as file:  # noqa: ASYNC230, PTH123 - opening takes no time worth a thread
            await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
            await send({"type": _ZERO_COPY, "file": file.fileno(), "offset": part.start, "count": len(part)})
            await send({"type": "http.response.body", "body": b""})
        return True
