import numpy as np
import pytest

from rhapsode.audio.loudness import LoudnessMeter

RATE = 22_050


def tone(seconds: float, level: float = 0.1, rate: int = RATE) -> np.ndarray:
    return (level * np.sin(2 * np.pi * 997 * np.arange(round(seconds * rate)) / rate)).astype(np.float32)


def measured(*pieces: np.ndarray, rate: int = RATE) -> LoudnessMeter:
    meter = LoudnessMeter(rate)
    for piece in pieces:
        meter.add(piece)
    return meter


@pytest.mark.parametrize("rate", [16_000, 22_050, 24_000, 44_100, 48_000])
@pytest.mark.parametrize(("level", "lufs"), [(1.0, -3.01), (0.1, -23.01), (0.01, -43.01)])
def test_the_reference_tone_has_its_loudness(rate: int, level: float, lufs: float) -> None:
    """BS.1770: a 997 Hz sine of full scale in one channel reads −3.01 LUFS."""
    assert measured(tone(3, level, rate), rate=rate).integrated() == pytest.approx(lufs, abs=0.1)


def test_pauses_do_not_count() -> None:
    speech, pause = tone(3), np.zeros(4 * RATE, np.float32)
    assert measured(speech, pause, speech, pause).integrated() == pytest.approx(-23.0, abs=0.6)
    assert measured(speech, tone(3, 0.001)).integrated() == pytest.approx(-23.0, abs=0.6)


def test_it_does_not_matter_how_the_input_is_cut() -> None:
    samples = (0.1 * np.random.default_rng(0).standard_normal(5 * RATE)).astype(np.float32)
    assert measured(*np.array_split(samples, 61)).integrated() == measured(samples).integrated()


def test_more_sound_is_measured_as_it_comes() -> None:
    meter = measured(tone(2, 0.01))
    before = meter.integrated()
    meter.add(tone(2, 0.1))
    assert before == pytest.approx(-43, abs=0.1)
    assert meter.integrated() == pytest.approx(-23, abs=0.5)


@pytest.mark.parametrize("samples", [np.zeros(0, np.float32), np.zeros(3 * RATE, np.float32), tone(0.3), tone(2, 1e-5)])
def test_too_short_or_silent_has_no_loudness(samples: np.ndarray) -> None:
    assert measured(samples).integrated() is None


def test_the_peak_is_the_greatest_magnitude() -> None:
    assert measured(tone(0.1, 0.2), np.array([0.1, -0.75], np.float32), tone(0.1, 0.3)).peak == 0.75
    assert LoudnessMeter(RATE).peak == 0
