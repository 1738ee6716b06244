"""Rows of the ledger ↔ values of the model."""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import msgspec
import sqlalchemy as sa

from rhapsode.ledger.base import NewJob
from rhapsode.ledger.schema import jobs, segments, takes
from rhapsode.model import (
    AudioFormat,
    Boundary,
    Event,
    Job,
    JobStatus,
    Priority,
    Result,
    Segment,
    SegmentState,
    SegmentStatus,
    SpeechRequest,
    Take,
    WordTiming,
)

Row = Sequence[Any]

JOB_COLUMNS = tuple(jobs.c)
SELECT_JOB = sa.select(*JOB_COLUMNS).where(jobs.c.id == sa.bindparam("job"))
_BLANK_JOB = dict.fromkeys(jobs.c.keys())
TAKE_COLUMNS = (takes.c.digest, takes.c.samples, takes.c.rate, takes.c.size, takes.c.synth_seconds, takes.c.words)
SEGMENT_COLUMNS = (
    segments.c.idx,
    segments.c.start,
    segments.c.end,
    segments.c.text,
    segments.c.spoken,
    segments.c.boundary,
    segments.c.status,
    segments.c.attempt,
    segments.c.failures,
    segments.c.variant,
    segments.c.error,
    segments.c.voice,
    segments.c.lead_ms,
    segments.c.speed,
)


class _Named(msgspec.Struct):
    """All that is read of a request when only its engine is wanted."""

    engine: str


_request = msgspec.json.Decoder(SpeechRequest)
_named = msgspec.json.Decoder(_Named)
_strings = msgspec.json.Decoder(tuple[str, ...])
_words = msgspec.json.Decoder(list[tuple[str, int, int]])
_data = msgspec.json.Decoder(dict[str, Any])


def to_json(value: object) -> str:
    """Compact JSON of a plain value or a dataclass of the model."""
    return msgspec.json.encode(value).decode()


@lru_cache(maxsize=256)
def _to_request(json: str) -> SpeechRequest:
    """A job's request is read with each of its transitions but never changes."""
    return _request.decode(json)


def engine_of(json: str) -> str:
    """The engine that a stored request names."""
    return _named.decode(json).engine


def to_strings(json: str) -> tuple[str, ...]:
    """A JSON list of strings, as warnings and tags are stored."""
    return () if json == "[]" else _strings.decode(json)


def job_values(new: NewJob, epoch: int, now: float) -> dict[str, Any]:
    """The row of a job that has just been submitted."""
    return {
        **_BLANK_JOB,
        "id": new.id,
        "owner": new.owner,
        "status": JobStatus.QUEUED.value,
        "request": to_json(new.request),
        "priority": int(new.priority),
        "created_at": now,
        "attached": new.attached,
        "run": 1,
        "epoch": epoch,
        "text_chars": len(new.text),
        "planned_chars": 0,
        "plan_done": False,
        "plan_cursor": "",
        "segments_total": 0,
        "segments_done": 0,
        "chars_done": 0,
        "samples_done": 0,
        "rate": 0,
        "synth_seconds": 0.0,
        "event_seq": 1,
        "kept": False,
        "deleted": False,
        "emptied": False,
        "warnings": to_json(new.warnings),
        "tags": to_json(new.tags),
        "idempotency_key": new.idempotency_key,
        "fingerprint": new.fingerprint,
        "voice": new.request.voice,
        "reference": new.request.reference,
        "batch_id": new.batch_id,
        "custom_id": new.custom_id,
        "webhook_url": new.webhook_url,
        "lexicon": new.request.lexicon,
    }


