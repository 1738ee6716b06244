"""How far a job is spoken without a gap: what times on its timeline stand on. One pass, whatever the length of the text."""

import sqlalchemy as sa
from sqlalchemy import bindparam

from rhapsode.ledger.base import Spoken
from rhapsode.ledger.schema import segments, takes
from rhapsode.model import Boundary, SegmentStatus

_FIRST_MISSING = (
    sa.select(segments.c.idx)
    .where(segments.c.job_id == bindparam("job"), segments.c.status != SegmentStatus.DONE.value)
    .order_by(segments.c.idx)
    .limit(1)
)
_PREFIX = (
    sa.select(
        sa.func.lag(segments.c.boundary).over(order_by=segments.c.idx).label("before"),
        segments.c.lead_ms,
        takes.c.samples,
    )
    .join_from(segments, takes)
    .where(segments.c.job_id == bindparam("job"), segments.c.idx < bindparam("end"))
    .subquery()
)
_GAPS = sa.select(_PREFIX.c.before, _PREFIX.c.lead_ms, sa.func.count(), sa.func.sum(_PREFIX.c.samples)).group_by(
    _PREFIX.c.before, _PREFIX.c.lead_ms
)
_LAST = (
    sa.select(segments.c.boundary)
    .where(segments.c.job_id == bindparam("job"), segments.c.idx < bindparam("end"))
    .order_by(segments.c.idx.desc())
    .limit(1)
)
_NO_END = 2**62


def spoken(connection: sa.Connection, job_id: str, before: int | None) -> Spoken:
    """See :meth:`rhapsode.ledger.base.Ledger.spoken`."""
    missing = connection.execute(_FIRST_MISSING, {"job": job_id}).scalar()
    end = min(_NO_END if before is None else before, _NO_END if missing is None else missing)
    rows = connection.execute(_GAPS, {"job": job_id, "end": end}).all()
    last = connection.execute(_LAST, {"job": job_id, "end": end}).scalar() if rows else None
    return Spoken(
        segments=sum(count for _, _, count, _ in rows),
        samples=sum(samples for _, _, _, samples in rows),
        gaps={(before and Boundary(before), lead_ms): count for before, lead_ms, count, _ in rows},
        last=last and Boundary(last),
    )
