"""What an owner may use, checked and counted in the transaction that inserts a job: exact however many come at once."""

import sqlalchemy as sa
from sqlalchemy import bindparam

from rhapsode.errors import QuotaExceeded
from rhapsode.ledger.access import DAY_S
from rhapsode.ledger.base import NewJob
from rhapsode.ledger.schema import LIVE, UNFINISHED, insert, jobs, usage
from rhapsode.ledger.transaction import Transaction
from rhapsode.model import Limits

_SOON_S = 10.0
"""When a place in the queue may be free again; nobody knows."""
_LATER_S = 3_600.0
"""When stored files may have expired."""

_OWN = jobs.c.owner == bindparam("who")
TODAY = sa.select(usage.c.chars, usage.c.jobs).where(
    usage.c.owner == bindparam("who"), usage.c.day == bindparam("today")
)
QUEUED = sa.select(sa.func.count()).select_from(jobs).where(LIVE, UNFINISHED, _OWN)
STORED = sa.select(sa.func.coalesce(sa.func.sum(jobs.c.result_size), 0)).where(LIVE, _OWN)
_NEW_DAY = insert(usage).values(
    owner=bindparam("who"), day=bindparam("today"), chars=bindparam("more"), jobs=sa.literal_column("1")
)
_COUNT = _NEW_DAY.on_conflict_do_update(
    index_elements=[usage.c.owner, usage.c.day],
    set_={"chars": usage.c.chars + _NEW_DAY.excluded.chars, "jobs": usage.c.jobs + 1},
)


def charge(tx: Transaction, job: NewJob) -> None:
    """Count a new job for its owner. The day is counted for all owners, so that a limit given later is right at once.

    Raises:
        QuotaExceeded: It would go over one of ``job.limits``; nothing is counted.
    """
    limits = job.limits
    today = int(tx.now // DAY_S)
    chars = len(job.text)
    require_place(tx, job.owner, limits)
    if limits.chars_per_day is not None:
        row = tx.one(TODAY, who=job.owner, today=today)
        used = row[0] if row else 0
        if used + chars > limits.chars_per_day:
            message = f"{_message('chars_per_day', limits.chars_per_day, used)} and this text has {chars}"
            raise QuotaExceeded(message, "chars_per_day", (today + 1) * DAY_S - tx.now)
    if limits.stored_bytes is not None:
        row = tx.one(STORED, who=job.owner)
        if row and row[0] >= limits.stored_bytes:
            raise QuotaExceeded(_message("stored_bytes", limits.stored_bytes, row[0]), "stored_bytes", _LATER_S)
    tx.run(_COUNT, who=job.owner, today=today, more=chars)


def require_place(tx: Transaction, owner: str, limits: Limits) -> None:
    """Raises:
    QuotaExceeded: The owner has as many unfinished jobs as are granted.
    """
    if limits.queued_jobs is not None:
        row = tx.one(QUEUED, who=owner)
        if row and row[0] >= limits.queued_jobs:
            raise QuotaExceeded(_message("queued_jobs", limits.queued_jobs, row[0]), "queued_jobs", _SOON_S)


def _message(limit: str, bound: int, used: int) -> str:
    return f"{limit} of this owner is {bound}; {used} are used"
