"""Takes to a finished file."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rhapsode.audio.encode import NO_TAGS, FileEncoder
from rhapsode.audio.limiter import decibels
from rhapsode.audio.loudness import LoudnessMeter
from rhapsode.deliver.timeline import Placed, Timeline, TimelineOptions
from rhapsode.model import AudioFormat, Boundary

Takes = Callable[[], Iterable[tuple[bytes, Boundary]]]
"""Gives a job's takes in order, from the first, each time it is called."""


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
        makeup: Constant factor behind the limiter, from :func:`makeup_gain`; 1 leaves the timeline as it is.

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

    def add(self, take: bytes, boundary: Boundary) -> Placed:
        """Append a take.

        Raises:
            BlobError: The bytes are damaged.
            SampleRateMismatch: It is of another rate than the timeline.
        """
        ready, placed = self._timeline.add_take(take, boundary)
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


def assemble(
    path: Path,
    audio_format: AudioFormat,
    options: TimelineOptions,
    takes: Takes,
    tags: Mapping[str, str] = NO_TAGS,
    loudness_lufs: float | None = None,
) -> Assembled:
    """Make a finished file of takes that are all there; removes it again when that fails.

    Args:
        path: Where to write; not synced to disk.
        audio_format: Of the file.
        options: How to join.
        takes: Called once, or twice for a loudness.
        tags: Metadata, as for :class:`~rhapsode.audio.encode.FileEncoder`.
        loudness_lufs: Integrated loudness that the file shall have, as far as its peak allows; None takes the timeline as it is.

    Raises:
        BlobError, SampleRateMismatch: A take is unusable.
        OSError: The file cannot be written.
    """
    makeup = 1.0 if loudness_lufs is None else makeup_gain(options, takes, loudness_lufs)
    assembler = Assembler(path, audio_format, options, tags, makeup)
    try:
        for take, boundary in takes():
            assembler.add(take, boundary)
        return assembler.finish()
    except BaseException:
        assembler.abort()
        raise


def makeup_gain(options: TimelineOptions, takes: Takes, loudness_lufs: float) -> float:
    """The constant factor that brings the whole timeline to a loudness, with its peak kept under the ceiling.

    It is 1 for what is silent or too short to have a loudness.
    """
    meter = LoudnessMeter(options.rate)
    timeline = Timeline(options)
    for take, boundary in takes():
        meter.add(timeline.add_take(take, boundary)[0])
    meter.add(timeline.finish())
    loudness = meter.integrated()
    if loudness is None:
        return 1.0
    return min(decibels(loudness_lufs - loudness), decibels(options.ceiling_db) / meter.peak)
