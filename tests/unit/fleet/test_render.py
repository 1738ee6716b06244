"""What the worker makes of an engine's speech: checked, trimmed, at the wanted speed, with its words in the right place."""

from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from rhapsode.audio.wav import read_wav
from rhapsode.engines.base import Determinism, EngineInfo, Speech, Utterance
from rhapsode.errors import EngineError
from rhapsode.fleet.protocol import Failed, Load, Rendered, Synthesise
from rhapsode.fleet.worker import answer, move_words, render
from rhapsode.model import Voice, WordTiming

RATE = 16_000


class Parrot:
    """An engine that gives what it was made with, or raises it."""

    def __init__(self, speech: Speech | Exception) -> None:
        self._speech = speech
        self.spoken: list[Utterance] = []

    @property
    def info(self) -> EngineInfo:
        return EngineInfo("parrot", "1", Determinism.EXACT, 300, False)

    def voices(self) -> Sequence[Voice]:
        return []

    def load(self, voice: str) -> None:
        pass

    def synthesise(self, utterance: Utterance) -> Speech:
        self.spoken.append(utterance)
        if isinstance(self._speech, Exception):
            raise self._speech
        return self._speech


def request(speed: float = 1.0) -> Synthesise:
    return Synthesise(5, "Some text.", "any", 3, {"speed_factor": speed}, "en", 0.2)


def tone(seconds: float) -> NDArray[np.float32]:
    return (0.5 * np.sin(2 * np.pi * 200 * np.arange(round(seconds * RATE)) / RATE)).astype(np.float32)


def silence(seconds: float) -> NDArray[np.float32]:
    return np.zeros(round(seconds * RATE), np.float32)


def test_silence_is_cut_and_the_words_move_with_it() -> None:
    samples = np.concatenate([silence(1), tone(1), silence(1)])
    take, data = render(Parrot(Speech(samples, RATE, (WordTiming("Some", RATE, 2 * RATE),))), request())
    assert RATE <= take.samples < 1.1 * RATE
    [word] = take.words
    assert 0 < word.start < 0.05 * RATE
    assert word.end - word.start == RATE
    cut, _ = read_wav(data)
    assert np.abs(cut[word.start + 10 : word.start + 200]).max() > 0.4
    assert np.abs(cut[: word.start]).max(initial=0) < 1e-3


@pytest.mark.parametrize(
    ("wanted", "done", "left"), [(2.0, 1.0, 2.0), (2.0, 1.6, 1.25), (0.5, 0.61, 0.5 / 0.61), (1.0, 1.0, 1.0)]
)
def test_only_the_missing_speed_is_made_up_for(wanted: float, done: float, left: float) -> None:
    take, _ = render(Parrot(Speech(tone(2), RATE, (WordTiming("x", 0, 2 * RATE),), done)), request(wanted))
    assert take.samples == pytest.approx(2 * RATE / left, abs=1)
    assert take.words[0].end == take.samples


def test_words_never_leave_the_take() -> None:
    words = (WordTiming("early", 0, 50), WordTiming("late", 150, 300))
    assert move_words(words, cut=100, before=100, after=50) == (WordTiming("early", 0, 0), WordTiming("late", 25, 50))


@pytest.mark.parametrize(
    ("samples", "message"),
    [
        (np.zeros(0, np.float32), "no audio"),
        (silence(1), "only silence"),
        (np.full(100, np.inf, np.float32), "not finite"),
        (tone(1).reshape(1, -1), "shape"),
        (tone(1).astype(np.float64), "float64"),
        (tone(60), "more than"),
    ],
)
def test_unusable_audio_is_refused(samples: NDArray[np.float32], message: str) -> None:
    with pytest.raises(EngineError, match=message):
        render(Parrot(Speech(samples, RATE)), request())


def test_whatever_an_engine_raises_is_answered(capsys: pytest.CaptureFixture[str]) -> None:
    assert answer(Parrot(EngineError("clear words")), request()) == Failed(5, "clear words")
    assert "Traceback" not in capsys.readouterr().err
    assert answer(Parrot(ZeroDivisionError("oh")), request()) == Failed(5, "ZeroDivisionError: oh")
    assert "Traceback" in capsys.readouterr().err
    assert answer(Parrot(EngineError("half \ud800")), request()) == Failed(5, "half ?")


def test_the_engine_gets_the_segment_as_it_was_sent() -> None:
    parrot = Parrot(Speech(tone(1), RATE))
    assert isinstance(answer(parrot, request(1.0)), Rendered)
    assert parrot.spoken == [Utterance("Some text.", "any", 3, {"speed_factor": 1.0}, "en", 0.2)]
    assert not isinstance(answer(parrot, Load(1, "any")), Failed)
