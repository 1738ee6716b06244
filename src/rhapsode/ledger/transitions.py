"""Transitions of jobs, as commands of the writer. Each is compare-and-set, with its event in the same transaction."""

from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy import bindparam

from rhapsode.errors import Conflict, Gone, InvalidInput, NotFound, Refused
from rhapsode.ledger.base import NewJob
from rhapsode.ledger.batch_end import job_ended, job_revived
from rhapsode.ledger.outbox_sql import record_job
from rhapsode.ledger.quota import charge, require_place
from rhapsode.ledger.rows import (
    JOB_COLUMNS,
    NO_RESULT,
    SELECT_JOB,
    job_values,
    result_values,
    to_job,
    to_json,
)
from rhapsode.ledger.schema import (
    LIVE,
    RETRIABLE,
    RUNNING_SEGMENT,
    TEXT_PIECE,
    UNFINISHED,
    insert,
    job_texts,
    jobs,
    lexicons,
    segments,
)
from rhapsode.ledger.transaction import Transaction
from rhapsode.model import NO_LIMITS, Fence, Job, JobStatus, Limits, Priority, Result, SegmentStatus

IS_JOB = sa.and_(jobs.c.id == bindparam("job"), LIVE)
OWNED = sa.and_(IS_JOB, jobs.c.epoch == bindparam("fence_epoch"), jobs.c.run == bindparam("fence_run"))
"""The caller still holds the job: compare with :func:`fenced`."""
IS_RUNNING = jobs.c.status == JobStatus.RUNNING.value
NEXT_EVENT: Mapping[str, Any] = {"event_seq": jobs.c.event_seq + 1}

TOUCH_STEP_S = 60.0
"""Reading a result extends its life at most this often, seconds."""

BY_KEY = sa.select(*JOB_COLUMNS).where(
    jobs.c.owner == bindparam("key_owner"),
    jobs.c.idempotency_key == bindparam("key"),
    jobs.c.idempotency_key.is_not(None),
)
FINGERPRINT = jobs.c.keys().index("fingerprint")
_INSERT = jobs.insert()
_USE_LEXICON = (
    sa.update(lexicons)
    .where(lexicons.c.digest == bindparam("digest"))
    .values(used_at=bindparam("now"))
    .returning(lexicons.c.digest)
)
_INSERT_LEXICON = insert(lexicons).on_conflict_do_nothing()
_START = (
    sa.update(jobs)
    .where(OWNED, jobs.c.status == JobStatus.QUEUED.value)
    .values(**NEXT_EVENT, status=JobStatus.RUNNING.value, started_at=bindparam("now"))
    .returning(*JOB_COLUMNS)
)
_EXPIRY = sa.case((jobs.c.kept, sa.null()), else_=bindparam("expiry"))
_COMPLETE = (
    sa.update(jobs)
    .where(OWNED, IS_RUNNING, jobs.c.plan_done, jobs.c.segments_done == jobs.c.segments_total)
    .values(
        **NEXT_EVENT,
        **{column: bindparam(f"new_{column}") for column in NO_RESULT},
        status=JobStatus.COMPLETED.value,
        ended_at=bindparam("now"),
        expires_at=_EXPIRY,
    )
    .returning(*JOB_COLUMNS)
)
_FAIL = (
    sa.update(jobs)
    .where(OWNED, UNFINISHED)
    .values(
        **NEXT_EVENT,
        status=JobStatus.FAILED.value,
        error=bindparam("cause"),
        failed_segment=bindparam("segment"),
        ended_at=bindparam("now"),
        expires_at=_EXPIRY,
    )
    .returning(*JOB_COLUMNS)
)
_CANCEL = (
    sa.update(jobs)
    .where(IS_JOB, UNFINISHED)
    .values(**NEXT_EVENT, status=JobStatus.CANCELLED.value, ended_at=bindparam("now"), expires_at=_EXPIRY)
    .returning(*JOB_COLUMNS)
)
_RETRY = (
    sa.update(jobs)
    .where(IS_JOB, RETRIABLE)
    .values(
        **NEXT_EVENT,
        **NO_RESULT,
        status=JobStatus.QUEUED.value,
        run=jobs.c.run + 1,
        epoch=bindparam("own_epoch"),
        started_at=None,
        ended_at=None,
        expires_at=None,
        error=None,
        failed_segment=None,
    )
    .returning(*JOB_COLUMNS)
)
_KEEP = (
    sa.update(jobs)
    .where(IS_JOB)
    .values(
        **NEXT_EVENT,
        kept=bindparam("keep", type_=sa.Boolean),
        expires_at=sa.case(
            (sa.or_(bindparam("keep", type_=sa.Boolean), jobs.c.ended_at.is_(None)), sa.null()),
            else_=bindparam("expiry"),
        ),
    )
    .returning(*JOB_COLUMNS)
)
_CHANGE = (
    sa.update(jobs)
    .where(IS_JOB)
    .values(**NEXT_EVENT, priority=bindparam("new_priority"), tags=bindparam("new_tags"))
    .returning(*JOB_COLUMNS)
)
_COUNT_EVENT = sa.update(jobs).where(IS_JOB).values(**NEXT_EVENT).returning(jobs.c.event_seq)
_ONLY_SEGMENT = sa.select(segments.c.idx).where(segments.c.job_id == bindparam("job"))
_TOUCH = sa.update(jobs).where(IS_JOB, jobs.c.expires_at < bindparam("expiry")).values(expires_at=bindparam("expiry"))
_WARN = (
    sa.update(jobs).where(IS_JOB).values(**NEXT_EVENT, warnings=bindparam("all_warnings")).returning(jobs.c.event_seq)
)
_PAUSE_SEGMENTS = (
    sa.update(segments)
    .where(segments.c.job_id == bindparam("job"), RUNNING_SEGMENT)
    .values(status=SegmentStatus.PENDING.value)
)
_RENEW_SEGMENTS = (
    sa.update(segments)
    .where(segments.c.job_id == bindparam("job"), segments.c.status != SegmentStatus.DONE.value)
    .values(status=SegmentStatus.PENDING.value, failures=0, error=None)
)


