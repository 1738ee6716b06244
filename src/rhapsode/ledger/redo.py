"""Making one segment of a completed job again, as commands of the writer: a job of its own, then one step into the parent."""

from dataclasses import replace
from typing import Any

import sqlalchemy as sa
from sqlalchemy import bindparam

from rhapsode.errors import Conflict, NotFound
from rhapsode.ledger.base import NewJob, NewRedo
from rhapsode.ledger.quota import charge
from rhapsode.ledger.rows import JOB_COLUMNS, NO_RESULT, SELECT_JOB, job_values, result_values, segment_values, to_job
from rhapsode.ledger.schema import LIVE, UNFINISHED, jobs, segments, takes
from rhapsode.ledger.transaction import Transaction
from rhapsode.ledger.transitions import (
    IS_JOB,
    IS_RUNNING,
    NEXT_EVENT,
    OWNED,
    fenced,
    find,
    insert_job,
    refusal,
    tell_parent,
)
from rhapsode.model import Boundary, Fence, Job, JobStatus, Priority, Result, Segment

_IS_SEGMENT = sa.and_(segments.c.job_id == bindparam("job"), segments.c.idx == bindparam("index"))
_SEGMENT = sa.select(
    segments.c.text,
    segments.c.spoken,
    segments.c.boundary,
    segments.c.variant,
    segments.c.voice,
    segments.c.lead_ms,
    segments.c.speed,
).where(_IS_SEGMENT)
_PENDING = (
    sa.select(jobs.c.id)
    .join_from(jobs, segments, segments.c.job_id == jobs.c.id)
    .where(LIVE, UNFINISHED, jobs.c.redo_of == bindparam("parent"), segments.c.idx == bindparam("index"))
)
_INSERT_SEGMENT = segments.insert()
_MADE = (
    sa.select(
        segments.c.idx, segments.c.text, segments.c.spoken, takes.c.digest, takes.c.samples, takes.c.synth_seconds
    )
    .join_from(segments, takes)
    .where(segments.c.job_id == bindparam("job"))
)
_OLD_SAMPLES = sa.select(takes.c.samples).join_from(segments, takes).where(_IS_SEGMENT)
_END = (
    sa.update(jobs)
    .where(OWNED, IS_RUNNING, jobs.c.segments_done == jobs.c.segments_total)
    .values(**NEXT_EVENT, status=JobStatus.COMPLETED.value, ended_at=bindparam("now"), expires_at=bindparam("expiry"))
    .returning(*JOB_COLUMNS)
)
_REPLACE = (
    sa.update(segments)
    .where(_IS_SEGMENT)
    .values(
        text=bindparam("new_text"),
        spoken=bindparam("new_spoken"),
        take_digest=bindparam("digest"),
        variant=segments.c.variant + 1,
    )
)
_REVISE = (
    sa.update(jobs)
    .where(IS_JOB, jobs.c.result_revision == bindparam("revision"))
    .values(
        **NEXT_EVENT,
        **{column: bindparam(f"new_{column}") for column in NO_RESULT},
        samples_done=jobs.c.samples_done + bindparam("more_samples"),
        synth_seconds=jobs.c.synth_seconds + bindparam("seconds"),
    )
    .returning(*JOB_COLUMNS)
)


def submit_redo(tx: Transaction, new: NewRedo) -> Job:
    """See :meth:`rhapsode.ledger.base.Ledger.submit_redo`."""
    parent = find(tx, new.parent_id)
    if parent.status is not JobStatus.COMPLETED or parent.result is None:
        raise Conflict(
            f"Job {parent.id} is {parent.status}: only segments of completed jobs, with a result, can be made again."
        )
    row = tx.one(_SEGMENT, job=parent.id, index=new.segment)
    if row is None:
        raise NotFound(f"Job {parent.id} has no segment {new.segment}; it has {parent.segments_total}.", "n")
    text, spoken, boundary, variant, voice, lead_ms, speed = row
    if (pending := tx.one(_PENDING, parent=parent.id, index=new.segment)) is not None:
        raise Conflict(f"Segment {new.segment} of job {parent.id} is being made again just now, by job {pending[0]}.")
    if new.text is not None:
        text, spoken = new.text, new.spoken
    request = parent.request if new.seed is None else replace(parent.request, seed=new.seed)
    job = NewJob(new.id, parent.owner, request, text, Priority.INTERACTIVE, limits=new.limits)
    charge(tx, job)
    values: dict[str, Any] = job_values(job, tx.epoch, tx.now) | {
        "redo_of": parent.id,
        "redo_revision": parent.result.revision,
        "plan_done": True,
        "planned_chars": len(text),
        "segments_total": 1,
    }
    made = insert_job(tx, values, text)
    segment = Segment(new.segment, 0, len(text), text, spoken, Boundary(boundary), voice, lead_ms, speed)
    # a given seed stands for itself; else the next variant of the parent's
    tx.run(
        _INSERT_SEGMENT,
        **segment_values(made.id, segment, len(text)) | {"variant": variant + 1 if new.seed is None else 0},
    )
    tell_parent(tx, made, "redo.queued", {})
    return made


def complete_redo(tx: Transaction, fence: Fence, revision: int, result: Result, ttl_s: float) -> Job | None:
    """See :meth:`rhapsode.ledger.base.Ledger.complete_redo`."""
    row = tx.one(SELECT_JOB, job=fence.job_id)
    parent_id = to_job(row).redo_of if row else None
    row = tx.one(SELECT_JOB, job=parent_id)
    before = to_job(row) if row else None
    if before is not None and not before.deleted and before.result and before.result.revision != revision:
        return None
    ended = tx.one(_END, **fenced(fence), now=tx.now, expiry=tx.now + ttl_s)
    if ended is None or parent_id is None:
        raise refusal(fence, "its take")
    made = tx.one(_MADE, job=fence.job_id)
    assert made is not None  # noqa: S101 - its only segment is done
    index, text, spoken, digest, samples, seconds = made
    old = tx.one(_OLD_SAMPLES, job=parent_id, index=index)
    tx.run(_REPLACE, job=parent_id, index=index, new_text=text, new_spoken=spoken, digest=digest)
    revised = tx.one(
        _REVISE,
        job=parent_id,
        revision=revision,
        more_samples=samples - (old[0] if old else 0),
        seconds=seconds,
        **{f"new_{column}": value for column, value in result_values(result).items()},
    )
    if revised is None:
        raise refusal(fence, "its take")
    parent, job = to_job(revised), to_job(ended)
    data = {"segment": index, "job_id": job.id, "revision": result.revision, "result": result.name}
    tx.emit(parent.id, parent.event_seq, "result.revised", data | {"size": result.size, "samples": result.samples})
    tx.emit(job.id, job.event_seq, "job.completed", {"revision": result.revision}, job)
    return parent
