"""Every request to a server and what came of it, kept for the checks that are made when all is over."""

import hashlib
import json
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import httpx

_KEPT = 256 * 1024
"""Bytes of a body that are kept to be read as JSON; of all others only size and digest are."""
_ACCEPTED = 202


@dataclass(frozen=True, slots=True)
class Exchange:
    """A request, and its reply as far as it came."""

    at: float
    """Seconds since the record began, when the request was sent."""
    seconds: float
    """Until the reply was there, or broke off."""
    method: str
    path: str
    body: Any
    """As JSON; None: none, or something else."""
    status: int | None
    """None: the connection broke before there was one."""
    whole: bool
    """Whether the reply came to its end."""
    reply: Any
    """As JSON; None: something else."""
    size: int
    digest: str
    """SHA-256 of the reply."""
    etag: str

    @property
    def job_id(self) -> str:
        """The job that the path names, or ``""``."""
        parts = self.path.split("?")[0].split("/")
        return parts[2] if len(parts) > 3 and parts[1] == "tts" else ""


@dataclass(slots=True)
class Record:
    """All exchanges with one data directory's servers, in the order of their ends."""

    exchanges: list[Exchange] = field(default_factory=list)
    began: float = field(default_factory=time.monotonic)

    def acknowledged(self) -> Mapping[str, Mapping[str, Any]]:
        """Every job that a 202 promised, and the body that asked for it."""
        jobs: dict[str, Mapping[str, Any]] = {}
        for exchange in self._accepted():
            if exchange.path == "/tts/enqueue":
                jobs[exchange.reply["job_id"]] = exchange.body
            elif exchange.path.endswith("/redo"):
                jobs[exchange.reply["redo"]["job_id"]] = {}
        return jobs

    def _accepted(self) -> Iterator[Exchange]:
        return (one for one in self.exchanges if one.status == _ACCEPTED and isinstance(one.reply, dict))

    def statuses(self) -> Mapping[str, list[dict[str, Any]]]:
        """What was shown of each job, in order."""
        shown: dict[str, list[dict[str, Any]]] = {}
        for one in self.exchanges:
            if one.path.endswith("/status") and one.status == httpx.codes.OK and one.reply:
                shown.setdefault(one.job_id, []).append(one.reply)
        return shown

    def dump(self, path: Path) -> None:
        """Write it down as JSON lines, to be read when a check failed."""
        path.write_text("".join(json.dumps(asdict(one)) + "\n" for one in self.exchanges))


class Recorder(httpx.AsyncBaseTransport):
    """Sends requests and records what comes of them."""

    def __init__(self, record: Record) -> None:
        self._record = record
        self._inner = httpx.AsyncHTTPTransport(limits=httpx.Limits(max_connections=None))

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        began = time.monotonic()
        asked = _json(await request.aread()) if request.headers.get("content-type") == "application/json" else None

        def note(status: int | None, whole: bool, data: "_Kept", etag: str) -> None:
            self._record.exchanges.append(
                Exchange(
                    at=began - self._record.began,
                    seconds=time.monotonic() - began,
                    method=request.method,
                    path=request.url.raw_path.decode(),
                    body=asked,
                    status=status,
                    whole=whole,
                    reply=_json(data.head) if data.size == len(data.head) else None,
                    size=data.size,
                    digest=data.digest.hexdigest(),
                    etag=etag,
                )
            )

        try:
            response = await self._inner.handle_async_request(request)
        except httpx.HTTPError:
            note(None, False, _Kept(), "")
            raise
        except AttributeError as error:  # of anyio, which asks the socket of a server that died just now for its name
            note(None, False, _Kept(), "")
            raise httpx.ConnectError(f"the server is gone: {error}") from error
        assert isinstance(response.stream, httpx.AsyncByteStream)
        etag = response.headers.get("etag", "")
        response.stream = _Tee(response.stream, lambda whole, data: note(response.status_code, whole, data, etag))
        return response

    async def aclose(self) -> None:
        await self._inner.aclose()


class _Kept:
    """What is kept of a body."""

    def __init__(self) -> None:
        self.head = b""
        self.size = 0
        self.digest = hashlib.sha256()

    def add(self, piece: bytes) -> None:
        self.size += len(piece)
        self.digest.update(piece)
        if self.size <= _KEPT:
            self.head += piece


class _Tee(httpx.AsyncByteStream):
    """Passes a body on; says once what it was and whether it came to its end."""

    def __init__(self, stream: httpx.AsyncByteStream, done: Callable[[bool, _Kept], None]) -> None:
        self._stream = stream
        self._done: Callable[[bool, _Kept], None] | None = done
        self._kept = _Kept()
        self._whole = False

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for piece in self._stream:
            self._kept.add(piece)
            yield piece
        self._whole = True

    async def aclose(self) -> None:
        try:
            await self._stream.aclose()
        finally:
            done, self._done = self._done, None
            if done:
                done(self._whole, self._kept)


def _json(data: bytes) -> Any:
    try:
        return json.loads(data) if data else None
    except ValueError:
        return None
