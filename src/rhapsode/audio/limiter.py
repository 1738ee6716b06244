"""A look-ahead limiter: no sample leaves above the ceiling, and loud speech is turned down without clicks or distortion."""

import math

import numpy as np
from numpy.typing import NDArray

_LOOKAHEAD_S = 0.005
"""How long before a peak the gain begins to fall, and how long it rises afterwards."""
_HOLD_S = 0.05
"""How long the gain stays down after a peak: more than a period of any voice, so that it does not follow the wave itself."""
_PIECE_S = 1.0
_UNITY = 1 << 24
"""Gains are integers in parts of this: their sums are exact, so the result cannot depend on how the input is cut."""


class Limiter:
    """Brickwall peak limiter for a mono stream, causal, with a fixed delay of :attr:`latency` samples that it hides.

    What comes out in all is a function of what went in, whatever the pieces. Samples that no peak is near pass unchanged.

    Args:
        rate: Hz.
        ceiling: Greatest magnitude that leaves, full scale 1, > 0.

    Source: P. Hämäläinen, Smoothing of the Control Signal Without Clipped Output in Digital Peak Limiters, DAFx 2002: a moving
    minimum of the wanted gain, then a moving average no longer than it.
    """

    def __init__(self, rate: int, ceiling: float) -> None:
        self._ceiling = np.float32(ceiling)
        self._box = max(1, round(_LOOKAHEAD_S * rate / 2))
        self._hold = self.latency + 1 + round(_HOLD_S * rate)
        self._piece = max(1, round(_PIECE_S * rate))
        self._past = np.zeros(self.latency + self._hold - 1, np.float32)
        self._skip = self.latency

    @property
    def latency(self) -> int:
        """How many samples are held back."""
        return 2 * (self._box - 1)

    def process(self, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        """Samples that are ready, after ``samples`` came in: mono float32, shape (n,)."""
        pieces = [self._delayed(samples[i : i + self._piece]) for i in range(0, samples.size, self._piece)]
        out = np.concatenate(pieces) if pieces else np.zeros(0, np.float32)
        skipped = min(self._skip, out.size)
        self._skip -= skipped
        return out[skipped:]

    def finish(self) -> NDArray[np.float32]:
        """The samples that are still held back: as many as are missing to the length of the input."""
        return self.process(np.zeros(self.latency, np.float32))

    def _delayed(self, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        """As many samples as came in, but those from ``latency`` earlier."""
        known = np.concatenate((self._past, samples))
        self._past = known[samples.size :]
        delayed = known[self._hold - 1 : self._hold - 1 + samples.size]
        magnitude = np.abs(known)
        if magnitude.max() <= self._ceiling:
            return delayed
        wanted = np.full(known.size, _UNITY, np.int64)
        loud = magnitude > self._ceiling
        wanted[loud] = np.floor(_UNITY * (float(self._ceiling) / magnitude[loud].astype(np.float64)))
        smooth = _moving_sum(_moving_sum(_moving_minimum(wanted, self._hold), self._box), self._box)
        limited: NDArray[np.float32] = (delayed * (smooth / (_UNITY * self._box**2))).astype(np.float32)
        return limited


def decibels(db: float) -> float:
    """The factor that so many decibels are, for amplitudes."""
    return math.pow(10.0, db / 20.0)


def _moving_minimum(values: NDArray[np.int64], width: int) -> NDArray[np.int64]:
    """Minimum of every ``width`` neighbours, shape (n - width + 1,); in log2(width) steps."""
    covered = 1
    while covered < width:
        step = min(covered, width - covered)
        values = np.minimum(values[step:], values[:-step])
        covered += step
    return values


def _moving_sum(values: NDArray[np.int64], width: int) -> NDArray[np.int64]:
    """Exact sum of every ``width`` neighbours, shape (n - width + 1,)."""
    total = np.concatenate((np.zeros(1, np.int64), np.cumsum(values)))
    return total[width:] - total[:-width]
