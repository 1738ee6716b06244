"""The byte format of a take: mono 16-bit RIFF WAVE with a 44-byte header and nothing else in it.

Source: Multimedia Programming Interface and Data Specifications 1.0, IBM and Microsoft, 1991, "WAVE".
"""

import struct

import numpy as np
from numpy.typing import NDArray

from rhapsode.errors import BlobError

HEADER = struct.Struct("<4sI4s4sIHHIIHH4sI")
_FULL_SCALE = 32768.0


def to_int16(samples: NDArray[np.float32]) -> NDArray[np.int16]:
    """16-bit values of float samples: scaled by 32768, rounded half to even, clipped to what 16 bits can hold.

    Every encoder uses this one conversion, so that all formats hold the same samples. It undoes :func:`to_float32` exactly.

    Args:
        samples: Finite float32, full scale ±1, any shape.
    """
    scaled = samples * np.float32(_FULL_SCALE)
    np.rint(scaled, out=scaled)
    np.clip(scaled, -_FULL_SCALE, _FULL_SCALE - 1, out=scaled)
    return scaled.astype("<i2")


def to_float32(values: NDArray[np.int16]) -> NDArray[np.float32]:
    """Float samples in [-1, 1) of 16-bit values; exact."""
    return values.astype(np.float32) / np.float32(_FULL_SCALE)


def wav_header(data_size: int, rate: int, riff_size: int | None = None) -> bytes:
    """The 44 bytes before the samples.

    Args:
        data_size: Bytes of sample data.
        rate: Hz.
        riff_size: Bytes behind the first eight; derived from ``data_size`` when None.
    """
    riff = HEADER.size - 8 + data_size if riff_size is None else riff_size
    return HEADER.pack(b"RIFF", riff, b"WAVE", b"fmt ", 16, 1, 1, rate, 2 * rate, 2, 16, b"data", data_size)


def wav_bytes(samples: NDArray[np.float32], rate: int) -> bytes:
    """A take's bytes: the same samples always give the same bytes.

    Args:
        samples: Finite mono float32, shape (n,), full scale ±1; what lies outside is clipped. Less than 4 GiB as 16 bits.
        rate: Hz.
    """
    return wav_header(2 * samples.size, rate) + to_int16(samples).tobytes()


def read_wav(data: bytes) -> tuple[NDArray[np.float32], int]:
    """Samples (mono float32, shape (n,), [-1, 1)) and rate in Hz of a take's bytes.

    Raises:
        BlobError: The bytes are not what :func:`wav_bytes` writes: damaged, truncated, or of another format.
    """
    if len(data) < HEADER.size:
        raise BlobError(f"take is truncated: {len(data)} bytes are less than a WAV header")
    rate, size = struct.unpack_from("<I", data, 24)[0], struct.unpack_from("<I", data, 40)[0]
    if size != len(data) - HEADER.size or size % 2:
        raise BlobError(
            f"take is truncated or damaged: {len(data) - HEADER.size} bytes of sound where the header says {size}"
        )
    if not 0 < rate < 2**31 or data[: HEADER.size] != wav_header(size, rate):
        raise BlobError("take is damaged: its header is not that of a mono 16-bit WAV file")
    return to_float32(np.frombuffer(data, dtype="<i2", offset=HEADER.size)), rate
