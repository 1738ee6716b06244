"""Steers ``shim.c`` inside a running server: which of its writes fails and how, and what its clock says."""

import mmap
import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

KILL = 0
"""Instead of an errno: the process ends there, as by ``kill -9``."""

_WORD = 8
_CALLS, _COUNTDOWN, _ERROR, _LASTING, _FIRED, _CLOCK = range(6)


def build_shim(folder: Path) -> Path:
    """Compile the library; skips the test where there is no C compiler."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.skip("no C compiler: disks that fail cannot be tried here")
    library = folder / "shim.so"
    source = Path(__file__).with_name("shim.c")
    subprocess.run([compiler, "-shared", "-fPIC", "-O2", "-Wall", "-Werror", "-o", library, source, "-ldl"], check=True)
    return library


class Shim:
    """The steering of one server, across its starts.

    Args:
        library: From :func:`build_shim`.
        control: A file to be made for it.
        below: Writes below this folder count.
        fresh: Make the file; else it is another process's, too.
    """

    def __init__(self, library: Path, control: Path, below: Path, *, fresh: bool = True) -> None:
        if fresh:
            control.write_bytes(bytes(mmap.PAGESIZE))
        with control.open("r+b") as file:
            self._map = mmap.mmap(file.fileno(), 0)
        self.env: Mapping[str, str] = {
            "LD_PRELOAD": str(library),
            "FAULTS_CONTROL": str(control),
            "FAULTS_FOLDER": str(below),
        }

    def fail(self, nth: int, error: int, *, lasting: bool = False) -> None:
        """Let the ``nth`` write from now on fail with this errno (or :data:`KILL`), and all behind it when ``lasting``."""
        self._set(_COUNTDOWN, 0)
        self._set(_FIRED, 0)
        self._set(_ERROR, error)
        self._set(_LASTING, lasting)
        self._set(_COUNTDOWN, nth)

    def mend(self) -> int:
        """Let no further write fail; how many did."""
        self._set(_COUNTDOWN, 0)
        return self._get(_FIRED)

    @property
    def fired(self) -> int:
        """How many writes have failed since :meth:`fail`."""
        return self._get(_FIRED)

    @property
    def calls(self) -> int:
        """Writes so far: write, sync, truncate and rename each count one."""
        return self._get(_CALLS)

    def set_clock(self, ahead_s: int) -> None:
        """Let the wall clock be so far ahead of the true one."""
        self._set(_CLOCK, ahead_s)

    def _get(self, word: int) -> int:
        return int.from_bytes(self._map[word * _WORD : (word + 1) * _WORD], "little", signed=True)

    def _set(self, word: int, value: int) -> None:
        self._map[word * _WORD : (word + 1) * _WORD] = value.to_bytes(_WORD, "little", signed=True)


def with_shim(shim: Shim | None) -> dict[str, str]:
    """The environment of a server."""
    return dict(os.environ) | (dict(shim.env) if shim else {})