def fenced(fence: Fence) -> dict[str, Any]:
    """The parameters of :data:`OWNED`."""
    return {"job": fence.job_id, "fence_epoch": fence.epoch, "fence_run": fence.run}


def refusal(fence: Fence, what: str) -> Refused:
    """The write lost: the job went on without its author."""
    return Refused(f"Job {fence.job_id}, run {fence.run}: {what} was refused, because the job has moved on.")


def find(tx: Transaction, job_id: str) -> Job:
    """The job as it stands.

    Raises:
        NotFound, Gone: No such job; a tombstone.
    """
    row = tx.one(SELECT_JOB, job=job_id)
    if row is None:
        raise NotFound(f"There is no job {job_id}.", "job_id")
    job = to_job(row)
    if job.deleted:
        raise Gone(f"Job {job_id} was deleted or has expired.")
    return job


def require_same(key: str, known: str, fingerprint: str) -> None:
    """Refuse another request under a key of before.

    Raises:
        InvalidInput: Their fingerprints differ.
    """
    if known != fingerprint:
        raise InvalidInput(
            f"Idempotency-Key {key!r} was used before with another body: send a new key.", "Idempotency-Key"
        )


def submit(tx: Transaction, new: NewJob) -> tuple[Job, bool]:
    """See :meth:`rhapsode.ledger.base.Ledger.submit`."""
    if new.idempotency_key is not None:
        row = tx.one(BY_KEY, key_owner=new.owner, key=new.idempotency_key)
        if row is not None:
            require_same(new.idempotency_key, row[FINGERPRINT], new.fingerprint)
            return to_job(row), False
    charge(tx, new)
    if new.request.lexicon is not None and new.dictionary is not None:
        _keep_dictionary(tx, new.request.lexicon, new.dictionary)
    return insert_job(tx, job_values(new, tx.epoch, tx.now), new.text), True


