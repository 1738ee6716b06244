"""The copy that voices are cloned from."""

import numpy as np
import pytest

from rhapsode.audio.clip import RATE, make_clip
from rhapsode.audio.loudness import LoudnessMeter
from rhapsode.audio.wav import read_wav
from rhapsode.errors import InvalidInput


def tone(seconds: float, level: float) -> np.ndarray:
    return (level * np.sin(2 * np.pi * 220 * np.arange(round(seconds * RATE)) / RATE)).astype(np.float32)


def loudness(samples: np.ndarray) -> float:
    meter = LoudnessMeter(RATE)
    meter.add(samples)
    measured = meter.integrated()
    assert measured is not None
    return measured


@pytest.mark.parametrize("level", [0.01, 0.2, 1.0])
def test_recordings_of_any_level_come_out_at_one(level: float) -> None:
    clip, rate = read_wav(make_clip(tone(3, level)))
    assert rate == RATE
    assert loudness(clip) == pytest.approx(-23, abs=0.2)


def test_silence_around_it_is_cut_and_inside_it_stays() -> None:
    quiet = np.zeros(RATE, np.float32)
    clip, _ = read_wav(make_clip(np.concatenate([quiet, tone(1, 0.3), quiet, tone(1, 0.3), quiet])))
    assert clip.size / RATE == pytest.approx(3, abs=0.1)


def test_a_short_click_in_a_loud_place_does_not_clip() -> None:
    samples = tone(2, 0.005)
    samples[RATE : RATE + 24] = 1.0
    clip, _ = read_wav(make_clip(samples))
    assert np.abs(clip).max() <= 10 ** (-1 / 20) + 1e-4


def test_too_little_sound_is_refused_with_how_much_is_needed() -> None:
    with pytest.raises(InvalidInput, match=r"0\.3.* s of sound in it; 0\.5 s are needed"):
        make_clip(np.concatenate([np.zeros(RATE, np.float32), tone(0.3, 0.3), np.zeros(RATE, np.float32)]))
    with pytest.raises(InvalidInput, match=r"0\.00 s"):
        make_clip(np.zeros(RATE, np.float32))


def test_the_same_sound_gives_the_same_bytes() -> None:
    assert make_clip(tone(1, 0.3)) == make_clip(tone(1, 0.3))
