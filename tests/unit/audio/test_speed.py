import numpy as np
import pytest

from rhapsode.audio.speed import stretch

RATE = 22_050
FACTORS = [0.25, 0.4, 0.5, 0.8, 0.97, 1.03, 1.3, 2.0, 2.7, 4.0]


def tone(seconds: float, hz: float = 440) -> np.ndarray:
    return (0.5 * np.sin(2 * np.pi * hz * np.arange(round(seconds * RATE)) / RATE)).astype(np.float32)


def pitch(samples: np.ndarray) -> float:
    return float(np.abs(np.fft.rfft(samples * np.hanning(samples.size), 1 << 18)).argmax() * RATE / (1 << 18))


@pytest.mark.parametrize("factor", FACTORS)
def test_the_length_is_exact_and_the_pitch_stays(factor: float) -> None:
    out = stretch(tone(2), RATE, factor)
    assert out.dtype == np.float32
    assert out.size == round(2 * RATE / factor)
    assert pitch(out) == pytest.approx(440, rel=0.005)


@pytest.mark.parametrize("factor", FACTORS)
def test_sound_keeps_its_place_in_time(factor: float) -> None:
    """Four bursts of one tone: each, the last one too, is as long as it should be and lies where it should."""
    burst = np.concatenate(
        (np.zeros(round(0.1 * RATE), np.float32), tone(0.3), np.zeros(round(0.1 * RATE), np.float32))
    )
    out = stretch(np.tile(burst, 4), RATE, factor)
    for number, part in enumerate(np.array_split(out, 4)):
        power = np.square(part, dtype=np.float64)
        centre = float((power * np.arange(part.size)).sum() / power.sum() / RATE)
        duration = power.sum() / RATE / (0.5**2 / 2)
        assert centre == pytest.approx(0.25 / factor, abs=0.02 / min(factor, 1)), number
        assert duration == pytest.approx(0.3 / factor, abs=0.03 / min(factor, 1)), number


@pytest.mark.parametrize("factor", FACTORS[:-1])
def test_the_end_of_a_word_is_not_swallowed(factor: float) -> None:
    sound = np.flatnonzero(np.abs(stretch(tone(1), RATE, factor)) > 0.1)[-1]
    assert sound / RATE > (1 - 0.008) / factor


@pytest.mark.parametrize("factor", [0.25, 0.7, 1.6, 4.0])
def test_it_is_deterministic(factor: float) -> None:
    assert np.array_equal(stretch(tone(1), RATE, factor), stretch(tone(1), RATE, factor))


def test_factor_one_returns_the_input_itself() -> None:
    samples = tone(0.5)
    assert stretch(samples, RATE, 1.0) is samples


@pytest.mark.parametrize("factor", [0.25, 4.0])
@pytest.mark.parametrize("n", [0, 1, 2, 100])
def test_tiny_takes_do_not_fail(n: int, factor: float) -> None:
    out = stretch(np.full(n, 0.1, np.float32), RATE, factor)
    assert out.size == (max(1, round(n / factor)) if n else 0)


@pytest.mark.parametrize("factor", [0.0, 0.2, 4.1, -1.0, float("nan")])
def test_other_factors_are_refused(factor: float) -> None:
    with pytest.raises(ValueError, match=r"0\.25 … 4\.0"):
        stretch(tone(0.1), RATE, factor)


@pytest.mark.parametrize("rate", [8000, 16_000, 24_000, 48_000])
def test_any_usual_rate_will_do(rate: int) -> None:
    samples = (0.5 * np.sin(2 * np.pi * 440 * np.arange(rate) / rate)).astype(np.float32)
    out = stretch(samples, rate, 1.5)
    crossings = np.count_nonzero(np.diff(np.signbit(out[rate // 20 : -rate // 20])))
    assert crossings / 2 / (out.size / rate - 0.1) == pytest.approx(440, rel=0.02)