def _keep_dictionary(tx: Transaction, digest: str, content: str) -> None:
    if tx.one(_USE_LEXICON, digest=digest, now=tx.now) is None:
        tx.run(_INSERT_LEXICON, digest=digest, content=content, used_at=tx.now)


def insert_job(tx: Transaction, values: Mapping[str, Any], text: str) -> Job:
    """Insert the row of a job and its text; event ``job.queued``.

    Raises:
        InvalidInput: The text is no Unicode.
    """
    tx.run(_INSERT, **values)
    try:
        tx.insert(
            job_texts,
            [
                {"job_id": values["id"], "piece": piece, "text": text[start : start + TEXT_PIECE]}
                for piece, start in enumerate(range(0, len(text), TEXT_PIECE))
            ],
        )
    except UnicodeEncodeError as error:
        raise InvalidInput("text must be valid Unicode, without lone surrogates.", "text") from error
    tx.emit(values["id"], 1, "job.queued", {})
    return to_job(tuple(values[column.key] for column in JOB_COLUMNS))


def start_job(tx: Transaction, fence: Fence) -> Job:
    """See :meth:`rhapsode.ledger.base.Ledger.start_job`."""
    row = tx.one(_START, **fenced(fence), now=tx.now)
    if row is not None:
        job = to_job(row)
        tx.emit(job.id, job.event_seq, "job.started", {"run": job.run})
        record_job(tx, job, "job.started")
        return job
    row = tx.one(SELECT_JOB, job=fence.job_id)
    if row is None or (job := to_job(row)).fence != fence or job.status is not JobStatus.RUNNING or job.deleted:
        raise refusal(fence, "its start")
    return job


def complete_job(tx: Transaction, fence: Fence, result: Result, ttl_s: float) -> Job:
    """See :meth:`rhapsode.ledger.base.Ledger.complete_job`."""
    columns = {f"new_{column}": value for column, value in result_values(result).items()}
    row = tx.one(_COMPLETE, **fenced(fence), **columns, now=tx.now, expiry=tx.now + ttl_s)
    if row is None:
        raise refusal(fence, "its result")
    job = to_job(row)
    data = {"result": result.name, "format": result.format, "size": result.size, "samples": result.samples}
    tx.emit(job.id, job.event_seq, "job.completed", {**data, "rate": result.rate}, job)
    record_job(tx, job, "job.completed")
    job_ended(tx, job)
    return job


def fail_job(tx: Transaction, fence: Fence, error: str, segment: int | None, ttl_s: float) -> Job:
    """See :meth:`rhapsode.ledger.base.Ledger.fail_job`."""
    row = tx.one(_FAIL, **fenced(fence), cause=error, segment=segment, now=tx.now, expiry=tx.now + ttl_s)
    if row is None:
        raise refusal(fence, "its failure")
    job = to_job(row)
    tx.run(_PAUSE_SEGMENTS, job=job.id)
    tx.emit(job.id, job.event_seq, "job.failed", {"error": error, "segment": segment}, job)
    record_job(tx, job, "job.failed")
    tell_parent(tx, job, "redo.failed", {"error": error})
    job_ended(tx, job)
    return job


def cancel_job(tx: Transaction, job_id: str, reason: str, ttl_s: float) -> Job:
    """See :meth:`rhapsode.ledger.base.Ledger.cancel_job`."""
    row = tx.one(_CANCEL, job=job_id, now=tx.now, expiry=tx.now + ttl_s)
    if row is None:
        job = find(tx, job_id)
        if job.status is not JobStatus.CANCELLED:
            raise Conflict(f"Job {job_id} is {job.status} and can no longer be cancelled.")
        return job
    job = to_job(row)
    tx.run(_PAUSE_SEGMENTS, job=job_id)
    tx.emit(job_id, job.event_seq, "job.cancelled", {"reason": reason}, job)
    record_job(tx, job, "job.cancelled")
    tell_parent(tx, job, "redo.cancelled", {})
    job_ended(tx, job)
    return job


