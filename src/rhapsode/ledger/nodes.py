"""Nodes and their leases, as commands of the writer.

A job belongs to the node in whose epoch it is. A node renews the lease of all its jobs at once, with one heartbeat on the
ledger's clock. One that is silent for longer than :data:`rhapsode.ledger.base.LEASE_S` is ended by another node, which in the same transaction takes
over its jobs; from then on it can write nothing (see :meth:`rhapsode.ledger.database.Database.begin`).
"""

import math
from collections.abc import Collection, Sequence
from dataclasses import replace

import sqlalchemy as sa
from sqlalchemy import bindparam

from rhapsode.ledger.base import LEASE_S, Beat, Waiting
from rhapsode.ledger.rows import Row, engine_of
from rhapsode.ledger.schema import LIVE, RUNNING_SEGMENT, UNFINISHED, insert, jobs, nodes, secrets, segments
from rhapsode.ledger.transaction import Transaction
from rhapsode.ledger.transitions import cancel_job
from rhapsode.model import JobStatus, Priority, SegmentStatus

_LEFT = 1.0
"""A node seen before this has left by itself."""

_LONG_S = 5.0
"""A single job that waits for so long at another node would begin at once here."""

_MINE = nodes.c.epoch == bindparam("own")
_ALIVE = nodes.c.ended_at.is_(None)
_RENEW = sa.update(nodes).where(_MINE).values(seen_at=bindparam("now"))
_LEAVE = sa.update(nodes).where(_MINE).values(seen_at=0.0)
_END = (
    sa.update(nodes)
    .where(_ALIVE, ~_MINE, sa.or_(nodes.c.name == bindparam("same"), nodes.c.seen_at < bindparam("silent")))
    .values(ended_at=bindparam("now"))
    .returning(nodes.c.epoch)
)
_NODES = sa.select(sa.func.count(), sa.func.min(nodes.c.epoch)).where(_ALIVE, nodes.c.seen_at > _LEFT)

_FOREIGN = sa.and_(LIVE, UNFINISHED, jobs.c.epoch == bindparam("dead"))
_FOREIGN_ATTACHED = sa.select(jobs.c.id).where(_FOREIGN, jobs.c.attached)
_PAUSE_FOREIGN = (
    sa.update(segments)
    .where(RUNNING_SEGMENT, segments.c.job_id.in_(sa.select(jobs.c.id).where(_FOREIGN)))
    .values(status=SegmentStatus.PENDING.value)
)
_AS_WAITING = (
    jobs.c.id,
    jobs.c.owner,
    jobs.c.priority,
    jobs.c.created_at,
    jobs.c.text_chars,
    jobs.c.chars_done,
    jobs.c.status,
    jobs.c.request,
    jobs.c.event_seq,
)
_ADOPT = sa.update(jobs).where(_FOREIGN).values(epoch=bindparam("own")).returning(*_AS_WAITING)
_WAITING = sa.select(*_AS_WAITING).where(LIVE, UNFINISHED, jobs.c.epoch == bindparam("own"))

_MOVABLE = sa.and_(LIVE, jobs.c.status == JobStatus.QUEUED.value, ~jobs.c.attached)
_BUSIEST = (
    sa.select(jobs.c.epoch, sa.func.count().label("queued"), sa.func.min(jobs.c.created_at))
    .where(_MOVABLE, jobs.c.epoch != bindparam("own"))
    .group_by(jobs.c.epoch)
    .order_by(sa.desc("queued"))
    .limit(1)
)
_LAST = (
    sa.select(jobs.c.id, jobs.c.request)
    .where(_MOVABLE, jobs.c.epoch == bindparam("busy"))
    .order_by(jobs.c.priority.desc(), jobs.c.created_at.desc(), jobs.c.id.desc())
    .limit(bindparam("most"))
)
_TAKE_OVER = sa.update(jobs).where(jobs.c.id == bindparam("job")).values(epoch=bindparam("own")).returning(*_AS_WAITING)

