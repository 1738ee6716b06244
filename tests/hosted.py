"""An engine in its own interpreter, for tests: the engine contract over a pipe.

python -m tests.hosted MODULE:CLASS     # what the parent starts; speaks pickle on standard input and output
"""

import importlib
import os
import pickle
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rhapsode.engines.base import EngineInfo, EngineOptions, Speech, Utterance
from rhapsode.model import Voice

ROOT = Path(__file__).resolve().parents[1]


class HostedEngine:
    """Implements :class:`rhapsode.engines.base.Engine` by asking a process that holds the real one."""

    def __init__(self, python: Path, path: str, options: EngineOptions) -> None:
        # not for a user's machine: tests must not reach the hub
        env = os.environ | {"HF_HUB_OFFLINE": "1"}
        self._process = subprocess.Popen(
            [python, "-m", "tests.hosted", path], cwd=ROOT, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        self._ask("start", options)

    def _ask(self, what: str, *arguments: Any) -> Any:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        pickle.dump((what, arguments), self._process.stdin)
        self._process.stdin.flush()
        answer, error = pickle.load(self._process.stdout)
        if error is not None:
            raise error
        return answer

    def close(self) -> None:
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()
        self._process.wait(10)

    @property
    def info(self) -> EngineInfo:
        info: EngineInfo = self._ask("info")
        return info

    def voices(self) -> Sequence[Voice]:
        voices: Sequence[Voice] = self._ask("voices")
        return voices

    def load(self, voice: str) -> None:
        self._ask("load", voice)

    def synthesise(self, utterance: Utterance) -> Speech:
        speech: Speech = self._ask("synthesise", utterance)
        return speech


def serve(path: str) -> None:
    """Answer until the parent closes the pipe."""
    replies = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what libraries print is no answer
    module, name = path.split(":")
    engine: Any = None
    while True:
        try:
            what, arguments = pickle.load(sys.stdin.buffer)
        except EOFError:
            return
        answer, problem = None, None
        try:
            if what == "start":
                engine = getattr(importlib.import_module(module), name)(*arguments)
            else:
                answer = engine.info if what == "info" else getattr(engine, what)(*arguments)
        except Exception as error:  # noqa: BLE001 - the parent raises it
            problem = error
        pickle.dump((answer, problem), replies)
        replies.flush()


if __name__ == "__main__":
    serve(sys.argv[1])
