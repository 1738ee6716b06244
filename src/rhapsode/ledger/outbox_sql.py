"""Endpoints and deliveries in an SQL database; and what the transitions call to have their end told."""

# ruff: noqa: D102 - what the methods promise stands in the contract
import base64
import hashlib
import hmac
import secrets
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy import bindparam

from rhapsode.errors import Conflict
from rhapsode.ledger.outbox import (
    DEFAULT_TYPES,
    TEST_TYPE,
    Delivery,
    DeliveryStatus,
    Due,
    Endpoint,
    OutboxLedger,
    Outcome,
)
from rhapsode.ledger.rows import Row, to_json, to_strings
from rhapsode.ledger.schema import deliveries, webhook_endpoints
from rhapsode.ledger.store import Store
from rhapsode.ledger.transaction import Transaction
from rhapsode.model import Job

_DELIVERY_COLUMNS = tuple(deliveries.c.keys())
_ENDPOINT_COLUMNS = tuple(webhook_endpoints.c.keys())
_PENDING = deliveries.c.status == sa.literal_column("'pending'")
_IS_DELIVERY = deliveries.c.id == bindparam("delivery")
_IS_ENDPOINT = webhook_endpoints.c.id == bindparam("endpoint")
_END: Mapping[str, Any] = {"status": DeliveryStatus.FAILED.value, "next_at": None}

_LISTENERS = (
    sa.select(webhook_endpoints.c.id, webhook_endpoints.c.url, webhook_endpoints.c.types)
    .where(webhook_endpoints.c.owner == bindparam("of"), webhook_endpoints.c.disabled_at.is_(None))
    .order_by(webhook_endpoints.c.created_at, webhook_endpoints.c.id)
)
_INSERT = deliveries.insert()
_INSERT_ENDPOINT = webhook_endpoints.insert()
_COUNT = sa.select(sa.func.count()).where(webhook_endpoints.c.owner == bindparam("of"))
_ENDPOINT = sa.select(webhook_endpoints).where(_IS_ENDPOINT)
_CHANGE = (
    sa.update(webhook_endpoints)
    .where(_IS_ENDPOINT)
    .values({name: bindparam(f"new_{name}") for name in ("url", "secret", "types", "disabled_at", "disabled_because")})
)
_DISABLE = (
    sa.update(webhook_endpoints)
    .where(_IS_ENDPOINT, webhook_endpoints.c.disabled_at.is_(None))
    .values(disabled_at=bindparam("now"), disabled_because=bindparam("because"))
)
_REMOVE = sa.delete(webhook_endpoints).where(_IS_ENDPOINT)
_GIVE_UP = (
    sa.update(deliveries)
    .where(deliveries.c.next_at.is_not(None), deliveries.c.endpoint_id == bindparam("endpoint"), _PENDING)
    .values(**_END, last_error=bindparam("because"))
)
_DELIVERY = sa.select(deliveries).where(_IS_DELIVERY)
_REPLAY = (
    sa.update(deliveries)
    .where(_IS_DELIVERY)
    .values(status=DeliveryStatus.PENDING.value, next_at=bindparam("now"), delivered_at=None)
)
_TRIED: Mapping[str, Any] = {
    "tries": deliveries.c.tries + 1,
    "last_try_at": bindparam("now"),
    "last_status": bindparam("answer"),
    "last_error": bindparam("because"),
}
_DELIVERED = (
    sa.update(deliveries)
    .where(_IS_DELIVERY)
    .values(**_TRIED, status=DeliveryStatus.DELIVERED.value, next_at=None, delivered_at=bindparam("now"))
)
_AGAIN = sa.update(deliveries).where(_IS_DELIVERY, _PENDING).values(**_TRIED, next_at=bindparam("later"))
_FAILED = (
    sa.update(deliveries).where(_IS_DELIVERY, _PENDING).values(**_TRIED, **_END).returning(deliveries.c.endpoint_id)
)
_ENDED_AT = sa.func.coalesce(deliveries.c.delivered_at, deliveries.c.last_try_at, deliveries.c.created_at)
_ENDED = sa.and_(sa.not_(_PENDING), bindparam("before") > _ENDED_AT)
_OLD = sa.select(deliveries.c.id).where(_ENDED).limit(bindparam("count"))
_DROP = sa.delete(deliveries).where(_IS_DELIVERY, _ENDED)
_CURRENT_URL = sa.func.coalesce(webhook_endpoints.c.url, deliveries.c.url)
_DUE = (
    sa.select(deliveries, _CURRENT_URL, webhook_endpoints.c.secret)
    .outerjoin(webhook_endpoints, webhook_endpoints.c.id == deliveries.c.endpoint_id)
    .where(
        deliveries.c.next_at.is_not(None),
        deliveries.c.next_at <= bindparam("now"),
        deliveries.c.id.not_in(bindparam("busy", expanding=True)),
        sa.tuple_(deliveries.c.next_at, deliveries.c.id) > sa.tuple_(bindparam("after"), bindparam("after_id")),
    )
    .order_by(deliveries.c.next_at, deliveries.c.id)
    .limit(bindparam("count"))
)
_NEXT_DUE = sa.select(sa.func.min(deliveries.c.next_at)).where(
    deliveries.c.next_at.is_not(None), deliveries.c.next_at > bindparam("now")
)


