"""Values that the suites of the ledger share."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from rhapsode.ledger.base import JobFilter, Ledger, NewJob, PlanPart
from rhapsode.model import (
    AudioFormat,
    Boundary,
    Job,
    Pauses,
    Priority,
    Result,
    Segment,
    SpeechRequest,
    Take,
    VoiceMode,
    WordTiming,
    new_job_id,
)

TTL_S = 3600.0
BUDGET = 3

OpenLedger = Callable[[], Awaitable[Ledger]]

REQUEST = SpeechRequest(
    engine="tone",
    voice="räuber.wav",
    voice_mode=VoiceMode.CLONE,
    language="de",
    output_format=AudioFormat.OPUS,
    split_text=False,
    chunk_size=77,
    controls={"temperature": 0.3},
    seed=4_294_967_295,
    pauses=Pauses(clause_s=0.5),
    gain_db=-1.5,
    loudness_lufs=-16.0,
)
RESULT = Result("tts_job_x.wav", AudioFormat.WAV, 44_100, "ab" * 32, 22_028, 22_050)


class Clock:
    """Time that only a test moves, seconds since the epoch."""

    def __init__(self) -> None:
        self.now = 1_700_000_000.0

    def __call__(self) -> float:
        return self.now


def new_job(text: str = "aa bb cc ", **changes: Any) -> NewJob:
    fields: dict[str, Any] = {"id": new_job_id(), "owner": "me", "request": REQUEST, "priority": Priority.NORMAL}
    return NewJob(**{**fields, "text": text, **changes})


def plan(count: int, first: int = 0, done: bool = True, warnings: tuple[str, ...] = ()) -> PlanPart:
    """Segments of two characters with a space behind each, as in the text of :func:`new_job`."""
    parts = [Segment(i, 3 * i, 3 * i + 2, "aa", "a a", Boundary.CLAUSE) for i in range(first, first + count)]
    return PlanPart(parts, 3 * (first + count), f"at {first + count}", done, warnings)


def take(name: str = "take", samples: int = 100) -> Take:
    return Take(name, samples, 22_050, 2 * samples + 44, 0.5, (WordTiming("aa", 0, 40), WordTiming("é", 40, samples)))


async def begin(ledger: Ledger, segments: int = 3, **changes: Any) -> Job:
    """A running job with its whole plan."""
    job, _ = await ledger.submit(new_job("aa " * segments, **changes))
    await ledger.start_job(job.fence)
    return await ledger.extend_plan(job.fence, plan(segments))


async def speak(ledger: Ledger, job: Job, index: int, name: str | None = None) -> Job:
    """One segment from claim to take."""
    name = name or f"{job.id}/{index}"
    claim = await ledger.claim(job.fence, index, name, shared=False)
    return await ledger.complete_segment(job.fence, index, claim.attempt, name, take(name))


async def finish(ledger: Ledger, segments: int = 1, **changes: Any) -> Job:
    """A completed job."""
    job = await begin(ledger, segments, **changes)
    for index in range(segments):
        await speak(ledger, job, index)
    return await ledger.complete_job(job.fence, RESULT)


async def types(ledger: Ledger, job: Job) -> list[str]:
    """Names of the job's events, after a check that they are numbered without gaps."""
    events = await ledger.events(job.id, limit=100_000)
    stored = await ledger.get_job(job.id)
    assert [event.seq for event in events] == list(range(1, (stored.event_seq if stored else 0) + 1))
    return [event.type for event in events]


async def listed(
    ledger: Ledger, before: tuple[float, str] | None = None, limit: int = 50, **wanted: Any
) -> Sequence[Job]:
    """The jobs of one page."""
    return [one.job for one in (await ledger.list_jobs(JobFilter(**wanted), before, limit)).jobs]
