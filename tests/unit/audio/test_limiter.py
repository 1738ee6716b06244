import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rhapsode.audio.limiter import Limiter, decibels

RATE = 22_050
CEILING = decibels(-1)


def limited(pieces: list[np.ndarray], rate: int = RATE) -> np.ndarray:
    limiter = Limiter(rate, CEILING)
    return np.concatenate([*(limiter.process(piece) for piece in pieces), limiter.finish()])


def loud_speech(seconds: float, seed: int = 0) -> np.ndarray:
    n = round(seconds * RATE)
    envelope = 0.5 + np.sin(np.arange(n) / RATE * 7)
    return (0.4 * envelope * np.random.default_rng(seed).standard_normal(n)).astype(np.float32)


@given(st.lists(st.integers(0, 3 * RATE), max_size=40), st.integers(0, 3))
@settings(max_examples=40, deadline=None)
def test_it_does_not_matter_how_the_input_is_cut(cuts: list[int], seed: int) -> None:
    samples = loud_speech(3, seed)
    assert np.array_equal(limited(np.split(samples, sorted(cuts))), limited([samples]))


def test_it_works_sample_by_sample() -> None:
    samples = loud_speech(0.05)
    assert np.array_equal(limited([samples[i : i + 1] for i in range(samples.size)]), limited([samples]))


@pytest.mark.parametrize("rate", [8000, 16_000, 22_050, 24_000, 44_100, 48_000])
def test_nothing_gets_above_the_ceiling(rate: int) -> None:
    samples = np.concatenate((loud_speech(2) * 3, np.array([1e4, -1e4], np.float32), loud_speech(0.2)))
    out = limited([samples], rate)
    assert out.size == samples.size
    assert np.abs(out).max() <= np.float32(CEILING)
    assert np.abs(out).max() > 0.99 * CEILING


def test_what_no_peak_is_near_passes_bit_for_bit() -> None:
    quiet = loud_speech(2)
    quiet *= 0.5 * CEILING / np.abs(quiet).max()
    assert np.array_equal(limited([quiet]), quiet)
    peak = quiet.copy()
    peak[RATE] = 1.5
    out = limited([peak])
    changed = np.flatnonzero(out != peak)
    assert RATE - 0.006 * RATE <= changed[0] <= RATE <= changed[-1] <= RATE + 0.06 * RATE


def test_the_gain_moves_smoothly() -> None:
    samples = np.full(RATE, 0.5, np.float32)
    samples[RATE // 2] = 1.0
    gain = limited([samples]) / samples
    assert gain.min() == pytest.approx(CEILING, abs=1e-4)
    assert np.abs(np.diff(gain)).max() < 0.01


def test_a_loud_low_tone_is_turned_down_and_not_bent() -> None:
    tone = (1.1 * np.sin(2 * np.pi * 60 * np.arange(2 * RATE) / RATE)).astype(np.float32)
    steady = limited([tone])[RATE // 2 : -RATE // 2]
    ratio = steady / tone[RATE // 2 : -RATE // 2]
    assert np.ptp(ratio[np.isfinite(ratio)]) < 0.01


def test_little_is_held_back() -> None:
    limiter = Limiter(RATE, CEILING)
    assert limiter.latency <= 0.006 * RATE
    assert limiter.process(loud_speech(1)).size == RATE - limiter.latency
    assert limiter.finish().size == limiter.latency


def test_nothing_gives_nothing() -> None:
    assert limited([]).size == 0
    assert limited([np.zeros(0, np.float32)]).size == 0
    assert np.array_equal(limited([np.full(3, 0.1, np.float32)]), np.full(3, 0.1, np.float32))
