"""Models and voices come from the hub: resumed where they broke off, checked, into the model cache, and never asked for twice."""

import json
import os
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest

from rhapsode.engines.piper_download import download_voice, remove_voice, search
from rhapsode.errors import NotFound
from tests.fake_hub import Hub, serve
from tests.hosted import POCKET, ROOT
from tests.integration.test_engines_cli import rhapsode

VOICE = "en_GB-alba-medium"
ALBA = f"en/en_GB/alba/medium/{VOICE}.onnx"
MODEL = np.random.default_rng(1).bytes(25_000_000)
STALL = 12_000_000
"""The hub library writes 10 MB at once."""
CONFIG = b'{"audio": {}}'
COLLECTION = {f"rhasspy/piper-voices/{ALBA}": MODEL, f"rhasspy/piper-voices/{ALBA}.json": CONFIG}
ENGLISH = "languages/english"


def fetched(folder: Path, hub: Hub, *names: str, status: int = 0) -> tuple[str, str]:
    return rhapsode(folder, "voices", "install", *names, status=status, env=place(folder) | hub.env)


def place(folder: Path) -> dict[str, str]:
    return {"RHAPSODE_PATHS__MODEL_CACHE": str(folder / "cache"), "TQDM_POSITION": "-1"}  # as on a terminal


def test_a_download_that_was_killed_goes_on_where_it_was(tmp_path: Path) -> None:
    folder = tmp_path / "cache" / "piper-voices"
    with serve(Hub(COLLECTION, stall_after=STALL)) as hub:
        command = [str(ROOT / ".venv" / "bin" / "rhapsode"), "--data-dir", str(tmp_path), "voices", "install", VOICE]
        with subprocess.Popen(command, env=os.environ | place(tmp_path) | hub.env, stderr=subprocess.DEVNULL) as first:
            deadline = time.monotonic() + 60
            while not (have := sum(path.stat().st_size for path in folder.glob(".fetching/*"))):
                assert time.monotonic() < deadline
                assert first.poll() is None
                time.sleep(0.05)
            first.kill()
        have = sum(path.stat().st_size for path in folder.glob(".fetching/*"))  # it went on until it was dead
        assert have < len(MODEL)
        assert not (folder / ALBA).exists()
        hub.stall_after = None
        path, shown = fetched(tmp_path, hub, VOICE)
        assert hub.gets[-1] == (f"{VOICE}.onnx", f"bytes={have}-")
        assert "100%" in shown, "progress"
        assert path.strip() == str(folder / ALBA)
        assert (folder / ALBA).read_bytes() == MODEL
        assert (folder / f"{ALBA}.json").read_bytes() == CONFIG
        asked = len(hub.gets)
        assert fetched(tmp_path, hub, VOICE)[0] == path
        assert len(hub.gets) == asked, "what is there needs no hub"


def test_voices_are_searched_installed_and_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    catalogue = {
        name: {
            "language": {"code": code, "name_english": language, "country_english": country},
            "quality": name.rpartition("-")[2],
            "num_speakers": 1,
            "files": {file: {"size_bytes": 5_000_000}, f"{file}.json": {"size_bytes": 1_000}},
        }
        for name, code, language, country, file in (
            (VOICE, "en_GB", "English", "Great Britain", ALBA),
            ("de_DE-eva_k-x_low", "de_DE", "German", "Germany", "de/de_DE/eva_k/x_low/de_DE-eva_k-x_low.onnx"),
        )
    }
    files = {f"rhasspy/piper-voices/{ALBA}": b"a model", f"rhasspy/piper-voices/{ALBA}.json": CONFIG}
    files["rhasspy/piper-voices/voices.json"] = json.dumps(catalogue).encode()

    cache = tmp_path / "cache"

    def found(*words: str) -> dict[str, bool]:
        return {offer.name: offer.installed for offer in search(words, cache)}

    with serve(Hub(files)) as hub:
        # what HF_ENDPOINT does for a process that starts
        template = hub.address + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr("huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE", template)
        assert found("english", "BRITAIN") == {VOICE: False}
        download_voice(VOICE, cache)
        assert found() == {VOICE: True, "de_DE-eva_k-x_low": False}
        asked = len(hub.gets)
        assert "5.0 MB" in rhapsode(tmp_path, "voices", "search", "german", env=place(tmp_path) | hub.env)[0]
        assert len(hub.gets) == asked, "the list is kept"
    remove_voice(VOICE, cache)
    assert found("alba") == {VOICE: False}
    with pytest.raises(NotFound, match="was not fetched from the hub; those that were: none"):
        remove_voice(VOICE, cache)


def test_what_arrives_damaged_is_refused_and_fetched_anew(tmp_path: Path) -> None:
    hub_files = {
        "onnx-community/Kokoro-82M-v1.0-ONNX/onnx/model_quantized.onnx": b"a model",
        "onnx-community/Kokoro-82M-v1.0-ONNX/voices/af_heart.bin": b"a" * 2000,
        "onnx-community/Kokoro-82M-v1.0-ONNX/voices/bf_emma.bin": b"b" * 2000,
        "onnx-community/Kokoro-82M-v1.0-ONNX/README.md": b"read me",
    }
    folder = tmp_path / "cache" / "kokoro"
    with serve(Hub(hub_files, damaged=True)) as hub:
        _, said = fetched(tmp_path, hub, "kokoro", status=1)
        assert "voices/af_heart.bin arrived damaged" in said
        assert not list(folder.rglob("*.bin"))
        hub.damaged = False
        fetched(tmp_path, hub, "kokoro")
    assert {path.name for path in folder.rglob("*.*") if ".fetching" not in path.parts} == {
        "af_heart.bin",
        "bf_emma.bin",
        "model_quantized.onnx",
    }


def test_the_model_that_clones_is_fetched_once_its_terms_are_accepted(tmp_path: Path) -> None:
    files = {
        f"kyutai/pocket-tts/{ENGLISH}/model.safetensors": b"it clones",
        f"kyutai/pocket-tts-without-voice-cloning/{ENGLISH}/model.safetensors": b"it does not",
        f"kyutai/pocket-tts-without-voice-cloning/{ENGLISH}/tokenizer.json": b"{}",
    }
    (tmp_path / "engines").mkdir()
    (tmp_path / "engines" / "pocket").symlink_to(POCKET)
    with serve(Hub(files, closed=frozenset({"kyutai/pocket-tts"}))) as hub:
        install = ("engines", "install", "pocket")
        out, said = rhapsode(tmp_path, *install, env=place(tmp_path) | hub.env)
        assert "the model of en is here; it does not clone voices" in out
        assert f"accept its terms at {hub.address}/kyutai/pocket-tts" in said
        hub.closed = frozenset()
        both = ("--model", "en", "--model", "de")
        out, said = rhapsode(tmp_path, *install, *both, status=1, env=place(tmp_path) | hub.env)
        assert "the model of en is here; it clones voices" in out
        assert "the model of de that clones voices could not be fetched" in said
        assert "run this again to go on" in said
    for name in files:
        assert (tmp_path / "cache" / name.removeprefix("kyutai/")).is_file()