# -- for the transitions ------------------------------------------------------------------------------------------


def record_job(tx: Transaction, job: Job, type_: str) -> None:
    """Have the job's owner told of ``type_``, in the transaction that brought it about. Redo jobs are nobody's business."""
    if job.redo_of is None:
        url = job.webhook_url if type_ in DEFAULT_TYPES else None
        _record(tx, job.owner, type_, lambda: _job_data(job), url, job_id=job.id, batch_id=job.batch_id)


def record_batch(
    tx: Transaction, owner: str, batch_id: str, webhook_url: str | None, data: Mapping[str, object]
) -> None:
    """Have the batch's owner told that all of it has ended; ``data`` is the message's."""
    _record(tx, owner, "batch.completed", lambda: data, webhook_url, batch_id=batch_id)


def _record(
    tx: Transaction,
    owner: str,
    type_: str,
    data: Callable[[], Mapping[str, object]],
    url: str | None,
    job_id: str | None = None,
    batch_id: str | None = None,
) -> None:
    targets: list[tuple[str | None, str]] = [(None, url)] if url else []
    targets += [(id_, at) for id_, at, types in tx.all(_LISTENERS, of=owner) if type_ in to_strings(types)]
    if not targets:
        return
    payload = _payload(type_, tx.now, data())
    for endpoint_id, target in targets:
        _insert(tx, owner, endpoint_id, target, type_, payload, job_id, batch_id)


def _insert(
    tx: Transaction,
    owner: str,
    endpoint_id: str | None,
    url: str,
    type_: str,
    payload: str,
    job_id: str | None = None,
    batch_id: str | None = None,
) -> Delivery:
    new = Delivery(
        id=f"msg_{secrets.token_hex(16)}",
        owner=owner,
        endpoint_id=endpoint_id,
        job_id=job_id,
        batch_id=batch_id,
        url=url,
        type=type_,
        payload=payload,
        status=DeliveryStatus.PENDING,
        tries=0,
        created_at=tx.now,
        next_at=tx.now,
        delivered_at=None,
        last_try_at=None,
        last_status=None,
        last_error=None,
    )
    tx.run(_INSERT, **{name: getattr(new, name) for name in _DELIVERY_COLUMNS} | {"status": new.status.value})
    return new


def _payload(type_: str, at: float, data: Mapping[str, object]) -> str:
    time = datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds")
    return to_json({"type": type_, "timestamp": time, "data": data})


def _job_data(job: Job) -> Mapping[str, object]:
    result = job.result
    base = f"/tts/{job.id}"
    return {
        "job_id": job.id,
        "status": job.status.value,
        "custom_id": job.custom_id,
        "batch_id": job.batch_id,
        "tags": job.tags,
        "error": job.error,
        "failed_segment": job.failed_segment,
        "result": result
        and {
            "format": result.format.value,
            "size": result.size,
            "samples": result.samples,
            "rate": result.rate,
            "duration_seconds": round(result.samples / result.rate, 3) if result.rate else None,
            "revision": result.revision,
        },
        "links": {"self": f"{base}/status", "result": f"{base}/result", "audio": f"{base}/audio"},
    }


# -- commands and queries -----------------------------------------------------------------------------------------


def _add_endpoint(tx: Transaction, endpoint: Endpoint, limit: int) -> None:
    row = tx.one(_COUNT, of=endpoint.owner)
    if row is not None and row[0] >= limit:
        raise Conflict(f"There are {row[0]} webhook endpoints, which is the limit: delete one first.")
    tx.run(
        _INSERT_ENDPOINT,
        **{name: getattr(endpoint, name) for name in _ENDPOINT_COLUMNS} | {"types": to_json(endpoint.types)},
    )


