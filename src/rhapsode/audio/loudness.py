"""How loud a programme is to the ear."""

import av
import av.filter
import numpy as np
from numpy.typing import NDArray

_PIECE_S = 1.0
_FLOOR_LUFS = -70.0
"""The standard's absolute gate: at and below it nothing was heard."""


class LoudnessMeter:
    """Integrated loudness and peak of a mono stream, in constant memory.

    Args:
        rate: Hz.

    Source: EBU R 128 and ITU-R BS.1770-4, by FFmpeg's ``ebur128``.
    """

    def __init__(self, rate: int) -> None:
        self._rate = rate
        self._piece = max(1, round(_PIECE_S * rate))
        self._position = 0
        self._peak = 0.0
        self._integrated = _FLOOR_LUFS
        graph = av.filter.Graph()
        graph.threads = 1
        self._source = graph.add_abuffer(sample_rate=rate, format="flt", layout="mono")
        meter = graph.add("ebur128", "metadata=1:framelog=quiet")
        self._sink = graph.add("abuffersink")
        self._source.link_to(meter)
        meter.link_to(self._sink)
        graph.configure()
        self._graph = graph

    @property
    def peak(self) -> float:
        """Greatest magnitude of a sample so far, full scale 1."""
        return self._peak

    def add(self, samples: NDArray[np.float32]) -> None:
        """Measure samples: mono float32, shape (n,), full scale ±1."""
        if samples.size:
            self._peak = max(self._peak, float(np.abs(samples).max()))
        for start in range(0, samples.size, self._piece):
            part = np.ascontiguousarray(samples[start : start + self._piece], np.float32)
            frame = av.AudioFrame.from_ndarray(part.reshape(1, -1), format="flt", layout="mono")
            frame.sample_rate = self._rate
            frame.pts = self._position
            self._position += part.size
            self._source.push(frame)
            self._read()

    def integrated(self) -> float | None:
        """Loudness of everything so far in LUFS, or None when it is silent or shorter than the standard's 400 ms."""
        return self._integrated if self._integrated > _FLOOR_LUFS else None

    def _read(self) -> None:
        """Take the newest reading; the filter makes one every 100 ms."""
        while True:
            try:
                frame = self._sink.pull()
            except (BlockingIOError, EOFError):
                return
            self._integrated = float(frame.metadata["lavfi.r128.I"])
