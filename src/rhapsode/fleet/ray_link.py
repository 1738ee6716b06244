"""The server's side of the Ray driver process: started, asked, watched, ended. Whatever happens to the cluster, the server goes on."""

import asyncio
import contextlib
import itertools
import logging
import os
import signal
import socket
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar, cast

import msgspec

from rhapsode.errors import DeadlineMissed, EngineError, RhapsodeError, Unavailable, WorkerDied
from rhapsode.fleet import protocol
from rhapsode.fleet.protocol import Frames, ProtocolError, frame
from rhapsode.fleet.ray_protocol import (
    Answered,
    Ask,
    Broken,
    Connect,
    Connected,
    Fire,
    Gone,
    Hire,
    Hired,
    Reply,
    Share,
    Shared,
    parse_message,
)
from rhapsode.spawn import spawn

_log = logging.getLogger(__name__)

_LINE_CHARS = 500
_NOISE = "[state-dump]"
"""Ray prints pages of these when a node dies."""
_UNWELCOME = "InvalidAuthToken"
"""Ray prints this, and asks again for ever, when it does not send the token that the cluster wants."""

R = TypeVar("R", Connected, Hired, Shared, Answered)
A = TypeVar("A", protocol.Ready, protocol.Described, protocol.Loaded, protocol.Rendered)


@dataclass(frozen=True, slots=True)
class Hands:
    """What hears of the cluster."""

    on_gone: Callable[[str, RhapsodeError], None]
    """A worker ended by itself, for this reason; called before the requests it still held fail."""
    on_lost: Callable[[str], None]
    """The driver is gone, and all workers with it, for this reason; called before the requests that were under way fail."""