def _change_endpoint(tx: Transaction, endpoint: Endpoint) -> Endpoint | None:
    changed = tx.count(
        _CHANGE,
        endpoint=endpoint.id,
        new_url=endpoint.url,
        new_secret=endpoint.secret,
        new_types=to_json(endpoint.types),
        new_disabled_at=endpoint.disabled_at,
        new_disabled_because=endpoint.disabled_because,
    )
    if not changed:
        return None
    if endpoint.disabled_at is not None:
        tx.run(_GIVE_UP, endpoint=endpoint.id, because=f"not sent: {endpoint.disabled_because}")
    return endpoint


def _remove_endpoint(tx: Transaction, endpoint_id: str) -> bool:
    tx.run(_GIVE_UP, endpoint=endpoint_id, because="not sent: the endpoint was deleted")
    return tx.count(_REMOVE, endpoint=endpoint_id) > 0


def _add_test(tx: Transaction, endpoint_id: str) -> Delivery | None:
    endpoint = _enabled(tx, endpoint_id)
    if endpoint is None:
        return None
    payload = _payload(TEST_TYPE, tx.now, {"endpoint_id": endpoint.id})
    return _insert(tx, endpoint.owner, endpoint.id, endpoint.url, TEST_TYPE, payload)


def _enabled(tx: Transaction, endpoint_id: str) -> Endpoint | None:
    row = tx.one(_ENDPOINT, endpoint=endpoint_id)
    endpoint = _to_endpoint(row) if row else None
    if endpoint and endpoint.disabled_at is not None:
        raise Conflict(f"Webhook endpoint {endpoint_id} is disabled ({endpoint.disabled_because}): enable it first.")
    return endpoint


def _replay(tx: Transaction, delivery_id: str) -> Delivery | None:
    row = tx.one(_DELIVERY, delivery=delivery_id)
    if row is None:
        return None
    found = _to_delivery(row)
    if found.endpoint_id is not None and _enabled(tx, found.endpoint_id) is None:
        raise Conflict(f"Webhook endpoint {found.endpoint_id} of delivery {delivery_id} was deleted.")
    tx.run(_REPLAY, delivery=delivery_id, now=tx.now)
    return replace(found, status=DeliveryStatus.PENDING, next_at=tx.now, delivered_at=None)


def _settle(tx: Transaction, delivery_id: str, outcome: Outcome) -> None:
    tried = {"delivery": delivery_id, "now": tx.now, "answer": outcome.status, "because": outcome.error}
    if outcome.error is None:
        tx.run(_DELIVERED, **tried)
    elif outcome.retry_at is not None:
        tx.run(_AGAIN, **tried, later=outcome.retry_at)
    else:
        row = tx.one(_FAILED, **tried)
        if row and outcome.gone and row[0] is not None:
            tx.run(_DISABLE, endpoint=row[0], now=tx.now, because=outcome.error)
            tx.run(_GIVE_UP, endpoint=row[0], because=f"not sent: {outcome.error}")


def _drop(tx: Transaction, ids: Sequence[str], before: float) -> int:
    return sum(tx.count(_DROP, delivery=id_, before=before) for id_ in ids)


def _to_endpoint(row: Row) -> Endpoint:
    id_, owner, url, secret, types, created_at, disabled_at, because = row
    return Endpoint(id_, owner, url, secret, to_strings(types), created_at, disabled_at, because)


def _to_delivery(row: Row) -> Delivery:
    found = dict(zip(_DELIVERY_COLUMNS, row, strict=True))
    return Delivery(**found | {"status": DeliveryStatus(found["status"])})


def _list_endpoints(connection: sa.Connection, owner: str | None) -> Sequence[Endpoint]:
    query = sa.select(webhook_endpoints).order_by(webhook_endpoints.c.created_at, webhook_endpoints.c.id)
    if owner is not None:
        query = query.where(webhook_endpoints.c.owner == owner)
    return [_to_endpoint(row) for row in connection.execute(query)]


def _get_endpoint(connection: sa.Connection, endpoint_id: str) -> Endpoint | None:
    row = connection.execute(_ENDPOINT, {"endpoint": endpoint_id}).one_or_none()
    return _to_endpoint(row) if row else None


def _get_delivery(connection: sa.Connection, delivery_id: str) -> Delivery | None:
    row = connection.execute(_DELIVERY, {"delivery": delivery_id}).one_or_none()
    return _to_delivery(row) if row else None