def to_job(row: Row) -> Job:
    """A job from a row of :data:`JOB_COLUMNS`."""
    (
        id_, owner, status, request, priority, created_at, attached, run, epoch,
        text_chars, planned_chars, plan_done, plan_cursor, segments_total, segments_done, chars_done,
        samples_done, rate, synth_seconds, event_seq, started_at, first_audio_at, ended_at, expires_at,
        kept, deleted, _emptied, error, failed_segment,
        result_name, result_format, result_size, result_digest, result_samples, result_rate, result_revision,
        warnings, tags, _idempotency_key, _fingerprint,
        _voice, _reference, batch_id, custom_id, webhook_url, redo_of, redo_revision, _lexicon,
    ) = row  # fmt: skip
    result = None
    if result_name is not None:
        result = Result(
            name=result_name,
            format=AudioFormat(result_format),
            size=result_size,
            digest=result_digest,
            samples=result_samples,
            rate=result_rate,
            revision=result_revision,
        )
    return Job(
        id=id_,
        owner=owner,
        status=JobStatus(status),
        request=_to_request(request),
        priority=Priority(priority),
        created_at=created_at,
        attached=bool(attached),
        run=run,
        epoch=epoch,
        text_chars=text_chars,
        planned_chars=planned_chars,
        plan_done=bool(plan_done),
        plan_cursor=plan_cursor,
        segments_total=segments_total,
        segments_done=segments_done,
        chars_done=chars_done,
        samples_done=samples_done,
        rate=rate,
        synth_seconds=synth_seconds,
        event_seq=event_seq,
        started_at=started_at,
        first_audio_at=first_audio_at,
        ended_at=ended_at,
        expires_at=expires_at,
        kept=bool(kept),
        deleted=bool(deleted),
        error=error,
        failed_segment=failed_segment,
        result=result,
        warnings=to_strings(warnings),
        tags=to_strings(tags),
        batch_id=batch_id,
        custom_id=custom_id,
        webhook_url=webhook_url,
        redo_of=redo_of,
        redo_revision=redo_revision,
    )


def result_values(result: Result) -> dict[str, Any]:
    """The result's columns in the job's row."""
    return {
        "result_name": result.name,
        "result_format": result.format.value,
        "result_size": result.size,
        "result_digest": result.digest,
        "result_samples": result.samples,
        "result_rate": result.rate,
        "result_revision": result.revision,
    }


NO_RESULT: Mapping[str, None] = {
    "result_name": None,
    "result_format": None,
    "result_size": None,
    "result_digest": None,
    "result_samples": None,
    "result_rate": None,
    "result_revision": None,
}


def segment_values(job_id: str, segment: Segment, chars: int) -> dict[str, Any]:
    """The row of a newly planned segment that counts for ``chars`` characters of progress."""
    return {
        "job_id": job_id,
        "idx": segment.index,
        "start": segment.start,
        "end": segment.end,
        "chars": chars,
        "text": segment.text,
        "spoken": segment.spoken,
        "boundary": segment.boundary.value,
        "status": SegmentStatus.PENDING.value,
        "attempt": 0,
        "failures": 0,
        "variant": 0,
        "take_digest": None,
        "error": None,
        "voice": segment.voice,
        "lead_ms": segment.lead_ms,
        "speed": segment.speed,
    }


def to_segment_state(row: Row) -> SegmentState:
    """A segment from a row of :data:`SEGMENT_COLUMNS`, with :data:`TAKE_COLUMNS` behind them when they were joined."""
    (
        index, start, end, text, spoken, boundary, status, attempt, failures, variant, error, voice, lead_ms, speed,
    ) = row[: len(SEGMENT_COLUMNS)]  # fmt: skip
    take = row[len(SEGMENT_COLUMNS) :]
    return SegmentState(
        segment=Segment(index, start, end, text, spoken, Boundary(boundary), voice, lead_ms, speed),
        status=SegmentStatus(status),
        attempt=attempt,
        failures=failures,
        variant=variant,
        take=to_take(take) if take and take[0] is not None else None,
        error=error,
    )


def take_values(take: Take, now: float) -> dict[str, Any]:
    """The row of a take."""
    words = to_json([(word.text, word.start, word.end) for word in take.words]) if take.words else "[]"
    return {
        "digest": take.digest,
        "samples": take.samples,
        "rate": take.rate,
        "size": take.size,
        "synth_seconds": take.synth_seconds,
        "words": words,
        "created_at": now,
    }


def to_take(row: Row) -> Take:
    """A take from a row of :data:`TAKE_COLUMNS`."""
    digest, samples, rate, size, synth_seconds, words = row
    timings = () if words == "[]" else tuple(WordTiming(*word) for word in _words.decode(words))
    return Take(digest, samples, rate, size, synth_seconds, timings)


def to_event(row: Row) -> Event:
    """An event from a row of the ``events`` table."""
    pos, job_id, seq, type_, at, data = row
    return Event(job_id, seq, type_, at, _data.decode(data), pos)
