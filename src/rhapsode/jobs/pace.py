"""How fast this node speaks, and how long its speech is, measured: the base of every estimate."""

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

_KEPT = 128

Rates = tuple[float, float]
"""Median and pessimistic (90th percentile) worker seconds per character."""


@dataclass(slots=True)
class _Engine:
    """What was measured of one engine."""

    per_char: deque[float] = field(default_factory=lambda: deque(maxlen=_KEPT))
    """Worker seconds per character."""
    spoken: deque[tuple[float, float]] = field(default_factory=lambda: deque(maxlen=_KEPT))
    """Worker seconds, and seconds of audio at speed 1."""
    rates: Rates | None = None
    """Of ``per_char``; None: to be found anew."""


class Pace:
    """Over the latest segments: of each engine worker seconds, of each voice seconds of audio, per character."""

    def __init__(self) -> None:
        self._engines: dict[str, _Engine] = {}
        self._heard: dict[str, deque[tuple[int, float]]] = {}

    def note(
        self, chars: int, synth_seconds: float, voice: str = "", audio_seconds: float = 0.0, engine: str = ""
    ) -> None:
        """A segment of ``chars`` characters took one worker ``synth_seconds``; at speed 1 it sounds for ``audio_seconds``."""
        measured = self._engines.setdefault(engine, _Engine())
        measured.spoken.append((synth_seconds, audio_seconds))
        if chars > 0:
            measured.per_char.append(synth_seconds / chars)
            measured.rates = None
            self._heard.setdefault(voice, deque(maxlen=_KEPT)).append((chars, audio_seconds))

    def realtime_factor(self, engine: str) -> float | None:
        """Seconds that one worker takes for a second of audio at speed 1; None before the engine's first segment."""
        spoken = measured.spoken if (measured := self._engines.get(engine)) else ()
        audio_s = sum(audio for _, audio in spoken)
        return sum(synth for synth, _ in spoken) / audio_s if audio_s else None

    def audio_seconds(self, voice: str, chars: int) -> float | None:
        """How long ``chars`` characters of a voice sound at speed 1, pauses aside; None before its first segment."""
        heard = self._heard.get(voice, ())
        spoken = sum(c for c, _ in heard)
        return chars * sum(s for _, s in heard) / spoken if spoken else None

    def rates(self, engine: str) -> Rates | None:
        """Of one engine; None before its first segment."""
        measured = self._engines.get(engine)
        if measured is None or not measured.per_char:
            return None
        if measured.rates is None:
            ordered = sorted(measured.per_char)
            measured.rates = ordered[len(ordered) // 2], ordered[len(ordered) * 9 // 10]
        return measured.rates

    def seconds(self, engine: str, chars: Mapping[str, float], workers: int) -> Rates | None:
        """Median and pessimistic seconds that ``workers`` need for characters of several engines.

        Args:
            engine: Whose job it is about: without its pace there is no estimate, only a guess.
            chars: By engine. One that has not spoken yet is taken to be as slow as the slowest that has.
            workers: Segments spoken at once.

        Returns:
            None before the engine's first segment.
        """
        if self.rates(engine) is None:
            return None
        unknown = _slowest(filter(None, map(self.rates, self._engines)))
        rates = [(self.rates(name) or unknown, count) for name, count in chars.items()]
        share = max(workers, 1)
        return sum(r[0] * c for r, c in rates) / share, sum(r[1] * c for r, c in rates) / share


def _slowest(rates: Iterable[Rates]) -> Rates:
    return max(rates, default=(0.0, 0.0))
