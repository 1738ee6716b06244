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
from rhapsode.model import Boundary, Joint, Pauses


@dataclass(frozen=True, slots=True)
class TimelineOptions:
    """How takes are joined."""

    rate: int
    """Of all takes and of the result, Hz."""
    pauses: Pauses
    gain_db: float = 0.0
    """Fixed gain of the job's own voice."""
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


def gap_seconds(pauses: Pauses, before: Boundary | None, lead_ms: int | None) -> float:
    """Seconds of silence before a take.

    Args:
        pauses: Between takes.
        before: What ends the take before it; None when there is none.
        lead_ms: What the text asks for instead, milliseconds.
    """
    if lead_ms is not None:
        return lead_ms / 1000
    return 0.0 if before is None else pauses.after(before)


def gap_samples(pauses: Pauses, before: Boundary | None, lead_ms: int | None, rate: int) -> int:
    """The same in samples, at ``rate`` Hz."""
    return round(gap_seconds(pauses, before, lead_ms) * rate)


class Placer:
    """Finds the place of each take from lengths alone: for the timeline itself, and for subtitles and chapters without audio.

    Args:
        rate: Hz.
        pauses: Between takes.
        end: Where the takes that are left out end, in samples.
        before: What ends the last of those.
    """

    def __init__(self, rate: int, pauses: Pauses, end: int = 0, before: Boundary | None = None) -> None:
        self._rate = rate
        self._pauses = pauses
        self._end = end
        self._before = before

    def place(self, samples: int, joint: Joint) -> Placed:
        """Place the next take, ``samples`` long; silence is rounded to whole samples."""
        start = self._end + gap_samples(self._pauses, self._before, joint.lead_ms, self._rate)
        self._end = start + samples
        self._before = joint.boundary
        return Placed(start, self._end)


class Timeline:
    """Joins takes as they come. Causal: what it gives is a function of the takes in order, whenever they come.

    Holds back the limiter's look-ahead, a few milliseconds. The pause after a take is made when the next one comes, so there is
    none at the end.

    Source: equal-power fade, sin² in power, as in Zölzer, DAFX, 2nd ed.
    """

    def __init__(self, options: TimelineOptions) -> None:
        self._options = options
        self._limiter = Limiter(options.rate, decibels(options.ceiling_db))
        self._placer = Placer(options.rate, options.pauses)
        self._end = 0

    def add(self, samples: NDArray[np.float32], joint: Joint) -> tuple[NDArray[np.float32], Placed]:
        """Append a take.

        Args:
            samples: Mono float32, shape (n,), full scale ±1, at the timeline's rate. Left as it is.
            joint: How it is joined to its neighbours.

        Returns:
            What can be heard now, and where the take lies.
        """
        placed = self._placer.place(samples.size, joint)
        joined = np.zeros(placed.end - self._end, np.float32)
        pause = placed.start - self._end
        gain_db = self._options.gain_db if joint.gain_db is None else joint.gain_db
        np.multiply(samples, np.float32(decibels(gain_db)), out=joined[pause:])
        _fade(joined[pause:], round(self._options.fade_s * self._options.rate))
        self._end = placed.end
        return self._limiter.process(joined), placed

    def add_take(self, take: bytes, joint: Joint) -> tuple[NDArray[np.float32], Placed]:
        """Append a take by its bytes.

        Raises:
            BlobError: The bytes are damaged.
            SampleRateMismatch: It is of another rate than the timeline.
        """
        samples, rate = read_wav(take)
        if rate != self._options.rate:
            raise SampleRateMismatch(f"a take has a sample rate of {rate} Hz where {self._options.rate} Hz is expected")
        return self.add(samples, joint)

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