class Link(asyncio.Protocol):
    """A Ray driver in a process of its own. Used from one event loop.

    Requests raise what their worker was ended with from here, WorkerDied when its process ended by itself, and Unavailable when
    its node or the cluster is gone.
    """

    def __init__(self, hands: Hands) -> None:
        self._hands = hands
        self._loop = asyncio.get_running_loop()
        self._frames = Frames()
        self._ids = itertools.count(1)
        self._waiting: dict[int, tuple[str, asyncio.Future[Reply]]] = {}
        self._transport: asyncio.Transport | None = None
        self._process: asyncio.subprocess.Process | None = None
        self._printing: asyncio.Task[None] | None = None
        self._cause = "the Ray driver has ended"
        self._ended = False
        self.closed = asyncio.Event()

    # -- life ---------------------------------------------------------------------------------------------------

    async def open(self, address: str, namespace: str, timeout_s: float) -> None:
        """Start the process and have it join the cluster.

        Raises:
            Unavailable: There is no cluster; says why. The process is gone.
        """
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        try:
            self._process = await spawn(
                sys.executable,
                "-P",
                "-m",
                "rhapsode.fleet.ray_driver",
                str(theirs.fileno()),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.STDOUT,
                pass_fds=[theirs.fileno()],
                env={**os.environ, "PYTHONUNBUFFERED": "1", "RAY_USAGE_STATS_ENABLED": "0", "RAY_COLOR_PREFIX": "0"},
                start_new_session=True,
            )
        except OSError as error:
            ours.close()
            raise Unavailable(f"the Ray driver cannot be started: {error}") from error
        finally:
            theirs.close()
        await self._loop.create_unix_connection(lambda: self, sock=ours)
        self._printing = self._loop.create_task(self._print(), name="output of the Ray driver")
        try:
            async with asyncio.timeout(timeout_s):
                await self._request(Connect(next(self._ids), address, namespace), "", Connected)
        except BaseException as error:
            await self.close(grace_s=0)
            if isinstance(error, TimeoutError):
                raise Unavailable(f"{address} did not let us join within {timeout_s:.0f} s") from error
            raise

    async def close(self, grace_s: float) -> None:
        """End the process, and with it all workers; what they hold fails. It gets some seconds to take its leave of the cluster."""
        self._ended = True
        process = self._process
        if process is not None and self._transport is not None and grace_s:
            self._transport.close()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(process.wait(), grace_s)
        if process is not None and process.returncode is None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)
        if process is not None:
            await process.wait()
        if self._transport is not None:
            self._transport.abort()
            await self.closed.wait()
        if self._printing is not None:
            await asyncio.wait([self._printing], timeout=1)
            self._printing.cancel()

    # -- asking -------------------------------------------------------------------------------------------------

    async def hire(self, worker: str, request: Hire) -> Hired:
        """Have a worker placed, however long that takes; ends it when cancelled."""
        try:
            return await self._request(
                msgspec.structs.replace(request, id=next(self._ids), worker=worker), worker, Hired
            )
        except asyncio.CancelledError:
            self.fire(worker, Unavailable("the worker was given up"))
            raise

    async def share(self, worker: str, folder: str, source: str, only: Sequence[str] | None = None) -> str:
        """Bring files to a worker's node; the path of their folder there."""
        names = tuple(only) if only is not None else None
        return (await self._request(Share(next(self._ids), worker, folder, source, names), worker, Shared)).path

    async def ask(self, worker: str, engine: str, request: msgspec.Struct, expected: type[A], deadline_s: float) -> A:
        """Put a request to an engine; when it misses the deadline, the worker is ended.

        Raises:
            EngineError: The engine failed; the worker lives.
            DeadlineMissed, WorkerDied: It does not.
            Unavailable: Its node or the cluster is gone.
        """
        what = type(request).__name__.lower()
        try:
            body = msgspec.msgpack.encode(request)
        except UnicodeEncodeError as error:
            raise EngineError(f"the text cannot be sent: {error}") from error
        missed = DeadlineMissed(f"the worker took more than {deadline_s:.0f} s to {what}")
        timer = self._loop.call_later(deadline_s, self.fire, worker, missed)
        try:
            reply = await self._request(Ask(next(self._ids), worker, engine, body), worker, Answered)
        finally:
            timer.cancel()
        answer = protocol.parse_message(reply.body)
        if isinstance(answer, protocol.Failed):
            raise EngineError(answer.message)
        if not isinstance(answer, expected):
            raise EngineError(f"the worker answered {type(answer).__name__} to {what}")
        return answer

    def fire(self, worker: str, verdict: RhapsodeError) -> None:
        """End a worker now; what it holds fails with ``verdict``."""
        self._send(Fire(worker))
        self._fail(worker, verdict)

    async def _request(self, request: Connect | Hire | Share | Ask, worker: str, expected: type[R]) -> R:
        if self._ended or self._transport is None:
            raise Unavailable("the cluster is gone")
        reply: asyncio.Future[Reply] = self._loop.create_future()
        self._waiting[request.id] = worker, reply
        try:
            self._send(request)
            answer = await reply
        finally:
            self._waiting.pop(request.id, None)
        if isinstance(answer, Broken):
            raise _verdict(answer) if worker else Unavailable(f"cluster away: {answer.cause}")
        if not isinstance(answer, expected):
            raise Unavailable(f"the Ray driver answered {type(answer).__name__}")
        return answer

    def _send(self, message: msgspec.Struct) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(frame(message))

    def _fail(self, worker: str | None, error: RhapsodeError) -> None:
        for name, reply in list(self._waiting.values()):
            if worker in (None, name) and not reply.done():
                reply.set_exception(error)

    # -- asyncio.Protocol ---------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The socket is connected."""
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        """Messages of the driver; rubbish ends it."""
        try:
            for body in self._frames.feed(data):
                self._take(parse_message(body))
        except ProtocolError:
            _log.exception("the Ray driver is ended")
            if self._transport is not None:
                self._transport.abort()

    def _take(self, message: Reply | Gone) -> None:
        if isinstance(message, Gone):
            if not message.worker:
                self._cause = message.cause
                return
            verdict = _verdict(message)
            self._hands.on_gone(message.worker, verdict)
            self._fail(message.worker, verdict)
            return
        _, reply = self._waiting.get(message.id, ("", None))
        if reply is not None and not reply.done():
            reply.set_result(message)

    def connection_lost(self, exc: Exception | None) -> None:
        """The driver is gone."""
        ended, self._ended = self._ended, True
        if not ended:
            if self._process is not None and self._process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    self._process.kill()
            self._hands.on_lost(self._cause)
        self._fail(None, Unavailable(f"cluster away: {self._cause}"))
        self.closed.set()

    async def _print(self) -> None:
        """What Ray and the workers print: each line goes to the log."""
        out = self._process.stdout if self._process else None
        while out is not None:
            try:
                line = await out.readline()
            except ValueError:  # longer than any line should be; asyncio has dropped it
                continue
            if not line:
                return
            text = line[:_LINE_CHARS].decode("utf-8", "replace").strip()
            if text and _NOISE not in text:
                _log.info("ray: %s", text)
            if _UNWELCOME in text:
                self._refused("it wants a token: RAY_AUTH_MODE=token, and the token of its head in ~/.ray/auth_token")

    def _refused(self, cause: str) -> None:
        """Fail what asks to join."""
        for number, (worker, reply) in self._waiting.items():
            if not worker and not reply.done():
                reply.set_result(Broken(number, cause, "lost"))


def _verdict(broken: Broken | Gone) -> RhapsodeError:
    match broken.why:
        case "lost":
            return Unavailable(f"worker lost: {broken.cause}")
        case "died":
            return WorkerDied(f"the worker died: {broken.cause}")
        case "refused":
            return EngineError(broken.cause)
