"""The copy of a recording that voices are cloned from: mono, at one rate, at one level, without the silence around it."""

import numpy as np
from numpy.typing import NDArray

from rhapsode.audio.loudness import LoudnessMeter
from rhapsode.audio.trim import trim_silence
from rhapsode.audio.wav import wav_bytes
from rhapsode.errors import InvalidInput

RATE = 24_000
"""Hz: what the engines that clone work at."""
MIN_S = 0.5
"""Less sound than this tells nothing of a voice."""
_LEVEL_LUFS = -23.0
"""EBU R 128's programme level: recordings of all levels reach the engines alike."""
_PEAK = 10 ** (-1 / 20)


def make_clip(samples: NDArray[np.float32]) -> bytes:
    """The copy as a WAV file; the same samples always give the same bytes.

    Args:
        samples: Mono float32, shape (n,), finite, at :data:`RATE`.

    Raises:
        InvalidInput: There is too little sound in it.
    """
    trimmed, _ = trim_silence(samples, RATE)
    if trimmed.size < MIN_S * RATE:
        raise InvalidInput(f"there is only {trimmed.size / RATE:.2f} s of sound in it; {MIN_S:g} s are needed")
    meter = LoudnessMeter(RATE)
    meter.add(trimmed)
    gain = _PEAK / meter.peak
    loudness = meter.integrated()
    if loudness is not None:
        gain = min(gain, 10 ** ((_LEVEL_LUFS - loudness) / 20))
    return wav_bytes(trimmed * np.float32(gain), RATE)
