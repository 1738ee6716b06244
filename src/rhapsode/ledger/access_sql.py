"""Keys, sessions and usage in the SQL database."""

# ruff: noqa: D102 - what the methods promise stands in the contract
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import msgspec
import sqlalchemy as sa
from sqlalchemy import bindparam

from rhapsode.errors import InvalidInput, NotFound, Unauthorized
from rhapsode.ledger.access import DAY_S, AccessLedger, ApiKey, Usage
from rhapsode.ledger.quota import QUEUED, STORED, TODAY
from rhapsode.ledger.rows import Row
from rhapsode.ledger.schema import api_keys, sessions
from rhapsode.ledger.store import Store
from rhapsode.ledger.transaction import Transaction
from rhapsode.model import Limits, Scope

_COLUMNS = [column for column in api_keys.c if column.name != "digest"]
_SELECT = sa.select(*_COLUMNS)
_ANY = sa.select(api_keys.c.id).limit(1)
_ALL = _SELECT.order_by(api_keys.c.created_at, api_keys.c.id)
_IS_KEY = api_keys.c.id == bindparam("key")
_ONE = _SELECT.where(_IS_KEY)
_BY_DIGEST = _SELECT.where(api_keys.c.digest == bindparam("secret"))
_INSERT = api_keys.insert()
_CHANGE = (
    sa.update(api_keys)
    .where(_IS_KEY, api_keys.c.revoked_at.is_(None))
    .values(
        name=bindparam("new_name"),
        scopes=bindparam("new_scopes"),
        limits=bindparam("new_limits"),
        expires_at=bindparam("new_expiry"),
    )
)
_ROTATE = (
    sa.update(api_keys)
    .where(_IS_KEY, api_keys.c.revoked_at.is_(None))
    .values(digest=bindparam("secret"), hint=bindparam("new_hint"))
)
_REVOKE = sa.update(api_keys).where(_IS_KEY, api_keys.c.revoked_at.is_(None)).values(revoked_at=bindparam("now"))
_TOUCH = sa.update(api_keys).where(_IS_KEY).values(last_used_at=bindparam("now"))
_INSERT_SESSION = sessions.insert()
_BY_SESSION = _SELECT.join_from(api_keys, sessions, sessions.c.key_id == api_keys.c.id).where(
    sessions.c.digest == bindparam("token"), sessions.c.expires_at > bindparam("now")
)
_CLOSE = sa.delete(sessions).where(sessions.c.digest == bindparam("token"))
_CLOSE_ALL = sa.delete(sessions).where(sessions.c.key_id == bindparam("key"))
_CLOSE_EXPIRED = sa.delete(sessions).where(sessions.c.expires_at <= bindparam("now"))


