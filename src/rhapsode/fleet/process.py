"""One worker process as its parent sees it: launched, asked, watched, ended. Whatever it does, the parent goes on."""

import asyncio
import contextlib
import itertools
import logging
import os
import signal
import socket
import subprocess
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar, cast

from rhapsode.errors import DeadlineMissed, EngineError, RhapsodeError, SynthesisError, Unavailable, WorkerDied
from rhapsode.fleet import base
from rhapsode.fleet.protocol import (
    Describe,
    Described,
    Failed,
    Frames,
    Heartbeat,
    Load,
    Loaded,
    Message,
    ProtocolError,
    Ready,
    Rendered,
    Reply,
    Request,
    Start,
    Stop,
    Stored,
    Synthesise,
    frame,
    parse_message,
)

_log = logging.getLogger(__name__)

_LAST_LINES = 5
_LINE_CHARS = 500
_EXIT_S = 1.0
"""How long a worker that closed its socket may take to exit."""
_DRAIN_S = 0.5
"""How long a dead worker's output is waited for: a grandchild may hold the pipe open."""
_THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS")

R = TypeVar("R", Ready, Described, Loaded, Rendered)
M = TypeVar("M")


@dataclass(frozen=True, slots=True)
class ProcessOptions:
    """How to start a worker process."""

    name: str
    """Of its slot; for the log."""
    python: str
    """The interpreter, as a path."""
    start: Start
    start_timeout_s: float
    """For importing the engine, for describing it, and for loading a voice."""
    heartbeat_timeout_s: float


