"""Encoders: float samples in, bytes of a file or of a live stream out.

Nothing here writes a date, a random serial number or a version of its own: the same samples and tags give the same bytes.
"""

import hashlib
import io
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from types import MappingProxyType
from typing import Protocol, cast

import av
import numpy as np
import soxr
from numpy.typing import NDArray

from rhapsode.audio.wav import to_int16
from rhapsode.model import AudioFormat

NO_TAGS: Mapping[str, str] = MappingProxyType({})
"""No metadata: the usual default."""
_FALLBACK_RATE = 48_000
"""Hz; what a codec gets that does not know the rate of the takes. All of them know this one."""


@dataclass(frozen=True, slots=True)
class _Codec:
    """How FFmpeg makes a format."""

    container: str
    encoder: str
    sample_format: str
    content_type: str
    extension: str
    bit_rate: int | None = None
    """Bits per second; constant for MP3, so that players can seek in it by arithmetic."""
    encoder_options: Mapping[str, str] = field(default_factory=dict)
    file_options: Mapping[str, str] = field(default_factory=dict)
    live_options: Mapping[str, str] = field(default_factory=dict)


_CODECS: Mapping[AudioFormat, _Codec] = {
    # Sizes are written at the end; "auto" reserves the room that turns the file into RF64 past 4 GiB.
    AudioFormat.WAV: _Codec("wav", "pcm_s16le", "s16", "audio/wav", "wav", file_options={"rf64": "auto"}),
    # FFmpeg's own choice of blocks, a tenth of a second and longer, is too late for a live stream, and no smaller for speech.
    AudioFormat.FLAC: _Codec("flac", "flac", "s16", "audio/flac", "flac", encoder_options={"frame_size": "1024"}),
    # LAME's quality 7 takes half the time of the default; at this rate for one voice there are bits to spare.
    AudioFormat.MP3: _Codec(
        "mp3",
        "libmp3lame",
        "s16p",
        "audio/mpeg",
        "mp3",
        96_000,
        {"compression_level": "7"},
    ),
    AudioFormat.OPUS: _Codec(
        "ogg",
        "libopus",
        "flt",
        "audio/opus",
        "opus",
        64_000,
        {"compression_level": "5"},
        live_options={"page_duration": "20000"},
    ),
    AudioFormat.AAC: _Codec("adts", "aac", "fltp", "audio/aac", "aac", 96_000, {"aac_coder": "fast"}),
    AudioFormat.PCM: _Codec("s16le", "pcm_s16le", "s16", "audio/pcm", "pcm"),
}


@dataclass(frozen=True, slots=True)
class EncodedFile:
    """A finished file."""

    size: int
    """Bytes."""
    digest: str
    """SHA-256 of the bytes, hex."""
    samples: int
    """How many were written, at ``rate``, whatever rate the codec uses inside."""
    rate: int
    """Hz."""


def content_type(audio_format: AudioFormat) -> str:
    """The media type to serve a format with."""
    return _CODECS[audio_format].content_type


def extension(audio_format: AudioFormat) -> str:
    """The usual file name extension of a format, without the dot."""
    return _CODECS[audio_format].extension


def bytes_per_second(audio_format: AudioFormat, rate: int) -> float:
    """About how much a finished file takes; lossless compression of speech saves some 40 %."""
    bits = _CODECS[audio_format].bit_rate
    if bits is not None:
        return bits / 8
    return 2 * rate * (0.6 if audio_format is AudioFormat.FLAC else 1)


class FileEncoder:
    """Writes one audio file, in constant memory. Ends with :meth:`finish` or :meth:`abort`.

    Args:
        path: Where to write; an existing file is replaced. Not synced to disk: whoever publishes the file does that.
        audio_format: Any; PCM is raw 16-bit little-endian.
        rate: Of the samples, Hz.
        tags: Metadata by FFmpeg's generic names (``title``, ``artist``, ``album``, ``comment`` …); PCM and AAC hold none.

    Raises:
        OSError: The file cannot be written; so do the methods.
    """

    def __init__(self, path: Path, audio_format: AudioFormat, rate: int, tags: Mapping[str, str] = NO_TAGS) -> None:
        codec = _CODECS[audio_format]
        self._path = path
        self._rate = rate
        self._samples = 0
        self._muxer = _Muxer(f"file:{path}", codec, rate, tags, codec.file_options)

    def write(self, samples: NDArray[np.float32]) -> None:
        """Append samples: mono float32, shape (n,), full scale ±1, clipped."""
        self._samples += samples.size
        self._muxer.write(samples)

    def finish(self) -> EncodedFile:
        """Complete the file with its true sizes and durations."""
        self._muxer.finish()
        with self._path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
            size = file.tell()
        return EncodedFile(size, digest, self._samples, self._rate)

    def abort(self) -> None:
        """Give up and remove the file. A no-op when it is gone already."""
        self._muxer.abandon()
        self._path.unlink(missing_ok=True)


