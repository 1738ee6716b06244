"""A worker process: holds one engine and speaks one segment at a time. Run as ``python -m rhapsode.fleet.worker FD``.

``FD`` is the inherited end of a socket pair. The parent decides when a worker ends: interrupt and terminate signals, which
shells and service managers send to whole groups, are ignored; ``Stop`` ends it after what is in hand, the parent's death at
once, whatever the engine is doing (the kernel's signal on Linux, the next heartbeat into a broken socket elsewhere).

An interpreter of an engine's own needs numpy, msgspec, av, soxr and this package.
"""

import contextlib
import ctypes
import hashlib
import os
import resource
import signal
import socket
import sys
import threading
import time
import traceback
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import soxr

from rhapsode.audio.speed import MAX_FACTOR, MIN_FACTOR, stretch
from rhapsode.audio.trim import trim_silence
from rhapsode.audio.wav import wav_bytes
from rhapsode.durable import fanned, put
from rhapsode.engines.base import Engine, EngineOptions, Speech, Utterance
from rhapsode.engines.registry import engine_class
from rhapsode.errors import EngineError, RhapsodeError
from rhapsode.failpoints import failpoint
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
    parse_request,
)
from rhapsode.model import Take, WordTiming

_PR_SET_PDEATHSIG = 1
_RECEIVE_BYTES = 65536
_LONGEST_BASE_S = 10.0
_LONGEST_PER_CHAR_S = 2.0
_TELLING_CHARS = 8
"""A text shorter than this says nothing of itself, and may be a part of any word."""
_STORERS = 2
"""Threads that store takes, so that the engine does not wait for the disk."""
_STRETCH_FROM = 0.002
"""Deviations from the wanted speed below this are left alone: nobody hears them, and stretching costs a little quality."""


class Connection:
    """The socket to the parent: messages in from one thread, out from several."""

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock
        self._frames = Frames()
        self._inbox: list[Request] = []
        self._sending = threading.Lock()
        self.busy = False

    def receive(self) -> Request | None:
        """The next request; None at the end of the stream.

        Raises:
            ProtocolError: The parent sent something else.
        """
        while not self._inbox:
            data = self._socket.recv(_RECEIVE_BYTES)
            if not data:
                return None
            self._inbox = [parse_request(body) for body in self._frames.feed(data)]
        return self._inbox.pop(0)

    def send(self, message: Message) -> None:
        """Send one message. Without a parent to hear it, the process ends here."""
        data = frame(message)
        with self._sending:
            try:
                self._socket.sendall(data)
            except OSError:
                os._exit(0)

    def beat(self, interval_s: float) -> None:
        """Send heartbeats for ever (the body of a thread)."""
        while True:
            self.send(Heartbeat(rss_bytes(), self.busy))
            time.sleep(interval_s)


def rss_bytes() -> int:
    """Resident memory of this process; its peak where the system does not tell the present value."""
    try:
        pages = int(Path("/proc/self/statm").read_bytes().split()[1])
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return pages * resource.getpagesize()


def render(engine: Engine, request: Synthesise) -> tuple[Take, bytes]:
    """Speak one segment and finish its take: checked, trimmed, at the speed and rate asked for, as WAV bytes.

    Raises:
        EngineError: The engine failed or gave unusable audio.
        NotFound: No such voice.
    """
    started = time.perf_counter()
    if request.reference is None:
        engine.load(request.voice)
    speech = engine.synthesise(
        Utterance(
            request.text,
            request.voice,
            request.seed,
            request.controls,
            request.language,
            request.sentence_pause_s,
            Path(request.reference) if request.reference else None,
        )
    )
    check(speech, request)
    trimmed, cut = trim_silence(speech.samples, speech.rate)
    if not trimmed.size:
        raise EngineError("the engine gave only silence")
    samples = trimmed
    missing = request.controls.get("speed_factor", 1.0) / speech.speed
    if abs(missing - 1) > _STRETCH_FROM:
        samples = stretch(trimmed, speech.rate, min(max(missing, MIN_FACTOR), MAX_FACTOR))
    rate = request.rate or speech.rate
    if rate != speech.rate:
        samples = soxr.resample(samples, speech.rate, rate)
    data = wav_bytes(samples, rate)
    take = Take(
        digest=hashlib.sha256(data).hexdigest(),
        samples=samples.size,
        rate=rate,
        size=len(data),
        synth_seconds=time.perf_counter() - started,
        words=move_words(speech.words, cut, trimmed.size, samples.size),
    )
    return take, data