def _list_deliveries(
    connection: sa.Connection,
    owner: str | None,
    status: DeliveryStatus | None,
    job_id: str | None,
    endpoint_id: str | None,
    before: tuple[float, str] | None,
    limit: int,
) -> Sequence[Delivery]:
    place = (deliveries.c.created_at, deliveries.c.id)
    query = sa.select(deliveries).order_by(*(column.desc() for column in place)).limit(limit)
    for column, wanted in (
        (deliveries.c.owner, owner),
        (deliveries.c.status, status and status.value),
        (deliveries.c.job_id, job_id),
        (deliveries.c.endpoint_id, endpoint_id),
    ):
        if wanted is not None:
            query = query.where(column == wanted)
    if before is not None:
        query = query.where(sa.tuple_(*place) < sa.tuple_(*before))
    return [_to_delivery(row) for row in connection.execute(query)]


def _list_due(
    connection: sa.Connection, now: float, busy: Collection[str], after: tuple[float, str], limit: int
) -> Sequence[tuple[Delivery, str, str | None]]:
    place = {"after": after[0], "after_id": after[1]}
    rows = connection.execute(_DUE, {"now": now, "busy": list(busy), **place, "count": limit})
    return [(_to_delivery(row[:-2]), row[-2], row[-1]) for row in rows]


def _next_due(connection: sa.Connection, now: float) -> float | None:
    found: float | None = connection.execute(_NEXT_DUE, {"now": now}).scalar()
    return found


def _old(connection: sa.Connection, before: float, limit: int) -> Sequence[str]:
    return list(connection.execute(_OLD, {"before": before, "count": limit}).scalars())


class SqlOutbox(OutboxLedger):
    """See :class:`rhapsode.ledger.outbox.OutboxLedger`.

    Args:
        store: The open ledger's.
        key: This server's own; the owners' secrets are derived from it.
    """

    def __init__(self, store: Store, key: bytes) -> None:
        self._store = store
        self._key = key
        self._callbacks: list[Callable[[], None]] = []

    def on_due(self, callback: Callable[[], None]) -> None:
        self._callbacks.append(callback)
        self._store.on_lead.append(callback)

    def secret_of(self, owner: str) -> str:
        digest = hmac.new(self._key, b"webhooks/" + owner.encode(), hashlib.sha256).digest()
        return f"whsec_{base64.b64encode(digest).decode()}"

    async def add_endpoint(self, endpoint: Endpoint, limit: int) -> None:
        await self._store.write(_add_endpoint, endpoint, limit)

    async def endpoints(self, owner: str | None) -> Sequence[Endpoint]:
        return await self._store.read(_list_endpoints, owner)

    async def endpoint(self, endpoint_id: str) -> Endpoint | None:
        return await self._store.read(_get_endpoint, endpoint_id)

    async def change_endpoint(self, endpoint: Endpoint) -> Endpoint | None:
        return await self._store.write(_change_endpoint, endpoint)

    async def remove_endpoint(self, endpoint_id: str) -> bool:
        return await self._store.write(_remove_endpoint, endpoint_id)

    async def add_test(self, endpoint_id: str) -> Delivery | None:
        return self._told(await self._store.write(_add_test, endpoint_id))

    async def deliveries(
        self,
        owner: str | None,
        status: DeliveryStatus | None = None,
        job_id: str | None = None,
        endpoint_id: str | None = None,
        before: tuple[float, str] | None = None,
        limit: int = 50,
    ) -> Sequence[Delivery]:
        return await self._store.read(_list_deliveries, owner, status, job_id, endpoint_id, before, limit)

    async def delivery(self, delivery_id: str) -> Delivery | None:
        return await self._store.read(_get_delivery, delivery_id)

    async def replay(self, delivery_id: str) -> Delivery | None:
        return self._told(await self._store.write(_replay, delivery_id))

    async def due(self, now: float, busy: Collection[str], after: tuple[float, str], limit: int) -> Sequence[Due]:
        if not self._store.leads:  # one node sends for all
            return ()
        found = await self._store.read(_list_due, now, busy, after, limit)
        return [Due(delivery, url, secret or self.secret_of(delivery.owner)) for delivery, url, secret in found]

    async def next_due(self, now: float) -> float | None:
        return await self._store.read(_next_due, now)

    async def settle(self, delivery_id: str, outcome: Outcome) -> None:
        await self._store.write(_settle, delivery_id, outcome)

    async def drop_deliveries(self, before: float, limit: int = 500) -> int:
        # A reader finds them among all, so that the writer has only those to look at.
        ids = await self._store.read(_old, before, limit)
        return await self._store.write(_drop, ids, before) if ids else 0

    def _told(self, delivery: Delivery | None) -> Delivery | None:
        for callback in self._callbacks if delivery else ():
            callback()
        return delivery