def tell_parent(tx: Transaction, job: Job, type_: str, data: Mapping[str, object]) -> None:
    """An event of the job one of whose segments this one makes again; nothing for other jobs."""
    if job.redo_of is None or (row := tx.one(_COUNT_EVENT, job=job.redo_of)) is None:
        return
    (found,) = tx.all(_ONLY_SEGMENT, job=job.id)
    tx.emit(job.redo_of, row[0], type_, {"segment": found[0], "job_id": job.id, **data})


def retry_job(tx: Transaction, job_id: str, limits: Limits = NO_LIMITS) -> Job:
    """See :meth:`rhapsode.ledger.base.Ledger.retry_job`."""
    before = find(tx, job_id)
    if before.status not in (JobStatus.FAILED, JobStatus.CANCELLED):
        raise Conflict(f"Job {job_id} is {before.status}: only failed and cancelled jobs can be retried.")
    if before.redo_of is not None:
        find(tx, before.redo_of)  # what it would go into
    require_place(tx, before.owner, limits)
    row = tx.one(_RETRY, job=job_id, own_epoch=tx.epoch)
    assert row is not None  # noqa: S101 - found above, in this transaction
    job = to_job(row)
    tx.run(_RENEW_SEGMENTS, job=job_id)
    tx.emit(job_id, job.event_seq, "job.retried", {"run": job.run})
    job_revived(tx, job)
    return job


def keep_job(tx: Transaction, job_id: str, kept: bool, ttl_s: float) -> Job:
    """See :meth:`rhapsode.ledger.base.Ledger.keep_job`. Letting go of a job gives it a whole new time to live."""
    job = find(tx, job_id)
    if job.kept == kept:
        return job
    row = tx.one(_KEEP, job=job_id, keep=kept, expiry=tx.now + ttl_s)
    assert row is not None  # noqa: S101 - found above, in this transaction
    job = to_job(row)
    tx.emit(job_id, job.event_seq, "job.kept", {"kept": kept})
    return job


def change_job(tx: Transaction, job_id: str, priority: Priority | None, tags: Sequence[str] | None) -> Job:
    """See :meth:`rhapsode.ledger.base.Ledger.change_job`."""
    job = find(tx, job_id)
    new: dict[str, Any] = {}
    if priority is not None and priority is not job.priority:
        if job.status.is_terminal:
            raise Conflict(f"Job {job_id} is {job.status}: its priority means nothing any more.")
        new["priority"] = priority.name.lower()
    if tags is not None and tuple(tags) != job.tags:
        new["tags"] = list(tags)
    if not new:
        return job
    row = tx.one(
        _CHANGE,
        job=job_id,
        new_priority=int(job.priority if priority is None else priority),
        new_tags=to_json(list(job.tags if tags is None else tags)),
    )
    assert row is not None  # noqa: S101 - found above, in this transaction
    job = to_job(row)
    tx.emit(job_id, job.event_seq, "job.updated", new)
    return job


def touch_result(tx: Transaction, job_id: str, ttl_s: float) -> None:
    """See :meth:`rhapsode.ledger.base.Ledger.touch_result`."""
    tx.run(_TOUCH, job=job_id, expiry=tx.now + ttl_s)


def warn_job(tx: Transaction, job_id: str, warnings: Sequence[str]) -> None:
    """See :meth:`rhapsode.ledger.base.Ledger.warn_job`."""
    add_warnings(tx, find(tx, job_id), warnings)


def add_warnings(tx: Transaction, job: Job, warnings: Sequence[str]) -> None:
    """Store the warnings that the job does not have yet, with their event."""
    fresh = [warning for warning in dict.fromkeys(warnings) if warning not in job.warnings]
    if not fresh:
        return
    row = tx.one(_WARN, job=job.id, all_warnings=to_json([*job.warnings, *fresh]))
    assert row is not None  # noqa: S101 - the caller found it in this transaction
    tx.emit(job.id, row[0], "job.warning", {"warnings": fresh})
