"""Takes to a finished file."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rhapsode.audio.encode import NO_TAGS, FileEncoder
from rhapsode.audio.limiter import decibels
from rhapsode.audio.loudness import LoudnessMeter
from rhapsode.deliver.timeline import Placed, Timeline, TimelineOptions
from rhapsode.model import AudioFormat, Joint


@dataclass(frozen=True, slots=True)
class Assembled:
    """A finished file."""

    size: int
    """Bytes."""
    digest: str
    """SHA-256 of the bytes, hex."""
    samples: int
    """Length on the timeline, at ``rate``."""
    rate: int
    """Hz."""
    format: AudioFormat


class Assembler:
    """Encodes takes into a file as they arrive, holding about one take. Used by one thread at a time; ends with ``finish`` or ``abort``.

    Args:
        path: Where to write; not synced to disk.
        audio_format: Of the file.
        options: How to join.
        tags: Metadata, as for :class:`~rhapsode.audio.encode.FileEncoder`.
        makeup: Constant factor behind the limiter, from :class:`LoudnessPass`; 1 leaves the timeline as it is.

    Raises:
        OSError: The file cannot be written; so do the methods.
    """

    def __init__(
        self,
        path: Path,
        audio_format: AudioFormat,
        options: TimelineOptions,
        tags: Mapping[str, str] = NO_TAGS,
        makeup: float = 1.0,
    ) -> None:
        self._format = audio_format
        self._makeup = np.float32(makeup)
        self._timeline = Timeline(options)
        self._encoder = FileEncoder(path, audio_format, options.rate, tags)

    def add(self, take: bytes, joint: Joint) -> Placed:
        """Append a take.

        Raises:
            BlobError: The bytes are damaged.
            SampleRateMismatch: It is of another rate than the timeline.
        """
        ready, placed = self._timeline.add_take(take, joint)
        self._write(ready)
        return placed

    def finish(self) -> Assembled:
        """Complete the file."""
        self._write(self._timeline.finish())
        made = self._encoder.finish()
        return Assembled(made.size, made.digest, made.samples, made.rate, self._format)

    def abort(self) -> None:
        """Give up and remove the file."""
        self._encoder.abort()

    def _write(self, samples: NDArray[np.float32]) -> None:
        self._encoder.write(samples if self._makeup == 1 else samples * self._makeup)


class LoudnessPass:
    """First pass of a loudness normalisation: takes go in as for :class:`Assembler`, a constant factor comes out.

    Args:
        options: How to join; those of the finished file.
        loudness_lufs: Integrated loudness that the file shall have, as far as its peak allows.
    """

    def __init__(self, options: TimelineOptions, loudness_lufs: float) -> None:
        self._target = loudness_lufs
        self._options = options
        self._timeline = Timeline(options)
        self._meter = LoudnessMeter(options.rate)

    def add(self, take: bytes, joint: Joint) -> None:
        """Measure a take.

        Raises:
            BlobError: The bytes are damaged.
            SampleRateMismatch: It is of another rate than the timeline.
        """
        self._meter.add(self._timeline.add_take(take, joint)[0])

    def makeup(self) -> float:
        """The factor that brings the whole timeline to the loudness, its peak kept under the ceiling; 1 for silence."""
        self._meter.add(self._timeline.finish())
        return makeup_factor(self._meter, self._target, self._options)

    def abort(self) -> None:
        """Give up; there is nothing to undo."""


def makeup_factor(meter: LoudnessMeter, loudness_lufs: float, options: TimelineOptions) -> float:
    """The factor that brings what was measured to the loudness, its peak kept under the ceiling; 1 for silence."""
    loudness = meter.integrated()
    if loudness is None:
        return 1.0
    return min(decibels(loudness_lufs - loudness), decibels(options.ceiling_db) / meter.peak)
