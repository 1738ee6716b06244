"""Is it the same voice? A clone against its recording, by speaker embeddings; needs real weights, which come in no package.

Run where they are:  RHAPSODE_REAL_MODELS=<paths.model_cache> .venv/bin/pytest tests/e2e/test_speaker.py
In the engine's interpreter (.venv-engines/engines/pocket) resemblyzer must be installed.
"""

import os
import subprocess
from pathlib import Path

import pytest

from rhapsode.audio.clip import make_clip
from rhapsode.audio.probe import read_sound
from rhapsode.audio.wav import wav_bytes
from rhapsode.engines.base import EngineOptions, Utterance
from rhapsode.engines.piper import PiperEngine
from tests.hosted import POCKET, Host

MODELS = os.environ.get("RHAPSODE_REAL_MODELS")
SAME, DIFFERENT = 0.85, 0.73
"""Similarity of one speaker, at least, and of two, at most."""
TEXT = "The library was quiet in the morning, and the light came through the tall windows."
COMPARE = """
import sys
from resemblyzer import VoiceEncoder, preprocess_wav
encoder = VoiceEncoder(verbose=False)
one, other = (encoder.embed_utterance(preprocess_wav(path)) for path in sys.argv[1:])
print(float(one @ other))
"""

pytestmark = pytest.mark.skipif(
    MODELS is None,
    reason="needs real weights: set RHAPSODE_REAL_MODELS to a model cache that holds those of Pocket TTS",
)


def similarity(one: Path, other: Path) -> float:
    done = subprocess.run(
        [POCKET / "bin" / "python", "-c", COMPARE, one, other], check=True, stdout=subprocess.PIPE, text=True
    )
    return float(done.stdout.split()[-1])


def test_a_clone_is_the_speaker_of_its_recording_and_no_other(tmp_path: Path) -> None:
    assert MODELS is not None
    options = EngineOptions(1, tmp_path / "voices", tmp_path / "cache")
    joe = PiperEngine(options).synthesise(Utterance(f"{TEXT} {TEXT}", "en_US-joe-medium", 1, {}, "en", 0.2))
    recording = tmp_path / "joe.wav"
    recording.write_bytes(wav_bytes(joe.samples, joe.rate))
    host = Host(POCKET / "bin" / "python", "rhapsode.engines.pocket:PocketEngine")
    try:
        pocket = host.engine(EngineOptions(1, tmp_path / "voices", Path(MODELS), clips_dir=tmp_path))
        clip = tmp_path / "clip.wav"
        clip.write_bytes(make_clip(read_sound(recording, 60.0)))
        cloned = pocket.synthesise(Utterance(TEXT, "joe", 1, {}, "en", 0.2, clip))
        foreign = pocket.synthesise(Utterance(TEXT, "alba", 1, {}, "en", 0.2))
    finally:
        host.close()
    for name, speech in (("cloned", cloned), ("foreign", foreign)):
        (tmp_path / f"{name}.wav").write_bytes(wav_bytes(speech.samples, speech.rate))
    assert similarity(recording, tmp_path / "cloned.wav") >= SAME
    assert similarity(recording, tmp_path / "foreign.wav") <= DIFFERENT
