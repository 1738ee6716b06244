"""A batch ends in the transaction in which its last job ends, and begins again when one of them is retried."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import sqlalchemy as sa
from sqlalchemy import bindparam

from rhapsode.ledger.batches import request_counts
from rhapsode.ledger.outbox_sql import record_batch
from rhapsode.ledger.rows import Row
from rhapsode.ledger.schema import LIVE, UNFINISHED, batches, jobs
from rhapsode.ledger.transaction import Transaction
from rhapsode.model import Job, JobStatus

_IN_BATCH = jobs.c.batch_id == bindparam("batch")
_IS_BATCH = batches.c.id == bindparam("batch")
_UNFINISHED = sa.select(jobs.c.id).where(_IN_BATCH, LIVE, UNFINISHED).limit(1)
_END = (
    sa.update(batches)
    .where(_IS_BATCH, batches.c.ended_at.is_(None))
    .values(ended_at=bindparam("now"))
    .returning(batches.c.owner, batches.c.webhook_url, batches.c.total)
)
_REOPEN = sa.update(batches).where(_IS_BATCH).values(ended_at=None)

COUNTS = (
    sa.select(
        jobs.c.status, jobs.c.deleted, sa.func.count(), sa.func.sum(jobs.c.chars_done), sa.func.sum(jobs.c.text_chars)
    )
    .where(_IN_BATCH)
    .group_by(jobs.c.status, jobs.c.deleted)
)


@dataclass(slots=True)
class BatchCounts:
    """What has become of a batch's jobs."""

    jobs: dict[JobStatus, int] = field(default_factory=dict)
    deleted: int = 0
    chars_done: int = 0
    text_chars: int = 0


def counts_of(rows: Sequence[Row]) -> BatchCounts:
    """The rows of :data:`COUNTS`, added up."""
    found = BatchCounts()
    for status, deleted, count, done, chars in rows:
        if deleted:
            found.deleted += count
        else:
            found.jobs[JobStatus(status)] = count
            found.chars_done += done
            found.text_chars += chars
    return found


def job_ended(tx: Transaction, job: Job) -> None:
    """Note the end of the batch when this was its last unfinished job, and have its owner told."""
    if job.batch_id is None or tx.one(_UNFINISHED, batch=job.batch_id) is not None:
        return
    row = tx.one(_END, batch=job.batch_id, now=tx.now)
    if row is None:
        return
    owner, webhook_url, total = row
    counts = counts_of(tx.all(COUNTS, batch=job.batch_id))
    data = {
        "batch_id": job.batch_id,
        "status": "completed",
        "request_counts": request_counts(counts.jobs, counts.deleted, total),
    }
    record_batch(tx, owner, job.batch_id, webhook_url, data)


def job_revived(tx: Transaction, job: Job) -> None:
    """A job that had ended is queued again: so its batch has not ended."""
    if job.batch_id is not None:
        tx.run(_REOPEN, batch=job.batch_id)
