"""Removes the silence that engines put before and after speech, so that pauses are the timeline's alone."""

import numpy as np
from numpy.typing import NDArray

_FRAME_S = 0.005
_ABSOLUTE = 10 ** (-60 / 20)
"""RMS of a frame below which nothing is audible, whatever the take's level: −60 dBFS."""
_RELATIVE = 10 ** (-45 / 20)
"""RMS of a frame, in parts of the loudest one, below which it is no speech: −45 dB (soft fricatives lie near −35 dB)."""
_LEAD_S = 0.015
"""Kept before the first audible frame: soft onsets."""
_TAIL_S = 0.040
"""Kept behind the last audible frame: decays and final fricatives last longer than onsets."""


def trim_silence(samples: NDArray[np.float32], rate: int) -> tuple[NDArray[np.float32], int]:
    """Cut the silence at both ends.

    Args:
        samples: Mono float32, shape (n,), full scale ±1.
        rate: Hz.

    Returns:
        The rest (a view of ``samples``; empty when all is silent) and how many samples were cut at the start.
    """
    frame = max(1, round(_FRAME_S * rate))
    level = _frame_rms(samples, frame)
    loudest = float(level.max(initial=0.0))
    audible = np.flatnonzero(level > max(_ABSOLUTE, loudest * _RELATIVE))
    if not audible.size:
        return samples[:0], 0
    start = max(0, int(audible[0]) * frame - round(_LEAD_S * rate))
    end = min(samples.size, (int(audible[-1]) + 1) * frame + round(_TAIL_S * rate))
    return samples[start:end], start


def _frame_rms(samples: NDArray[np.float32], frame: int) -> NDArray[np.float64]:
    """RMS of each whole frame, and of what is left over at the end (over its own length)."""
    whole = samples.size // frame * frame
    power: NDArray[np.float64] = np.square(samples[:whole].reshape(-1, frame), dtype=np.float64).mean(axis=1)
    if whole < samples.size:
        power = np.append(power, np.square(samples[whole:], dtype=np.float64).mean())
    return np.asarray(np.sqrt(power), np.float64)
