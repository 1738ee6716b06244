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
    sa.select(segments.c.boundary, sa.func.count(), sa.func.sum(takes.c.samples), sa.func.max(segments.c.idx))
    .join_from(segments, takes)
    .where(segments.c.job_id == bindparam("job"), segments.c.idx < bindparam("end"))
    .group_by(segments.c.boundary)
)
_NO_END = 2**62


def spoken(connection: sa.Connection, job_id: str, before: int | None) -> Spoken:
    """See :meth:`rhapsode.ledger.base.Ledger.spoken`."""
    missing = connection.execute(_FIRST_MISSING, {"job": job_id}).scalar()
    end = min(_NO_END if before is None else before, _NO_END if missing is None else missing)
    rows = connection.execute(_PREFIX, {"job": job_id, "end": end}).all()
    last = max(rows, key=lambda row: int(row[3]), default=None)
    return Spoken(
        segments=sum(count for _, count, _, _ in rows),
        samples=sum(samples for _, _, samples, _ in rows),
        boundaries={Boundary(boundary): count for boundary, count, _, _ in rows},
        last=Boundary(last[0]) if last else None,
    )
