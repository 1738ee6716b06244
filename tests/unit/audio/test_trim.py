import numpy as np
import pytest

from rhapsode.audio.trim import trim_silence

RATE = 22_050


def tone(seconds: float, level: float = 0.3) -> np.ndarray:
    return (level * np.sin(2 * np.pi * 200 * np.arange(round(seconds * RATE)) / RATE)).astype(np.float32)


def noise(seconds: float, rms: float) -> np.ndarray:
    return (rms * np.random.default_rng(1).standard_normal(round(seconds * RATE))).astype(np.float32)


def silence(seconds: float) -> np.ndarray:
    return np.zeros(round(seconds * RATE), np.float32)


def test_silence_goes_and_a_short_margin_stays() -> None:
    rest, cut = trim_silence(np.concatenate((silence(0.3), tone(1), silence(0.5))), RATE)
    assert cut / RATE == pytest.approx(0.3 - 0.015, abs=0.006)
    assert rest.size / RATE == pytest.approx(0.015 + 1 + 0.040, abs=0.012)


def test_nothing_else_is_changed() -> None:
    samples = np.concatenate((silence(0.3), tone(1), silence(0.5)))
    rest, cut = trim_silence(samples, RATE)
    assert np.array_equal(rest, samples[cut : cut + rest.size])


@pytest.mark.parametrize("floor_db", [-90, -70, -64])
def test_the_hiss_of_an_engine_is_silence(floor_db: int) -> None:
    hiss = noise(0.4, 10 ** (floor_db / 20))
    rest, _ = trim_silence(np.concatenate((hiss, tone(1), hiss)), RATE)
    assert rest.size / RATE < 1.08


def test_soft_fricatives_at_both_ends_stay() -> None:
    fricative = noise(0.12, 0.3 * 10 ** (-35 / 20))
    rest, cut = trim_silence(np.concatenate((silence(0.2), fricative, tone(0.5), fricative, silence(0.2))), RATE)
    assert cut <= 0.2 * RATE
    assert cut + rest.size >= (0.2 + 0.12 + 0.5 + 0.12) * RATE


def test_a_quiet_take_is_no_silence() -> None:
    rest, _ = trim_silence(np.concatenate((silence(0.2), tone(0.5, 0.005), silence(0.2))), RATE)
    assert rest.size > 0.5 * RATE


def test_pauses_inside_stay() -> None:
    samples = np.concatenate((tone(0.3), silence(1), tone(0.3)))
    assert np.array_equal(trim_silence(samples, RATE)[0], samples)


@pytest.mark.parametrize("samples", [silence(0), silence(0.001), silence(1), noise(1, 0.0002)])
def test_of_silence_nothing_is_left(samples: np.ndarray) -> None:
    rest, cut = trim_silence(samples, RATE)
    assert rest.size == 0
    assert cut == 0


@pytest.mark.parametrize("n", [1, 7, 109, 110, 111, 5000])
def test_speech_without_silence_is_left_whole(n: int) -> None:
    samples = np.full(n, 0.5, np.float32)
    assert np.array_equal(trim_silence(samples, RATE)[0], samples)