def check(speech: Speech, request: Synthesise) -> None:
    """Refuse audio that no engine gives when it works.

    Raises:
        EngineError: Not mono float32, empty, not finite, or absurdly long for its text.
    """
    samples = speech.samples
    if samples.ndim != 1 or samples.dtype != np.float32:
        raise EngineError(f"the engine gave samples of shape {samples.shape} and type {samples.dtype}")
    if not samples.size:
        raise EngineError("the engine gave no audio")
    if not np.isfinite(samples).all():
        raise EngineError("the engine gave audio that is not finite")
    seconds = samples.size / speech.rate * speech.speed
    longest = _LONGEST_BASE_S + len(request.text) * (_LONGEST_PER_CHAR_S + request.sentence_pause_s)
    if seconds > longest:
        raise EngineError(f"the engine gave {seconds:.0f} s of audio, more than {longest:.0f} s")


def move_words(words: tuple[WordTiming, ...], cut: int, before: int, after: int) -> tuple[WordTiming, ...]:
    """Word timings after ``cut`` samples were taken off the start and the ``before`` left were stretched to ``after``."""
    if not words or (not cut and before == after):
        return words

    def moved(position: int) -> int:
        return round(min(max(position - cut, 0), before) * after / before)

    return tuple(WordTiming(w.text, moved(w.start), moved(w.end)) for w in words)


def answer(engine: Engine, request: Describe | Load | Synthesise) -> Reply:
    """Do what is asked; whatever the engine raises becomes a Failed."""
    try:
        match request:
            case Describe():
                return Described(request.id, engine.info, tuple(engine.voices()))
            case Load():
                engine.load(request.voice)
                return Loaded(request.id)
            case Synthesise():
                failpoint("worker.asked")
                take, data = render(engine, request)
                failpoint("worker.spoken")
                return Rendered(request.id, take, data, rss_bytes())
    except Exception as error:  # noqa: BLE001 - model libraries raise anything
        return failed(request.id, error, request.text if isinstance(request, Synthesise) else "")


def failed(request_id: int, error: Exception, text: str = "") -> Failed:
    """The answer that tells of ``error``; what is not raised on purpose leaves its traceback in the log.

    The server logs both, and no log is to hold what somebody had spoken: ``text`` is left out.
    """
    message = str(error)
    if not isinstance(error, RhapsodeError):
        message = f"{type(error).__name__}: {error}"
        if len(text) >= _TELLING_CHARS:
            message = message.replace(text, "…")
        print("Traceback:", *traceback.format_tb(error.__traceback__), message, sep="\n", file=sys.stderr)  # noqa: T201
    return Failed(request_id, message.encode("utf-8", "replace").decode())


def start_engine(request: Start) -> Engine:
    """Lower the priority, then import and construct the engine.

    Raises:
        EngineError: It cannot be had.
    """
    if request.nice:
        os.nice(request.nice)
    options = EngineOptions(
        threads=request.threads,
        voices_dir=Path(request.voices_dir),
        model_cache=Path(request.model_cache),
        device=request.device,
        clips_dir=Path(request.clips_dir) if request.clips_dir else None,
    )
    return engine_class(request.engine)(options)


def serve(connection: Connection) -> None:
    """Answer requests until the parent says stop or is gone."""
    first = connection.receive()
    if not isinstance(first, Start):
        return
    threading.Thread(target=connection.beat, args=(first.heartbeat_s,), daemon=True).start()
    try:
        engine = start_engine(first)
    except Exception as error:  # noqa: BLE001 - importing a model library can raise anything
        connection.send(failed(first.id, error))
        return
    connection.send(Ready(first.id))
    with ThreadPoolExecutor(_STORERS, "store") as storers:
        while (request := connection.receive()) is not None:
            match request:
                case Stop() | Start():
                    return
                case _:
                    connection.busy = True
                    reply = answer(engine, request)
                    connection.busy = False
                    connection.send(reply)
            if isinstance(request, Synthesise) and request.store and isinstance(reply, Rendered):
                storers.submit(store, connection, reply, first.takes_dir)


def store(connection: Connection, rendered: Rendered, takes_dir: str | None) -> None:
    """Store a take among those of the server, and say whether that was done. Why not, the server finds out when it tries."""
    try:
        if takes_dir is None:
            raise EngineError("there is no folder of takes")
        put(fanned(Path(takes_dir), rendered.take.digest), rendered.data, "worker.written")
    except Exception as error:  # noqa: BLE001 - the server is waiting to hear of it
        print(f"A take could not be stored: {error}", file=sys.stderr)  # noqa: T201
        connection.send(Stored(rendered.id, done=False))
    else:
        connection.send(Stored(rendered.id, done=True))


def main() -> None:
    """Entry point of the process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    fd = int(sys.argv[1])
    os.set_inheritable(fd, False)
    with contextlib.suppress(ProtocolError, ConnectionError):
        serve(Connection(socket.socket(fileno=fd)))
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)  # model libraries crash or hang in their own exit handlers


if __name__ == "__main__":
    main()