_SECRET = sa.select(secrets.c.value).where(secrets.c.name == bindparam("of"))
_NEW_SECRET = insert(secrets).on_conflict_do_nothing()


def adopt(tx: Transaction, name: str, ttl_s: float, shared: bool) -> Sequence[Waiting]:
    """See :meth:`rhapsode.ledger.base.Ledger.adopt`: nodes that have left are dead, and those of this name; in a file, all others."""
    _end_nodes(tx, name, _LEFT if shared else math.inf, ttl_s)
    return _sorted(tx.all(_WAITING, own=tx.epoch))


def hold(tx: Transaction) -> None:
    """See :meth:`rhapsode.ledger.base.Ledger.hold`."""
    tx.run(_RENEW, own=tx.epoch, now=tx.ledger_now())


def beat(tx: Transaction, judge: bool, ttl_s: float) -> Beat:
    """See :meth:`rhapsode.ledger.base.Ledger.beat`."""
    now = tx.ledger_now()
    tx.run(_RENEW, own=tx.epoch, now=now)
    adopted = _end_nodes(tx, None, now - LEASE_S if judge else _LEFT, ttl_s)
    row = tx.one(_NODES)
    count, first = row or (1, tx.epoch)
    return Beat(adopted, count, first == tx.epoch)


def beat_anew(tx: Transaction, ttl_s: float) -> Beat:
    """The first of a new epoch, behind a lost one; what was written under it since its beginning may be jobs already."""
    found = beat(tx, False, ttl_s)
    return replace(found, adopted=_sorted(tx.all(_WAITING, own=tx.epoch)), lost=True)


def leave(tx: Transaction) -> None:
    """This node ends by itself: what is unfinished may be taken over at once."""
    tx.run(_LEAVE, own=tx.epoch)


def take_over(tx: Transaction, most: int, engines: Collection[str]) -> Sequence[Waiting]:
    """See :meth:`rhapsode.ledger.base.Ledger.take_over`."""
    row = tx.one(_BUSIEST, own=tx.epoch)
    if row is None:
        return ()
    busy, queued, oldest = row
    share = queued // 2 or int(oldest < tx.now - _LONG_S)
    moved: list[Row] = []
    for job_id, request in tx.all(_LAST, busy=busy, most=min(most, share)):
        if engine_of(request) in engines:
            moved += tx.all(_TAKE_OVER, own=tx.epoch, job=job_id)
    return _sorted(moved)


def secret(tx: Transaction, name: str, fresh: str) -> str:
    """The secret of this name, hex; ``fresh`` when there was none."""
    tx.run(_NEW_SECRET, name=name, value=fresh)
    row = tx.one(_SECRET, of=name)
    assert row is not None  # noqa: S101 - made above, if not before
    return str(row[0])


def _end_nodes(tx: Transaction, name: str | None, silent: float, ttl_s: float) -> Sequence[Waiting]:
    """End the nodes of that name, and those that were not seen since ``silent``; their jobs are this node's now."""
    moved: list[Row] = []
    for (dead,) in tx.all(_END, own=tx.epoch, same=name, silent=silent, now=tx.ledger_now()):
        for (job_id,) in tx.all(_FOREIGN_ATTACHED, dead=dead):
            cancel_job(tx, job_id, "The server that its client waited for has ended.", ttl_s)
        tx.run(_PAUSE_FOREIGN, dead=dead)
        moved += tx.all(_ADOPT, dead=dead, own=tx.epoch)
    return _sorted(moved)


def _sorted(rows: Sequence[Row]) -> Sequence[Waiting]:
    """In submit order."""
    found = [
        Waiting(id_, owner, Priority(priority), created_at, chars, done, JobStatus(status), engine_of(request), seq)
        for id_, owner, priority, created_at, chars, done, status, request, seq in rows
    ]
    return sorted(found, key=lambda job: (job.created_at, job.id))