class WorkerProcess(asyncio.Protocol):
    """A worker process, launched by the constructor. Used from one event loop.

    Every request raises what :meth:`kill` was given when the process is ended from here, and WorkerDied with the cause when
    it ends by itself.

    Args:
        options: How to start it.
        on_exit: Called once when the process is gone, before the requests it still held fail.

    Raises:
        EngineError: The interpreter cannot be started.
    """

    def __init__(self, options: ProcessOptions, on_exit: "Callable[[WorkerProcess], None]") -> None:
        self.warm: frozenset[str] = frozenset()
        """Voices that it was asked to load, and digests of clips that it has spoken with."""
        self.ready = False
        """The engine is imported; it can be asked."""
        self.rss_bytes = 0
        self.exited = asyncio.Event()
        self._options = options
        self._on_exit = on_exit
        self._loop = asyncio.get_running_loop()
        self._output = _Output(options.name)
        self._frames = Frames()
        self._ids = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[Reply]] = {}
        self._storing: dict[int, asyncio.Future[bool]] = {}
        self._transport: asyncio.Transport | None = None
        self._reaper: asyncio.Task[None] | None = None
        self._verdict: RhapsodeError | None = None
        self._last_heard = self._loop.time()
        self._socket, self._popen = _launch(options)
        self._connecting = self._loop.create_task(self._connect(), name=f"connect worker {options.name}")

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._popen.pid

    @property
    def idle(self) -> bool:
        """Whether it has nothing to answer."""
        return not self._waiting

    # -- asking -------------------------------------------------------------------------------------------------

    async def begin(self) -> None:
        """Wait until the engine is imported; when that fails, the process is gone.

        Raises:
            EngineError, WorkerDied, DeadlineMissed: It did not start.
        """
        await asyncio.shield(self._connecting)
        try:
            await self._ask(self._options.start, Ready, self._options.start_timeout_s)
        except EngineError as error:
            await self.end(error)
            raise
        self.ready = True

    async def describe(self) -> Described:
        """What the engine can do now."""
        return await self._ask(Describe(next(self._ids)), Described, self._options.start_timeout_s)

    async def load(self, voice: str) -> None:
        """Bring a predefined voice into its memory.

        Raises:
            EngineError: No such voice, or it cannot be loaded.
        """
        if voice not in self.warm:
            await self._ask(Load(next(self._ids), voice), Loaded, self._options.start_timeout_s)
            self.warm |= {voice}

    async def synthesise(self, task: base.SynthesisTask, deadline_s: float) -> base.Rendered:
        """Speak one segment within ``deadline_s`` seconds.

        Raises:
            EngineError: The engine failed; the worker lives.
            DeadlineMissed, WorkerDied: It does not.
            Unavailable: It had died before it was asked.
        """
        clips = self._options.start.clips_dir
        if task.reference is not None and clips is None:
            raise EngineError("nothing can be cloned: the workers have no folder of clips")
        request = Synthesise(
            next(self._ids),
            task.text,
            task.voice,
            task.seed,
            task.controls,
            task.language,
            task.sentence_pause_s,
            f"{clips}/{task.reference}.wav" if task.reference else None,
            rate=task.rate,
            store=task.store and self._options.start.takes_dir is not None,
        )
        stored: asyncio.Future[bool] | None = None
        if request.store:
            stored = self._storing[request.id] = self._loop.create_future()
        try:
            rendered = await self._ask(request, Rendered, deadline_s)
        except BaseException:
            self._storing.pop(request.id, None)
            raise
        if task.reference:
            self.warm |= {task.reference}
        return base.Rendered(rendered.take, rendered.data, stored)

    async def _ask(self, request: Start | Describe | Load | Synthesise, expected: type[R], deadline_s: float) -> R:
        reply: asyncio.Future[Reply] = self._loop.create_future()
        what = type(request).__name__.lower()
        if self.ready and self._transport is not None and self._transport.is_closing():
            await self.exited.wait()
            raise Unavailable(f"{self.cause}, before it was given anything")
        if self.exited.is_set():
            raise self._verdict or WorkerDied("the worker is gone")
        try:
            self._send(request)
        except ProtocolError as error:
            raise EngineError(str(error)) from error
        self._waiting[request.id] = reply
        missed = DeadlineMissed(f"the worker took more than {deadline_s:.0f} s to {what}")
        timer = self._loop.call_later(deadline_s, self.kill, missed)
        try:
            answer = await reply
        finally:
            timer.cancel()
        if isinstance(answer, Failed):
            raise EngineError(answer.message)
        if not isinstance(answer, expected):
            self.kill(WorkerDied(f"the worker answered {type(answer).__name__} to {what}"))
            raise WorkerDied(f"the worker answered {type(answer).__name__} to {what}")
        return answer

    def _send(self, request: Request) -> None:
        if self._transport is not None and not self._transport.is_closing():  # uvloop raises where asyncio says nothing
            self._transport.write(frame(request))

    # -- watching and ending ------------------------------------------------------------------------------------

    def check_heartbeat(self, forgive: bool) -> None:
        """End the process when it was not heard for too long; ``forgive`` when it was this side that slept.

        While it starts, only the start's timeout counts: an import may hold up its heartbeat.
        """
        now = self._loop.time()
        if forgive:
            self._last_heard = now
        if self.ready and now - self._last_heard > self._options.heartbeat_timeout_s:
            self.kill(DeadlineMissed(f"the worker gave no sign of life for {now - self._last_heard:.0f} s"))

    def kill(self, verdict: RhapsodeError) -> None:
        """End the process and its children now; what it holds fails with ``verdict``. Only the first verdict counts."""
        if self._verdict is None:
            self._verdict = verdict
        if self._popen.poll() is None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.pid, signal.SIGKILL)

    async def stop(self, grace_s: float, verdict: RhapsodeError) -> None:
        """Let it finish what is in hand and exit; after ``grace_s`` seconds :meth:`kill` it."""
        self._verdict = self._verdict or verdict
        self._send(Stop())
        try:
            await asyncio.wait_for(self.exited.wait(), grace_s)
        except TimeoutError:
            await self.end(verdict)

    async def end(self, verdict: RhapsodeError) -> None:
        """:meth:`kill`, and wait until it is gone."""
        self.kill(verdict)
        await self.exited.wait()

    # -- asyncio.Protocol ---------------------------------------------------------------------------------------

    async def _connect(self) -> None:
        await self._loop.connect_read_pipe(lambda: self._output, self._popen.stdout)
        await self._loop.create_unix_connection(lambda: self, sock=self._socket)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The socket is connected."""
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is one in all but name

    def data_received(self, data: bytes) -> None:
        """Bytes from the worker; rubbish ends it."""
        self._last_heard = self._loop.time()
        try:
            for body in self._frames.feed(data):
                self._take(parse_message(body))
        except ProtocolError as error:
            self.kill(WorkerDied(f"the worker sent rubbish ({error})"))
            if self._transport is not None:
                self._transport.abort()

    def _take(self, message: Message) -> None:
        if isinstance(message, Heartbeat | Rendered):
            self.rss_bytes = message.rss_bytes
        if isinstance(message, Heartbeat):
            return
        if isinstance(message, Stored):
            self._settle(self._storing, message.id, message.done)
        else:
            self._settle(self._waiting, message.id, message)

    @staticmethod
    def _settle(waiting: dict[int, asyncio.Future[M]], request_id: int, answer: M) -> None:
        future = waiting.pop(request_id, None)
        if future is None:
            raise ProtocolError(f"an answer to request {request_id}, which was not asked")
        if not future.done():
            future.set_result(answer)

    def connection_lost(self, exc: Exception | None) -> None:
        """The worker closed its end: it has exited, or is about to."""
        self._reaper = self._loop.create_task(self._reap(), name=f"reap worker {self._options.name}")

    async def _reap(self) -> None:
        await self._wait_for_exit()
        await self._output.drain(_DRAIN_S)
        died = self._verdict or WorkerDied(f"the worker {self._cause()}")
        _log.log(
            logging.WARNING if isinstance(died, SynthesisError) else logging.INFO,
            "worker %s (pid %d) ended: %s",
            self._options.name,
            self.pid,
            died,
        )
        self._verdict = died
        self.ready = False
        self.exited.set()
        self._on_exit(self)
        for waiting in self._waiting.values():
            if not waiting.done():
                waiting.set_exception(died)
        self._waiting.clear()
        for storing in self._storing.values():
            if not storing.done():
                storing.set_result(False)
        self._storing.clear()

    async def _wait_for_exit(self) -> None:
        """Poll, because no event for it exists on every system; the socket's end came first, so it takes a moment only."""
        last = self._loop.time() + _EXIT_S
        pause = 0.0005
        while self._popen.poll() is None:
            if self._loop.time() > last:
                self._popen.kill()
            await asyncio.sleep(pause)
            pause = min(2 * pause, 0.05)

    @property
    def cause(self) -> str:
        """Why it ended; for people."""
        return str(self._verdict)

    def _cause(self) -> str:
        code = self._popen.returncode
        text = f"exited with code {code}"
        if code < 0:
            text = f"was ended by signal {-code} ({signal.strsignal(-code)})"
        lines = " | ".join(self._output.last_lines())
        return f"{text}: {lines}" if lines else text


