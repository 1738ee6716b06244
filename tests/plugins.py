"""The sample plug-in, as if it were installed: its folder on the path of this process and of the workers that it starts."""

import os
from pathlib import Path

import pytest

FOLDER = Path(__file__).parent / "plugin_sample"


def install(monkeypatch: pytest.MonkeyPatch) -> None:
    """Until the end of the test there is an engine ``chirp``."""
    before = os.environ.get("PYTHONPATH")
    monkeypatch.setenv("PYTHONPATH", f"{FOLDER}{os.pathsep}{before}" if before else str(FOLDER))
    monkeypatch.syspath_prepend(FOLDER)
