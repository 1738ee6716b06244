"""What the ledger is asked: functions of a reading connection."""

from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy import bindparam

from rhapsode.errors import NotFound
from rhapsode.ledger.base import Counts
from rhapsode.ledger.retention import CANDIDATES
from rhapsode.ledger.rows import (
    SEGMENT_COLUMNS,
    SELECT_JOB,
    TAKE_COLUMNS,
    to_event,
    to_job,
    to_segment_state,
)
from rhapsode.ledger.schema import (
    LIVE,
    TEXT_PIECE,
    UNFINISHED,
    events,
    job_texts,
    jobs,
    lexicons,
    marks,
    segments,
    takes,
)
from rhapsode.ledger.transitions import BY_KEY, FINGERPRINT, require_same
from rhapsode.model import Event, Job, JobStatus, SegmentState, SegmentStatus

IN_LIMIT = 500
"""Values per IN list."""

_TEXT = (
    sa.select(job_texts.c.text)
    .where(job_texts.c.job_id == bindparam("job"), job_texts.c.piece.between(bindparam("first"), bindparam("last")))
    .order_by(job_texts.c.piece)
)
_SEGMENTS = (
    sa.select(*SEGMENT_COLUMNS, *TAKE_COLUMNS)
    .join_from(segments, takes, isouter=True)
    .where(segments.c.job_id == bindparam("job"), segments.c.idx >= bindparam("first"))
    .order_by(segments.c.idx)
    .limit(bindparam("limit"))
)
_EVENTS = (
    sa.select(events)
    .where(events.c.job_id == bindparam("job"), events.c.seq > bindparam("after"))
    .order_by(events.c.seq)
    .limit(bindparam("limit"))
)
_SCAN = 5_000
"""Events looked at in one go for those of one owner."""
_ALL_EVENTS = sa.select(events).where(events.c.pos > bindparam("after")).order_by(events.c.pos)
_SCANNED = _ALL_EVENTS.limit(_SCAN).subquery()
_OWN_EVENTS = (
    sa.select(*_SCANNED.c, jobs.c.owner)
    .join_from(_SCANNED, jobs, _SCANNED.c.job_id == jobs.c.id)
    .order_by(_SCANNED.c.pos)
)
_EVENT_MARKS = sa.select(marks.c.newest_pos, marks.c.pruned_pos)
_COUNTS = sa.select(jobs.c.status, sa.func.count()).where(LIVE).group_by(jobs.c.status)
_WAITING_CHARS = sa.select(sa.func.coalesce(sa.func.sum(jobs.c.text_chars - jobs.c.chars_done), 0)).where(
    LIVE, UNFINISHED
)
_LEXICON = sa.select(lexicons.c.content).where(lexicons.c.digest == bindparam("digest"))
_IS_TOUCHABLE = sa.select(jobs.c.id).where(jobs.c.id == bindparam("job"), LIVE, jobs.c.expires_at < bindparam("due"))


def submitted(connection: sa.Connection, owner: str, key: str, fingerprint: str) -> Job | None:
    """See :meth:`rhapsode.ledger.base.Ledger.submitted`."""
    row = connection.execute(BY_KEY, {"key_owner": owner, "key": key}).first()
    if row is None:
        return None
    require_same(key, row[FINGERPRINT], fingerprint)
    return to_job(tuple(row))


def get_job(connection: sa.Connection, job_id: str) -> Job | None:
    """See :meth:`rhapsode.ledger.base.Ledger.get_job`."""
    row = connection.execute(SELECT_JOB, {"job": job_id}).first()
    return None if row is None else to_job(row)


