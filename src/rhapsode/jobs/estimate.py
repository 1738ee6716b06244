"""A dry run: how a text would be cut up, how long it would sound, when it would be done. Nothing is stored."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from rhapsode.audio.encode import bytes_per_second
from rhapsode.deliver.timeline import gap_seconds
from rhapsode.jobs.request import SpeechBody
from rhapsode.jobs.runner import plan_options, wording
from rhapsode.jobs.service import JobService
from rhapsode.model import Boundary, Caller, Pauses, Segment, SpeechRequest
from rhapsode.text.plan import WINDOW

SHOWN = 1_000
"""Segments that are given; all are counted."""
_TAKE_BYTES = 2
"""Per sample."""


@dataclass(slots=True)
class _Totals:
    """What has been planned so far."""

    shown: list[Segment] = field(default_factory=list)
    segments: int = 0
    chars: int = 0
    spoken_chars: int = 0
    gaps: Counter[tuple[Boundary | None, int | None]] = field(default_factory=Counter)
    """As in :class:`rhapsode.ledger.base.Spoken`."""
    last: Boundary | None = None
    warnings: list[str] = field(default_factory=list)

    def add(self, segments: Sequence[Segment], warnings: Sequence[str]) -> None:
        self.shown += segments[: SHOWN - len(self.shown)]
        self.segments += len(segments)
        self.chars += sum(len(segment.text) for segment in segments)
        self.spoken_chars += sum(len(segment.spoken) for segment in segments)
        for segment in segments:
            self.gaps[self.last, segment.lead_ms] += 1
            self.last = segment.boundary
        self.warnings += warnings

    def pauses_s(self, pauses: Pauses) -> float:
        return sum(count * gap_seconds(pauses, before, lead_ms) for (before, lead_ms), count in self.gaps.items())


async def dry_run(service: JobService, body: SpeechBody, caller: Caller) -> dict[str, object]:
    """The answer of ``POST /tts/plan``. Planned window by window in the planner's process, in turn with the jobs that are there.

    Raises:
        InvalidInput, NotFound, TooLarge, Unavailable: As a submit would.
    """
    resolved, described = await service.resolve(body, caller)
    request = resolved.request
    options = plan_options(request, described.info)
    words = wording(request, resolved.dictionary.give)
    totals = _Totals(warnings=list(resolved.warnings))
    cursor, offset, done = "", 0, False
    while not done:
        window = body.text[offset : offset + WINDOW]
        batch = await service.shop.planner.plan(window, cursor, offset + len(window) >= len(body.text), options, words)
        totals.add(batch.segments, batch.warnings)
        cursor, offset, done = batch.cursor.dumps(), batch.cursor.offset, batch.done
    voice = described.voice(request.voice) or described.voices[0]
    audio_s = _audio_s(service, request, totals)
    workers = service.workers(request.engine)
    eta = service.scheduler.overview.arrival(request.engine, resolved.priority, totals.chars, workers)
    return {
        "segments": [_shown(segment, request.voice) for segment in totals.shown],
        "segments_truncated": totals.segments > len(totals.shown),
        "totals": {"segments": totals.segments, "chars": totals.chars, "spoken_chars": totals.spoken_chars},
        "engine": request.engine,
        "voice": request.voice,
        "priority": resolved.priority.name.lower(),
        "output_format": request.output_format.value,
        "audio_seconds": None if audio_s is None else round(audio_s, 1),
        "eta_seconds": None if eta is None else {"p50": round(eta[0], 1), "p90": round(eta[1], 1)},
        "disk_bytes": None
        if audio_s is None
        else round(
            audio_s * (_TAKE_BYTES * voice.sample_rate + bytes_per_second(request.output_format, voice.sample_rate))
        ),
        "warnings": list(dict.fromkeys(totals.warnings)),
    }


def _audio_s(service: JobService, request: SpeechRequest, totals: _Totals) -> float | None:
    spoken = service.scheduler.attempts.pace.audio_seconds(request.voice, totals.chars)
    if spoken is None:
        return None
    return spoken / request.controls.get("speed_factor", 1.0) + totals.pauses_s(request.pauses)


def _shown(segment: Segment, voice: str) -> dict[str, object]:
    return {
        "index": segment.index,
        "start": segment.start,
        "end": segment.end,
        "text": segment.text,
        "chars": len(segment.text),
        "boundary": segment.boundary.value,
        "voice": segment.voice or voice,
        "pause_before_seconds": None if segment.lead_ms is None else segment.lead_ms / 1000,
        "speed": segment.speed,
    }