def encode(
    samples: NDArray[np.float32], audio_format: AudioFormat, rate: int, tags: Mapping[str, str] = NO_TAGS
) -> bytes:
    """The same as the file that :class:`FileEncoder` writes, in memory: for short pieces."""
    codec = _CODECS[audio_format]
    file = io.BytesIO()
    muxer = _Muxer(file, codec, rate, tags, codec.file_options)
    muxer.write(samples)
    muxer.finish()
    return file.getvalue()


class StreamEncoder:
    """Makes a live stream: what goes in comes out, encoded, at most 200 ms later.

    WAV carries the sizes that say "until the end of the stream". Each format decodes to the same audio as its file.

    Args:
        audio_format: Any; PCM is raw 16-bit little-endian.
        rate: Of the samples, Hz.
        tags: As for :class:`FileEncoder`.
    """

    def __init__(self, audio_format: AudioFormat, rate: int, tags: Mapping[str, str] = NO_TAGS) -> None:
        codec = _CODECS[audio_format]
        self._sink = _Sink()
        self._muxer = _Muxer(self._sink, codec, rate, tags, {"flush_packets": "1", **codec.live_options})

    def encode(self, samples: NDArray[np.float32]) -> bytes:
        """Bytes to send now, for mono float32 samples of shape (n,), full scale ±1, clipped. The first ones begin with the header."""
        self._muxer.write(samples)
        return self._sink.take()

    def finish(self) -> bytes:
        """The last bytes."""
        self._muxer.finish()
        return self._sink.take()


class _Writable(Protocol):
    """What PyAV needs to write to."""

    def write(self, data: bytes, /) -> int: ...


class _Sink:
    """Collects what the muxer writes; has no ``seek``, so that no header is ever patched."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []

    def write(self, data: bytes) -> int:
        self._pieces.append(bytes(data))
        return len(data)

    def take(self) -> bytes:
        data = b"".join(self._pieces)
        self._pieces.clear()
        return data


class _Muxer:
    """One encoder behind one container, fed with float samples."""

    def __init__(
        self, target: "str | _Writable", codec: _Codec, rate: int, tags: Mapping[str, str], options: Mapping[str, str]
    ) -> None:
        known = av.Codec(codec.encoder, "w").audio_rates
        self._rate = rate if not known or rate in known else _FALLBACK_RATE
        self._resampler = (
            None if self._rate == rate else soxr.ResampleStream(rate, self._rate, 1, dtype="float32", quality="HQ")
        )
        self._format = codec.sample_format
        self._position = 0
        self._container = av.open(target, "w", format=codec.container, options={"fflags": "+bitexact", **options})
        self._stream = cast(
            av.AudioStream,
            self._container.add_stream(
                codec.encoder, rate=self._rate, options={"flags": "+bitexact", **codec.encoder_options}
            ),
        )
        context = self._stream.codec_context
        context.layout = "mono"
        context.format = codec.sample_format
        context.thread_count = 1
        if codec.bit_rate is not None:
            context.bit_rate = codec.bit_rate
        self._container.metadata.update(tags)
        self._container.start_encoding()

    def write(self, samples: NDArray[np.float32]) -> None:
        """Encode samples at the outer rate, a second at a time, so that a long piece takes no more memory than a short one."""
        for start in range(0, samples.size, self._rate):
            piece = samples[start : start + self._rate]
            self._encode(piece if self._resampler is None else self._resampler.resample_chunk(piece))

    def finish(self) -> None:
        """Encode what is held back and complete the container."""
        if self._resampler is not None:
            self._encode(self._resampler.resample_chunk(np.zeros(0, np.float32), last=True))
        self._container.mux(self._stream.encode(None))
        self._container.close()

    def abandon(self) -> None:
        """Let go of the target without caring for what was written, or whether it could be."""
        with suppress(OSError):
            self._container.close()

    def _encode(self, samples: NDArray[np.float32]) -> None:
        """Encode samples at the codec's rate."""
        if not samples.size:
            return
        values = to_int16(samples) if self._format.startswith("s16") else np.ascontiguousarray(samples, np.float32)
        frame = av.AudioFrame.from_ndarray(values.reshape(1, -1), format=self._format, layout="mono")
        frame.sample_rate = self._rate
        frame.time_base = Fraction(1, self._rate)
        frame.pts = self._position
        self._position += values.size
        self._container.mux(self._stream.encode(frame))