def read_text(connection: sa.Connection, job_id: str, offset: int, length: int) -> str:
    """See :meth:`rhapsode.ledger.base.Ledger.read_text`."""
    first = offset // TEXT_PIECE
    pieces = connection.execute(
        _TEXT, {"job": job_id, "first": first, "last": (offset + length - 1) // TEXT_PIECE}
    ).scalars()
    start = offset - first * TEXT_PIECE
    return "".join(pieces)[start : start + length]


def lexicon(connection: sa.Connection, digest: str) -> str:
    """See :meth:`rhapsode.ledger.base.Ledger.lexicon`."""
    content = connection.execute(_LEXICON, {"digest": digest}).scalar()
    if content is None:
        raise NotFound(f"There is no dictionary {digest}.")
    return str(content)


def list_segments(
    connection: sa.Connection, job_id: str, start: int, limit: int, status: SegmentStatus | None
) -> Sequence[SegmentState]:
    """See :meth:`rhapsode.ledger.base.Ledger.segments`."""
    query = _SEGMENTS if status is None else _SEGMENTS.where(segments.c.status == status.value)
    rows = connection.execute(query, {"job": job_id, "first": start, "limit": limit})
    return [to_segment_state(row) for row in rows]


def list_events(connection: sa.Connection, job_id: str, after: int, limit: int) -> Sequence[Event]:
    """See :meth:`rhapsode.ledger.base.Ledger.events`."""
    rows = connection.execute(_EVENTS, {"job": job_id, "after": after, "limit": limit})
    return [to_event(row) for row in rows]


def events_of_all(connection: sa.Connection, owner: str | None, after: int, limit: int) -> tuple[Sequence[Event], int]:
    """See :meth:`rhapsode.ledger.base.Ledger.events_of_all`."""
    found: list[Event] = []
    for *row, of in connection.execute(_OWN_EVENTS, {"after": after}):
        event = to_event(row)
        if owner is None or of == owner:
            found.append(event)
        after = event.pos
        if len(found) == limit:
            break
    return found, after


def event_marks(connection: sa.Connection) -> tuple[int, int]:
    """See :meth:`rhapsode.ledger.base.Ledger.event_marks`."""
    newest, pruned = connection.execute(_EVENT_MARKS).one()
    return newest, pruned


def unreferenced_takes(connection: sa.Connection, limit: int) -> Sequence[str]:
    """Digests of takes that no segment references at this moment."""
    return connection.execute(CANDIDATES, {"limit": limit}).scalars().all()


def known_takes(connection: sa.Connection, digests: Sequence[str]) -> frozenset[str]:
    """See :meth:`rhapsode.ledger.base.Ledger.known_takes`."""
    return _known(connection, sa.select(takes.c.digest), takes.c.digest, digests)


def known_results(connection: sa.Connection, names: Sequence[str]) -> frozenset[str]:
    """See :meth:`rhapsode.ledger.base.Ledger.known_results`."""
    return _known(connection, sa.select(jobs.c.result_name).where(LIVE), jobs.c.result_name, names)


def known_clips(connection: sa.Connection, digests: Sequence[str]) -> frozenset[str]:
    """See :meth:`rhapsode.ledger.base.Ledger.known_clips`."""
    return _known(connection, sa.select(jobs.c.reference).where(LIVE), jobs.c.reference, digests)


def _known(
    connection: sa.Connection, query: sa.Select[Any], column: sa.Column[Any], values: Sequence[str]
) -> frozenset[str]:
    found: set[str] = set()
    for start in range(0, len(values), IN_LIMIT):
        found.update(connection.execute(query.where(column.in_(values[start : start + IN_LIMIT]))).scalars())
    return frozenset(found)


def is_touchable(connection: sa.Connection, job_id: str, due: float) -> bool:
    """Whether a job expires before ``due``: reading its result is then worth a write."""
    return connection.execute(_IS_TOUCHABLE, {"job": job_id, "due": due}).first() is not None


def counts(connection: sa.Connection) -> Counts:
    """See :meth:`rhapsode.ledger.base.Ledger.counts`."""
    by_status: Mapping[JobStatus, int] = {JobStatus(status): count for status, count in connection.execute(_COUNTS)}
    return Counts(by_status, connection.execute(_WAITING_CHARS).scalar_one())
