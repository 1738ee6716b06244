"""Takes, one after another, as one stream of sound: pauses, edges, gain, limiter.

Live streams and finished files run through the same :class:`Timeline`, so they agree sample for sample before encoding.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rhapsode.audio.limiter import Limiter, decibels
from rhapsode.audio.wav import read_wav
from rhapsode.errors import SampleRateMismatch
from rhapsode.model import Boundary, Pauses


@dataclass(frozen=True, slots=True)
class TimelineOptions:
    """How takes are joined."""

    rate: int
    """Of all takes and of the result, Hz."""
    pauses: Pauses
    gain_db: float = 0.0
    """Fixed gain of the voice."""
    fade_s: float = 0.005
    """Equal-power fade at each edge of a take, seconds; at most half of the take."""
    ceiling_db: float = -1.0
    """No sample gets louder than this, dB of full scale."""


@dataclass(frozen=True, slots=True)
class Placed:
    """Where a take lies on the timeline, in samples."""

    start: int
    end: int
    """Behind the last sample."""


def pause_samples(pauses: Pauses, boundary: Boundary, rate: int) -> int:
    """Samples of silence after a take that ends with ``boundary``, at ``rate`` Hz."""
    return round(pauses.after(boundary) * rate)


class Placer:
    """Finds the place of each take from lengths alone: for the timeline itself, and for subtitles and chapters without audio.

    Args:
        rate: Hz.
        pauses: Between takes.
        start: Where the first take begins, in samples: behind those that are left out, and the pause after them.
    """

    def __init__(self, rate: int, pauses: Pauses, start: int = 0) -> None:
        self._rate = rate
        self._pauses = pauses
        self._end = start
        self._pause = 0

    def place(self, samples: int, boundary: Boundary) -> Placed:
        """Place the next take, ``samples`` long; ``boundary`` decides the pause after it, rounded to whole samples."""
        start = self._end + self._pause
        self._end = start + samples
        self._pause = pause_samples(self._pauses, boundary, self._rate)
        return Placed(start, self._end)


class Timeline:
    """Joins takes as they come. Causal: what it gives is a function of the takes in order, whenever they come.

    Holds back the limiter's look-ahead, a few milliseconds. The pause after a take is made when the next one comes, so there is
    none at the end.

    Source: equal-power fade, sin² in power, as in Zölzer, DAFX, 2nd ed.
    """

    def __init__(self, options: TimelineOptions) -> None:
        self._options = options
        self._gain = np.float32(decibels(options.gain_db))
        self._limiter = Limiter(options.rate, decibels(options.ceiling_db))
        self._placer = Placer(options.rate, options.pauses)
        self._end = 0

    def add(self, samples: NDArray[np.float32], boundary: Boundary) -> tuple[NDArray[np.float32], Placed]:
        """Append a take.

        Args:
            samples: Mono float32, shape (n,), full scale ±1, at the timeline's rate. Left as it is.
            boundary: What ends it in the text; decides the pause after it.

        Returns:
            What can be heard now, and where the take lies.
        """
        placed = self._placer.place(samples.size, boundary)
        joined = np.zeros(placed.end - self._end, np.float32)
        pause = placed.start - self._end
        np.multiply(samples, self._gain, out=joined[pause:])
        _fade(joined[pause:], round(self._options.fade_s * self._options.rate))
        self._end = placed.end
        return self._limiter.process(joined), placed

    def add_take(self, take: bytes, boundary: Boundary) -> tuple[NDArray[np.float32], Placed]:
        """Append a take by its bytes.

        Raises:
            BlobError: The bytes are damaged.
            SampleRateMismatch: It is of another rate than the timeline.
        """
        samples, rate = read_wav(take)
        if rate != self._options.rate:
            raise SampleRateMismatch(f"a take has a sample rate of {rate} Hz where {self._options.rate} Hz is expected")
        return self.add(samples, boundary)

    def finish(self) -> NDArray[np.float32]:
        """What was held back."""
        return self._limiter.finish()


def _fade(samples: NDArray[np.float32], length: int) -> None:
    """Fade both edges in place over ``length`` samples, at most half of what there is."""
    length = min(length, samples.size // 2)
    if not length:
        return
    curve = np.sin(np.float64(math.pi / 2) * (np.arange(length) + 0.5) / length).astype(np.float32)
    samples[:length] *= curve
    samples[-length:] *= curve[::-1]
