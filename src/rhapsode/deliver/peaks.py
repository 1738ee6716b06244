"""A waveform for the eye: the lowest and the highest sample of each of many equal stretches of a timeline."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rhapsode.audio.loudness import LoudnessMeter
from rhapsode.deliver.assemble import makeup_factor
from rhapsode.deliver.timeline import Timeline, TimelineOptions
from rhapsode.model import Joint

_DIGITS = 3


@dataclass(frozen=True, slots=True)
class Peaks:
    """A waveform, values in [-1, 1], rounded."""

    rate: int
    """Hz."""
    samples: int
    """Length of what it shows."""
    low: tuple[float, ...]
    high: tuple[float, ...]


class PeakMeter:
    """Finds the peaks of a timeline from its takes, holding about one of them. Used by one thread at a time.

    Args:
        options: How to join; those of the finished file.
        samples: Length of the timeline, > 0.
        points: Stretches wanted; there are never more than samples. Stretch i covers samples ⌊i·n/points⌋ … ⌊(i+1)·n/points⌋.
        loudness_lufs: That of the finished file, whose gain is then part of the values.
    """

    def __init__(self, options: TimelineOptions, samples: int, points: int, loudness_lufs: float | None = None) -> None:
        self._options = options
        self._timeline = Timeline(options)
        self._samples = samples
        self._starts = np.arange(min(points, samples), dtype=np.int64) * samples // min(points, samples)
        self._low = np.full(self._starts.size, np.inf, np.float32)
        self._high = np.full(self._starts.size, -np.inf, np.float32)
        self._position = 0
        self._target = loudness_lufs
        self._meter = None if loudness_lufs is None else LoudnessMeter(options.rate)

    def add(self, take: bytes, joint: Joint) -> None:
        """Append a take.

        Raises:
            BlobError: The bytes are damaged.
            SampleRateMismatch: It is of another rate than the timeline.
        """
        self._look(self._timeline.add_take(take, joint)[0])

    def finish(self) -> Peaks:
        """What was found."""
        self._look(self._timeline.finish())
        factor = 1.0
        if self._meter is not None and self._target is not None:
            factor = makeup_factor(self._meter, self._target, self._options)
        return Peaks(self._options.rate, self._samples, _rounded(self._low, factor), _rounded(self._high, factor))

    def _look(self, sound: NDArray[np.float32]) -> None:
        if self._meter is not None:
            self._meter.add(sound)
        sound = sound[: self._samples - self._position]
        if not sound.size:
            return
        first = int(np.searchsorted(self._starts, self._position, "right")) - 1
        behind = int(np.searchsorted(self._starts, self._position + sound.size, "left"))
        offsets = np.maximum(self._starts[first:behind] - self._position, 0)
        low, high = self._low[first:behind], self._high[first:behind]
        np.minimum(low, np.minimum.reduceat(sound, offsets), out=low)
        np.maximum(high, np.maximum.reduceat(sound, offsets), out=high)
        self._position += sound.size


def _rounded(values: NDArray[np.float32], factor: float) -> tuple[float, ...]:
    """Scaled, clipped and rounded; stretches that were never reached are silent."""
    known = np.where(np.isfinite(values), values.astype(np.float64) * factor, 0.0)
    return tuple(float(value) for value in np.round(np.clip(known, -1.0, 1.0), _DIGITS) + 0.0)