class _Output(asyncio.Protocol):
    """What libraries in the worker print: each line goes to the log, the last ones are kept."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._rest = b""
        self._lines: deque[str] = deque(maxlen=_LAST_LINES)
        self._transport: asyncio.BaseTransport | None = None
        self._closed = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        *lines, rest = (self._rest + data).split(b"\n")
        for line in lines:
            self._keep(line)
        if len(rest) > _LINE_CHARS:
            self._keep(rest)
            rest = b""
        self._rest = rest

    def connection_lost(self, exc: Exception | None) -> None:
        self._keep(self._rest)
        self._closed.set()

    async def drain(self, timeout_s: float) -> None:
        """Wait for the end of the output, not longer than ``timeout_s`` seconds."""
        try:
            await asyncio.wait_for(self._closed.wait(), timeout_s)
        except TimeoutError:
            if self._transport is not None:
                self._transport.close()

    def last_lines(self) -> tuple[str, ...]:
        """The last lines printed."""
        return tuple(self._lines)

    def _keep(self, line: bytes) -> None:
        text = line[:_LINE_CHARS].decode("utf-8", "replace").strip()
        if text:
            self._lines.append(text)
            _log.info("worker %s: %s", self._name, text)


def _launch(options: ProcessOptions) -> tuple[socket.socket, subprocess.Popen[bytes]]:
    """Start the process with one end of a socket pair; gives the other end."""
    threads = dict.fromkeys(_THREAD_VARIABLES, str(options.start.threads))
    try:
        ours, theirs = socket.socketpair()
    except OSError as error:
        raise EngineError(f"no worker can be started: {error}") from error
    try:
        process = subprocess.Popen(
            [options.python, "-P", "-m", "rhapsode.fleet.worker", str(theirs.fileno())],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            pass_fds=[theirs.fileno()],
            env={**os.environ, **threads, "PYTHONUNBUFFERED": "1", "PYTHONFAULTHANDLER": "1"},
            # Ctrl-C at a terminal is for the parent to answer. No session of its own: Linux shares the processor between
            # sessions first (autogroups), so that niceness counts only among processes of one
            process_group=0,
        )
    except OSError as error:
        ours.close()
        raise EngineError(f"the interpreter {options.python!r} cannot be started: {error}") from error
    finally:
        theirs.close()
    ours.setblocking(False)
    return ours, process
