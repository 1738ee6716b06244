"""Batches in an SQL database; and what the transitions call when one of its jobs ends."""

# ruff: noqa: D102 - what the methods promise stands in the contract
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import sqlalchemy as sa
from sqlalchemy import bindparam

from rhapsode.ledger import transitions
from rhapsode.ledger.batch_end import COUNTS, counts_of
from rhapsode.ledger.batches import Batch, BatchLedger, NewBatch
from rhapsode.ledger.rows import JOB_COLUMNS, Row, to_job, to_json
from rhapsode.ledger.schema import LIVE, UNFINISHED, batches, jobs
from rhapsode.ledger.store import Store
from rhapsode.ledger.transaction import Transaction
from rhapsode.model import Job

_COLUMNS = tuple(batches.c)
_IN_BATCH = jobs.c.batch_id == bindparam("batch")
_INSERT = batches.insert()
_BY_KEY = sa.select(*_COLUMNS).where(
    batches.c.owner == bindparam("key_owner"),
    batches.c.idempotency_key == bindparam("key"),
    batches.c.idempotency_key.is_not(None),
)
_ID, _FINGERPRINT = (batches.c.keys().index(name) for name in ("id", "fingerprint"))
_FREE_KEY = sa.update(batches).where(batches.c.id == bindparam("batch")).values(idempotency_key=None)
_HAS_LIVING = sa.select(jobs.c.id).where(_IN_BATCH, LIVE).limit(1)
_GET = sa.select(*_COLUMNS).where(batches.c.id == bindparam("batch"))
_LIST = sa.select(*_COLUMNS).order_by(batches.c.created_at.desc(), batches.c.id.desc())
_JOBS = sa.select(*JOB_COLUMNS).where(_IN_BATCH).order_by(jobs.c.id)
_PAGE = _JOBS.offset(bindparam("first")).limit(bindparam("most"))
_UNFINISHED = sa.select(jobs.c.id).where(_IN_BATCH, LIVE, UNFINISHED).order_by(jobs.c.id)
_errors = msgspec.json.Decoder(tuple[dict[str, Any], ...])


class SqlBatches(BatchLedger):
    """See :class:`rhapsode.ledger.batches.BatchLedger`.

    Args:
        store: The open ledger's.
        ttl_s: How long a job lives after its end, seconds.
    """

    def __init__(self, store: Store, ttl_s: float) -> None:
        self._store = store
        self._ttl_s = ttl_s

    async def submit_batch(self, batch: NewBatch) -> tuple[Batch, Sequence[Job], bool]:
        batch_id, created = await self._store.write(_submit, batch)
        found = await self.get_batch(batch_id)
        assert found is not None  # noqa: S101 - batches are never deleted
        return found, await self.batch_jobs(batch_id, limit=found.total), created

    async def submitted(self, owner: str, key: str, fingerprint: str) -> Batch | None:
        return await self._store.read(_submitted, owner, key, fingerprint)

    async def get_batch(self, batch_id: str) -> Batch | None:
        return await self._store.read(_get, batch_id)

    async def list_batches(
        self, owner: str | None = None, before: tuple[float, str] | None = None, limit: int = 50
    ) -> Sequence[Batch]:
        return await self._store.read(_list, owner, before, limit)

    async def batch_jobs(self, batch_id: str, start: int = 0, limit: int = 1_000) -> Sequence[Job]:
        return await self._store.read(_jobs, batch_id, start, limit)

    async def cancel_batch(self, batch_id: str, reason: str) -> int:
        return await self._store.write(_cancel, batch_id, reason, self._ttl_s)


def _submit(tx: Transaction, new: NewBatch) -> tuple[str, bool]:
    if new.idempotency_key is not None:
        row = tx.one(_BY_KEY, key_owner=new.owner, key=new.idempotency_key)
        if row is not None:
            known = row[_ID]
            if tx.one(_HAS_LIVING, batch=known) is not None:
                transitions.require_same(new.idempotency_key, row[_FINGERPRINT], new.fingerprint)
                return known, False
            tx.run(_FREE_KEY, batch=known)
    tx.run(
        _INSERT,
        id=new.id,
        owner=new.owner,
        created_at=tx.now,
        ended_at=None,
        total=new.total,
        errors=to_json(list(new.errors)),
        webhook_url=new.webhook_url,
        idempotency_key=new.idempotency_key,
        fingerprint=new.fingerprint,
    )
    for job in new.jobs:
        transitions.submit(tx, job)
    return new.id, True


def _cancel(tx: Transaction, batch_id: str, reason: str, ttl_s: float) -> int:
    unfinished = tx.all(_UNFINISHED, batch=batch_id)
    for (job_id,) in unfinished:
        transitions.cancel_job(tx, job_id, reason, ttl_s)
    return len(unfinished)


def _get(connection: sa.Connection, batch_id: str) -> Batch | None:
    row = connection.execute(_GET, {"batch": batch_id}).first()
    return _to_batch(connection, tuple(row)) if row else None


def _submitted(connection: sa.Connection, owner: str, key: str, fingerprint: str) -> Batch | None:
    row = connection.execute(_BY_KEY, {"key_owner": owner, "key": key}).first()
    if row is None or connection.execute(_HAS_LIVING, {"batch": row[_ID]}).first() is None:
        return None
    transitions.require_same(key, row[_FINGERPRINT], fingerprint)
    return _to_batch(connection, tuple(row))


def _list(
    connection: sa.Connection, owner: str | None, before: tuple[float, str] | None, limit: int
) -> Sequence[Batch]:
    query = _LIST.limit(limit)
    if owner is not None:
        query = query.where(batches.c.owner == owner)
    if before is not None:
        query = query.where(sa.tuple_(batches.c.created_at, batches.c.id) < before)
    return [_to_batch(connection, tuple(row)) for row in connection.execute(query).all()]


def _jobs(connection: sa.Connection, batch_id: str, start: int, limit: int) -> Sequence[Job]:
    rows = connection.execute(_PAGE, {"batch": batch_id, "first": start, "most": limit})
    return [to_job(tuple(row)) for row in rows]


def _to_batch(connection: sa.Connection, row: Row) -> Batch:
    found: Mapping[str, Any] = dict(zip(batches.c.keys(), row, strict=True))
    counts = counts_of([tuple(part) for part in connection.execute(COUNTS, {"batch": found["id"]})])
    return Batch(
        id=found["id"],
        owner=found["owner"],
        created_at=found["created_at"],
        ended_at=found["ended_at"],
        total=found["total"],
        errors=_errors.decode(found["errors"]),
        jobs=counts.jobs,
        deleted=counts.deleted,
        chars_done=counts.chars_done,
        text_chars=counts.text_chars,
    )
