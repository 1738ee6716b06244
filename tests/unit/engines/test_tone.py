"""The tone engine itself: other tests lean on it."""

from pathlib import Path

import numpy as np
import pytest

from rhapsode.audio.trim import trim_silence
from rhapsode.engines.base import EngineOptions, Speech, Utterance
from rhapsode.engines.tone import CHAR_SAMPLES, ToneEngine, expected_samples
from rhapsode.errors import EngineError, NotFound


def speak(text: str, voice: str = "tone-chars", seed: int = 1, temperature: float = 0.8) -> Speech:
    engine = ToneEngine(EngineOptions(1, Path("no-such-folder"), Path("no-such-folder")))
    return engine.synthesise(Utterance(text, voice, seed, {"temperature": temperature}, "en", 0.25))


@pytest.mark.parametrize("voice", ["tone", "tone-chars", "tone-slow", "tone-24k"])
@pytest.mark.parametrize("text", ["x", "Two words.", "One line.\nAnd another.\nThird!"])
def test_lengths_are_as_predicted_and_nothing_can_be_trimmed(voice: str, text: str) -> None:
    speech = speak(text, voice)
    assert speech.samples.size == expected_samples(text, voice, 0.25)
    assert speech.samples.dtype == np.float32
    assert speech.rate == (24_000 if voice == "tone-24k" else 22_050)
    assert trim_silence(speech.samples, speech.rate)[0].size == speech.samples.size


@pytest.mark.parametrize("voice", ["tone", "tone-chars"])
def test_the_sound_depends_on_everything_that_it_should_and_on_nothing_else(voice: str) -> None:
    variants = [speak("Ab", voice), speak("Ac", voice), speak("Ab", voice, seed=2), speak("Ab", voice, temperature=0.1)]
    assert len({v.samples.tobytes() for v in variants}) == 4
    assert speak("Ab", voice).samples.tobytes() == variants[0].samples.tobytes()


def test_a_thousand_texts_sound_different() -> None:
    assert len({speak(f"Segment {n}.", "tone").samples.tobytes() for n in range(1000)}) == 1000


def test_words_lie_where_their_characters_sound() -> None:
    speech = speak("One two.\nThree")
    assert [(w.text, w.start // CHAR_SAMPLES) for w in speech.words[:2]] == [("One", 0), ("two.", 4)]
    assert speech.words[-1].end == speech.samples.size
    gap = speech.samples[speech.words[1].end : speech.words[2].start]
    assert gap.size == round(0.25 * speech.rate)
    assert not gap.any()


def test_it_goes_wrong_when_told_to() -> None:
    with pytest.raises(EngineError):
        speak("Please !raise!")
    with pytest.raises(NotFound, match=r"nobody.*tone-24k"):
        speak("Hello.", "nobody")
    assert not speak("!empty!").samples.size
    assert np.isnan(speak("!nan!").samples).all()


def test_counted_words_act_on_the_first_attempts_across_processes(tmp_path: Path) -> None:
    def attempt(text: str) -> Speech:
        return ToneEngine(EngineOptions(1, tmp_path, tmp_path)).synthesise(Utterance(text, "tone", 1, {}, "en", 0.0))

    for _ in range(2):
        with pytest.raises(EngineError):
            attempt("!flaky-2! one")
    with pytest.raises(EngineError):
        attempt("!flaky-2! another")
    assert attempt("!flaky-2! one").samples.size
