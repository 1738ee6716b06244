"""How fast this node speaks, measured: the base of every ETA."""

from collections import deque

_KEPT = 128


class Pace:
    """Worker seconds per character over the latest segments."""

    def __init__(self) -> None:
        self._seconds_per_char: deque[float] = deque(maxlen=_KEPT)

    def note(self, chars: int, synth_seconds: float) -> None:
        """A segment of ``chars`` characters took one worker ``synth_seconds``."""
        if chars > 0:
            self._seconds_per_char.append(synth_seconds / chars)

    def seconds(self, chars: float, workers: int) -> tuple[float, float] | None:
        """Median and pessimistic (90th percentile) seconds that ``workers`` need for ``chars`` characters.

        None before the first segment.
        """
        if not self._seconds_per_char:
            return None
        ordered = sorted(self._seconds_per_char)
        share = chars / max(workers, 1)
        return share * ordered[len(ordered) // 2], share * ordered[len(ordered) * 9 // 10]
