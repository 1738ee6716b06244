"""Deleting, as commands of the writer: first a job becomes a tombstone, then what belonged to it goes in small steps.

A book leaves 40,000 segments behind; deleting them at once would keep all other writers waiting.
"""

from collections.abc import Sequence
from dataclasses import replace

import sqlalchemy as sa
from sqlalchemy import bindparam

from rhapsode.ledger.rows import JOB_COLUMNS, NO_RESULT, to_job, to_json
from rhapsode.ledger.schema import LEFTOVER, LIVE, events, job_texts, jobs, lexicons, marks, segments, takes
from rhapsode.ledger.transaction import Transaction
from rhapsode.ledger.transitions import IS_JOB, NEXT_EVENT, cancel_job, find
from rhapsode.model import Job

STEP_ROWS = 1000
"""Rows deleted per command: about 5 ms."""

_BURY = (
    sa.update(jobs)
    .where(IS_JOB)
    .values(
        **NEXT_EVENT,
        **NO_RESULT,
        deleted=True,
        expires_at=None,
        idempotency_key=None,
        request=bindparam("bare_request"),
        error=None,
        webhook_url=None,
        tags="[]",
        warnings="[]",
    )
    .returning(jobs.c.event_seq)
)
_REDO = jobs.alias("redo")
_REDO_UNFINISHED = sa.and_(
    _REDO.c.redo_of.is_not(None),
    _REDO.c.status.in_([sa.literal_column("'queued'"), sa.literal_column("'running'")]),
    _REDO.c.deleted.is_(sa.false()),
)
_REDOS = sa.select(*JOB_COLUMNS).where(jobs.c.redo_of == bindparam("job"), LIVE)
_EXPIRED = (
    sa.select(*JOB_COLUMNS)
    .where(LIVE, jobs.c.expires_at <= bindparam("now"))
    .where(~sa.exists().where(_REDO.c.redo_of == jobs.c.id, _REDO_UNFINISHED))
    .order_by(jobs.c.expires_at)
    .limit(bindparam("limit"))
)
_LEFTOVERS = sa.select(jobs.c.id).where(LEFTOVER)
_EMPTIED = sa.update(jobs).where(jobs.c.id == bindparam("job")).values(emptied=True)
_UNREFERENCED = ~sa.exists().where(segments.c.take_digest == takes.c.digest)
_DROP_TAKE = sa.delete(takes).where(takes.c.digest == bindparam("candidate"), _UNREFERENCED).returning(takes.c.digest)

_DROP_LEXICONS = sa.delete(lexicons).where(
    lexicons.c.used_at < bindparam("before"), ~sa.exists().where(jobs.c.lexicon == lexicons.c.digest, LIVE)
)

CANDIDATES = sa.select(takes.c.digest).where(_UNREFERENCED).limit(bindparam("limit"))
"""Takes that nothing referenced when a reader looked."""


def _delete_some(table: sa.Table, key: sa.Column[int]) -> sa.Delete:
    some = sa.select(key).where(table.c.job_id == bindparam("job")).order_by(key).limit(bindparam("limit"))
    return sa.delete(table).where(table.c.job_id == bindparam("job"), key.in_(some))


_DELETIONS = (_delete_some(job_texts, job_texts.c.piece), _delete_some(segments, segments.c.idx))
_OLD_EVENTS = sa.and_(events.c.job_id == bindparam("job"), events.c.type != "job.deleted")
_PRUNE = (
    sa.delete(events)
    .where(
        events.c.pos.in_(sa.select(events.c.pos).where(_OLD_EVENTS).order_by(events.c.seq).limit(bindparam("limit")))
    )
    .returning(events.c.pos)
)
_MARK = sa.update(marks).where(marks.c.pruned_pos < bindparam("pos")).values(pruned_pos=bindparam("pos"))


def bury(tx: Transaction, job_id: str, ttl_s: float) -> Job:
    """Make a job a tombstone, cancelled first when it is unfinished, and all that made it again; the job as it was before."""
    job = find(tx, job_id)
    for one in [*map(to_job, tx.all(_REDOS, job=job_id)), job]:
        if not one.status.is_terminal:
            cancel_job(tx, one.id, f"Job {job_id} was deleted.", ttl_s)
        _make_tombstone(tx, one, "deleted")
    return job


def bury_expired(tx: Transaction, now: float, limit: int) -> Sequence[Job]:
    """Make jobs whose time is over tombstones; the jobs as they were before."""
    expired = [to_job(row) for row in tx.all(_EXPIRED, now=now, limit=limit)]
    for job in expired:
        _make_tombstone(tx, job, "expired")
    return expired


def _make_tombstone(tx: Transaction, job: Job, reason: str) -> None:
    """Keep nothing of the job that says what was spoken."""
    row = tx.one(_BURY, job=job.id, bare_request=to_json(replace(job.request, pronunciations=())))
    assert row is not None  # noqa: S101 - the caller found it in this transaction
    tx.emit(job.id, row[0], "job.deleted", {"reason": reason})


def leftovers(tx: Transaction) -> Sequence[str]:
    """Tombstones that are not empty yet: also those of a server that died before it was done."""
    return [job_id for (job_id,) in tx.all(_LEFTOVERS)]


def empty(tx: Transaction, job_id: str) -> bool:
    """Delete the next rows that belonged to a tombstone; True when none are left."""
    room = STEP_ROWS
    for deletion in _DELETIONS:
        room -= tx.count(deletion, job=job_id, limit=room)
        if room <= 0:
            return False
    pruned = tx.all(_PRUNE, job=job_id, limit=room)
    if pruned:
        tx.run(_MARK, pos=max(pos for (pos,) in pruned))
    if len(pruned) == room:
        return False
    tx.run(_EMPTIED, job=job_id)
    return True


def drop_takes(tx: Transaction, candidates: Sequence[str]) -> Sequence[str]:
    """Delete those takes that still nothing references."""
    return [digest for digest in candidates if tx.one(_DROP_TAKE, candidate=digest) is not None]


def drop_lexicons(tx: Transaction, before: float) -> int:
    """See :meth:`rhapsode.ledger.base.Ledger.drop_unreferenced_lexicons`."""
    return tx.count(_DROP_LEXICONS, before=before)
