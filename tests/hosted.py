"""Engines in an interpreter of their own, for tests: the engine contract over a pipe.

python -m tests.hosted MODULE:CLASS     # what the parent starts; speaks pickle on standard input and output
"""

import importlib
import json
import os
import pickle
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rhapsode import environment
from rhapsode.engines.base import EngineInfo, EngineOptions, Speech, Utterance
from rhapsode.model import Voice

ROOT = Path(__file__).resolve().parents[1]
POCKET = ROOT / ".venv-engines" / "engines" / "pocket"
"""Made by ``scripts/setup.py test`` through ``rhapsode engines install pocket``."""
SMALL_MODELS = ROOT / ".venv-engines" / "models"
"""A model cache with a Pocket TTS of random weights (see ``tests/pocket_model.py``). To be copied, not written to."""
OFFLINE = {"HF_HUB_OFFLINE": "1"}
"""Tests do not ask the hub."""


def fake_environment(data_dir: Path, name: str, stamp: object = None) -> Path:
    """An environment that looks as if ``rhapsode engines install`` had made it; its interpreter, which is none."""
    python = data_dir / environment.FOLDER / name / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.touch()
    wanted = environment._stamp(name) if stamp is None else stamp
    (data_dir / environment.FOLDER / name / "rhapsode-engine.json").write_text(json.dumps(wanted))
    return python


class Host:
    """A process that holds engines of one class; they are asked one after another."""

    def __init__(self, python: Path, path: str) -> None:
        self._lock = threading.Lock()
        self._process = subprocess.Popen(
            [python, "-m", "tests.hosted", path],
            cwd=ROOT, env=os.environ | OFFLINE, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )  # fmt: skip

    def ask(self, engine: int, what: str, *arguments: Any) -> Any:
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None
        assert stdout is not None
        with self._lock:
            pickle.dump((engine, what, arguments), stdin)
            stdin.flush()
            answer, error = pickle.load(stdout)
        if error is not None:
            raise error
        return answer

    def engine(self, options: EngineOptions) -> "HostedEngine":
        return HostedEngine(self, self.ask(0, "new", options))

    def close(self) -> None:
        self._process.communicate(timeout=30)


class HostedEngine:
    """Implements :class:`rhapsode.engines.base.Engine` by asking the real one."""

    def __init__(self, host: Host, number: int) -> None:
        self._host = host
        self._number = number

    @property
    def info(self) -> EngineInfo:
        info: EngineInfo = self._host.ask(self._number, "info")
        return info

    def voices(self) -> Sequence[Voice]:
        voices: Sequence[Voice] = self._host.ask(self._number, "voices")
        return voices

    def load(self, voice: str) -> None:
        self._host.ask(self._number, "load", voice)

    def synthesise(self, utterance: Utterance) -> Speech:
        speech: Speech = self._host.ask(self._number, "synthesise", utterance)
        return speech


def serve(path: str) -> None:
    """Answer until the parent closes the pipe."""
    replies = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what libraries print is no answer
    module, name = path.split(":")
    make = getattr(importlib.import_module(module), name)
    engines: list[Any] = []
    while True:
        try:
            number, what, arguments = pickle.load(sys.stdin.buffer)
        except EOFError:
            return
        answer, problem = None, None
        try:
            if what == "new":
                engines.append(make(*arguments))
                answer = len(engines) - 1
            else:
                found = getattr(engines[number], what)
                answer = found(*arguments) if callable(found) else found
        except Exception as error:  # noqa: BLE001 - the parent raises it
            problem = error
        pickle.dump((answer, problem), replies)
        replies.flush()


if __name__ == "__main__":
    serve(sys.argv[1])