class SqlAccess(AccessLedger):
    """See :class:`rhapsode.ledger.access.AccessLedger`.

    Args:
        store: Opened and closed by the ledger that shares it.
        clock: Seconds since the epoch.
    """

    def __init__(self, store: Store, clock: Callable[[], float]) -> None:
        self._store = store
        self._clock = clock

    async def has_keys(self) -> bool:
        return await self._store.read(_has_keys)

    async def create_key(self, key: ApiKey, digest: str) -> None:
        await self._store.write(_create, key, digest)

    async def list_keys(self) -> Sequence[ApiKey]:
        return await self._store.read(_list)

    async def get_key(self, key_id: str) -> ApiKey | None:
        return await self._store.read(_find, _ONE, key=key_id)

    async def change_key(self, key: ApiKey) -> None:
        await self._store.write(_change, key)

    async def rotate_key(self, key_id: str, digest: str, hint: str) -> ApiKey:
        return await self._store.write(_rotate, key_id, digest, hint)

    async def revoke_key(self, key_id: str) -> None:
        await self._store.write(_revoke, key_id)

    async def find_key(self, digest: str) -> ApiKey | None:
        return await self._store.read(_find, _BY_DIGEST, secret=digest)

    async def touch_key(self, key_id: str) -> None:
        await self._store.write_fleeting(_touch, key_id)

    async def open_session(self, digest: str, key_id: str, lifetime_s: float) -> None:
        await self._store.write(_open_session, digest, key_id, lifetime_s)

    async def find_session(self, digest: str) -> ApiKey | None:
        return await self._store.read(_find, _BY_SESSION, token=digest, now=self._clock())

    async def close_session(self, digest: str) -> None:
        await self._store.write(_close_session, digest)

    async def usage(self, owner: str) -> Usage:
        return await self._store.read(_usage, owner, int(self._clock() // DAY_S))


def _has_keys(connection: sa.Connection) -> bool:
    return connection.execute(_ANY).first() is not None


def _list(connection: sa.Connection) -> Sequence[ApiKey]:
    return [_to_key(tuple(row)) for row in connection.execute(_ALL)]


def _find(connection: sa.Connection, /, statement: sa.Select[Any], **values: object) -> ApiKey | None:
    row = connection.execute(statement, values).first()
    return _to_key(tuple(row)) if row else None


def _usage(connection: sa.Connection, owner: str, day: int) -> Usage:
    today = connection.execute(TODAY, {"who": owner, "today": day}).first()
    queued = connection.execute(QUEUED, {"who": owner}).scalar_one()
    stored = connection.execute(STORED, {"who": owner}).scalar_one()
    return Usage(today[0] if today else 0, today[1] if today else 0, queued, stored)


def _create(tx: Transaction, key: ApiKey, digest: str) -> None:
    if Scope.ADMIN not in key.scopes and tx.one(_ANY) is None:
        raise InvalidInput("scopes of the first key must contain admin: otherwise nobody could make another", "scopes")
    tx.run(
        _INSERT,
        id=key.id,
        owner=key.owner,
        name=key.name,
        digest=digest,
        hint=key.hint,
        scopes=_words(key.scopes),
        limits=_json(key.limits),
        created_at=key.created_at,
        expires_at=key.expires_at,
        revoked_at=key.revoked_at,
        last_used_at=key.last_used_at,
    )


def _change(tx: Transaction, key: ApiKey) -> None:
    changed = tx.count(
        _CHANGE,
        key=key.id,
        new_name=key.name,
        new_scopes=_words(key.scopes),
        new_limits=_json(key.limits),
        new_expiry=key.expires_at,
    )
    if not changed:
        raise _unknown(key.id)


def _rotate(tx: Transaction, key_id: str, digest: str, hint: str) -> ApiKey:
    row = tx.one(_ONE, key=key_id)
    if row is None or not tx.count(_ROTATE, key=key_id, secret=digest, new_hint=hint):
        raise _unknown(key_id)
    tx.run(_CLOSE_ALL, key=key_id)
    return replace(_to_key(row), hint=hint)


def _revoke(tx: Transaction, key_id: str) -> None:
    if tx.one(_ONE, key=key_id) is None:
        raise _unknown(key_id)
    tx.run(_REVOKE, key=key_id, now=tx.now)
    tx.run(_CLOSE_ALL, key=key_id)


def _touch(tx: Transaction, key_id: str) -> None:
    tx.run(_TOUCH, key=key_id, now=tx.now)


def _open_session(tx: Transaction, digest: str, key_id: str, lifetime_s: float) -> None:
    row = tx.one(_ONE, key=key_id)
    if row is None or not _to_key(row).is_valid(tx.now):
        raise Unauthorized("the key is not valid any more")
    tx.run(_CLOSE_EXPIRED, now=tx.now)
    tx.run(_INSERT_SESSION, digest=digest, key_id=key_id, created_at=tx.now, expires_at=tx.now + lifetime_s)


def _close_session(tx: Transaction, digest: str) -> None:
    tx.run(_CLOSE, token=digest)


def _unknown(key_id: str) -> NotFound:
    return NotFound(f"there is no key {key_id[:40]!r}, or it is revoked", "id")


def _words(scopes: frozenset[Scope]) -> str:
    return " ".join(sorted(scopes))


def _json(limits: Limits) -> str:
    return msgspec.json.encode(limits).decode()


def _to_key(row: Row) -> ApiKey:
    found = dict(zip((column.name for column in _COLUMNS), row, strict=True))
    found["scopes"] = frozenset(Scope(word) for word in found["scopes"].split())
    found["limits"] = msgspec.json.decode(found["limits"], type=Limits)
    return ApiKey(**found)
