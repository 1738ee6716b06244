"""How fast this node speaks, and how long its speech is, measured: the base of every estimate."""

from collections import deque

_KEPT = 128


class Pace:
    """Worker seconds, and of each voice seconds of audio, per character over the latest segments; worker seconds per second by engine."""

    def __init__(self) -> None:
        self._seconds_per_char: deque[float] = deque(maxlen=_KEPT)
        self._heard: dict[str, deque[tuple[int, float]]] = {}
        self._spoken: dict[str, deque[tuple[float, float]]] = {}

    def note(
        self, chars: int, synth_seconds: float, voice: str = "", audio_seconds: float = 0.0, engine: str = ""
    ) -> None:
        """A segment of ``chars`` characters took one worker ``synth_seconds``; at speed 1 it sounds for ``audio_seconds``."""
        self._spoken.setdefault(engine, deque(maxlen=_KEPT)).append((synth_seconds, audio_seconds))
        if chars > 0:
            self._seconds_per_char.append(synth_seconds / chars)
            self._heard.setdefault(voice, deque(maxlen=_KEPT)).append((chars, audio_seconds))

    def realtime_factor(self, engine: str) -> float | None:
        """Seconds that one worker takes for a second of audio at speed 1; None before the engine's first segment."""
        spoken = self._spoken.get(engine, ())
        audio_s = sum(audio for _, audio in spoken)
        return sum(synth for synth, _ in spoken) / audio_s if audio_s else None

    def audio_seconds(self, voice: str, chars: int) -> float | None:
        """How long ``chars`` characters of a voice sound at speed 1, pauses aside; None before its first segment."""
        heard = self._heard.get(voice, ())
        spoken = sum(c for c, _ in heard)
        return chars * sum(s for _, s in heard) / spoken if spoken else None

    def seconds(self, chars: float, workers: int) -> tuple[float, float] | None:
        """Median and pessimistic (90th percentile) seconds that ``workers`` need for ``chars`` characters.

        None before the first segment.
        """
        if not self._seconds_per_char:
            return None
        ordered = sorted(self._seconds_per_char)
        share = chars / max(workers, 1)
        return share * ordered[len(ordered) // 2], share * ordered[len(ordered) * 9 // 10]
