"""Jobs: submit, watch, change, list, end."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from rhapsode.client.flow import Ask, Flow, Give, Pause, ask
from rhapsode.client.values import DEFAULTS, JobInfo, JobPage, PlanInfo, SegmentPage, SpeechOptions
from rhapsode.model import JobStatus

_FIRST_POLL_S = 0.05
_LAST_POLL_S = 0.5
_SLOWER = 1.3


@dataclass(frozen=True, slots=True)
class _Submitted:
    job_id: str


def submit(text: str, options: SpeechOptions = DEFAULTS, idempotency_key: str | None = None) -> Flow[str]:
    """Queue a text; once this returns it is stored.

    Args:
        text: What to speak.
        options: How.
        idempotency_key: The same key with the same text and options gives the job of before.

    Returns:
        The job's id.
    """
    headers = {"Idempotency-Key": idempotency_key} if idempotency_key else {}
    stored = yield from ask("POST", "/tts/enqueue", _Submitted, json=options.body(text), headers=headers)
    return stored.job_id


def plan(text: str, options: SpeechOptions = DEFAULTS) -> Flow[PlanInfo]:
    """What would become of a text: segments, length, time and disk. Nothing is queued."""
    return (yield from ask("POST", "/tts/plan", PlanInfo, json=options.body(text)))


def status(job_id: str) -> Flow[JobInfo]:
    """Where a job stands."""
    return (yield from ask("GET", f"/tts/{job_id}/status", JobInfo))


def job(job_id: str) -> Flow[JobInfo]:
    """Where a job stands, and what was asked for (``request``)."""
    return (yield from ask("GET", f"/tts/{job_id}", JobInfo))


def text(job_id: str) -> Flow[str]:
    """A job's text, as it was sent."""
    answer = yield Ask("GET", f"/tts/{job_id}/text")
    found: str = answer.text
    return found


def wait(job_id: str, on_progress: Callable[[JobInfo], object] | None = None) -> Flow[JobInfo]:
    """Wait until a job has ended, however it ends.

    Args:
        job_id: The job.
        on_progress: Called with each status that is seen, the last one included.
    """
    pause = _FIRST_POLL_S
    while True:
        found = yield from status(job_id)
        if on_progress:
            on_progress(found)
        if found.status.is_terminal:
            return found
        yield Pause(pause)
        pause = min(pause * _SLOWER, _LAST_POLL_S)


def jobs(
    status: JobStatus | None = None,
    limit: int = 50,
    cursor: str | None = None,
    *,
    tags: Sequence[str] = (),
    search: str = "",
) -> Flow[JobPage]:
    """Jobs, newest first; with ``tags`` only those that have them all, with ``search`` those that have its words."""
    given = {"status": status, "limit": limit, "cursor": cursor, "q": search or None}
    query: dict[str, str | list[str]] = {name: str(value) for name, value in given.items() if value is not None}
    return (yield from ask("GET", "/tts", JobPage, params=query | {"tag": list(tags)}))


def change(job_id: str, *, priority: str | None = None, tags: Sequence[str] | None = None) -> Flow[JobInfo]:
    """Give a job another priority, other tags, or both; what is None stays."""
    body = {"priority": priority, "tags": None if tags is None else list(tags)}
    given = {name: value for name, value in body.items() if value is not None}
    return (yield from ask("PATCH", f"/tts/{job_id}", JobInfo, json=given))


def keep(job_id: str, forever: bool = True) -> Flow[JobInfo]:
    """Exempt a job from expiry, or let it expire again."""
    return (yield from ask("POST", f"/tts/{job_id}/keep", JobInfo, params={"keep": str(forever).lower()}))


def cancel(job_id: str) -> Flow[None]:
    """Cancel an unfinished job; what is done of it is kept until it expires."""
    yield Ask("DELETE", f"/tts/{job_id}")


def purge(job_id: str) -> Flow[None]:
    """Delete a job, its text and its audio."""
    yield Ask("DELETE", f"/tts/{job_id}", params={"purge": "true"})


def retry(job_id: str) -> Flow[JobInfo]:
    """Queue a failed or cancelled job again; what is done of it is not made again."""
    return (yield from ask("POST", f"/tts/{job_id}/retry", JobInfo))


@dataclass(frozen=True, slots=True)
class _Redo:
    job_id: str


@dataclass(frozen=True, slots=True)
class _Redone:
    redo: _Redo


def redo(job_id: str, segment: int, *, seed: int | None = None, text: str | None = None) -> Flow[str]:
    """Make one segment of a completed job again; the job stays completed, and its result gets a new revision.

    Args:
        job_id: The job.
        segment: Which, counted from 0.
        seed: None: another one than before.
        text: Another text for this segment; None: as it is.

    Returns:
        The id of the job that makes it: wait for that one.
    """
    given = {name: value for name, value in {"seed": seed, "text": text}.items() if value is not None}
    made = yield from ask("POST", f"/tts/{job_id}/segments/{segment}/redo", _Redone, json=given)
    return made.redo.job_id


def segments(job_id: str, *, words: bool = False) -> Flow[None]:
    """All segments of a job that are planned by now, in order.

    Args:
        job_id: The job.
        words: With the time of each spoken word.
    """
    start: int | None = 0
    while start is not None:
        query: dict[str, str | list[str]] = {"start": str(start), "limit": "500", "words": str(words).lower()}
        page = yield from ask("GET", f"/tts/{job_id}/segments", SegmentPage, params=query)
        for segment in page.segments:
            yield Give(segment)
        start = page.next_start
