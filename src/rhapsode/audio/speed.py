"""Changes the speed of speech without changing its pitch."""

import math
from collections.abc import Iterator

import av
import av.filter
import numpy as np
from numpy.typing import NDArray

MIN_FACTOR = 0.25
MAX_FACTOR = 4.0
_CHUNK = 16384
_PAD_S = 0.1
"""Silence behind the input, longer than the filter's window: without it the filter swallows the end of slowed speech."""


def stretch(samples: NDArray[np.float32], rate: int, factor: float) -> NDArray[np.float32]:
    """Speak ``factor`` times as fast at the same pitch.

    Args:
        samples: Mono float32, shape (n,), full scale ±1.
        rate: Hz.
        factor: 0.25 … 4; below 1 is slower. Exactly 1 returns ``samples`` itself.

    Returns:
        Mono float32 of exactly ``round(n / factor)`` samples: the same input always gives the same output.

    Raises:
        ValueError: ``factor`` is out of bounds.

    Source: FFmpeg's ``atempo`` (WSOLA: Verhelst and Roelands, ICASSP 1993), which blends, and does not skip, between 0.5 and 2;
    wider factors are reached in equal steps of that size.
    """
    if not MIN_FACTOR <= factor <= MAX_FACTOR:
        raise ValueError(f"speed factor must be {MIN_FACTOR} … {MAX_FACTOR}, not {factor}")
    if factor == 1 or not samples.size:
        return samples
    wanted = max(1, round(samples.size / factor))
    out = np.zeros(wanted, np.float32)
    filled = 0
    for piece in _atempo(np.append(samples, np.zeros(round(_PAD_S * rate), np.float32)), rate, factor):
        part = piece[: wanted - filled]
        out[filled : filled + part.size] = part
        filled += part.size
    return out


def _atempo(samples: NDArray[np.float32], rate: int, factor: float) -> Iterator[NDArray[np.float32]]:
    """What FFmpeg's filter makes of the samples, piece by piece; some tens of milliseconds longer or shorter than asked."""
    steps = max(1, math.ceil(abs(math.log2(factor)) - 1e-9))
    graph = av.filter.Graph()
    graph.threads = 1
    node = graph.add_abuffer(sample_rate=rate, format="flt", layout="mono")
    source = node
    for _ in range(steps):
        following = graph.add("atempo", f"{factor ** (1 / steps):.9f}")
        node.link_to(following)
        node = following
    sink = graph.add("abuffersink")
    node.link_to(sink)
    graph.configure()

    def pull() -> Iterator[NDArray[np.float32]]:
        while True:
            try:
                piece = sink.pull()
            except (BlockingIOError, EOFError):
                return
            if isinstance(piece, av.AudioFrame):
                yield np.asarray(piece.to_ndarray(), np.float32).reshape(-1)

    for start in range(0, samples.size, _CHUNK):
        part = np.ascontiguousarray(samples[start : start + _CHUNK], np.float32)
        frame = av.AudioFrame.from_ndarray(part.reshape(1, -1), format="flt", layout="mono")
        frame.sample_rate = rate
        frame.pts = start
        source.push(frame)
        yield from pull()
    source.push(None)
    yield from pull()
