"""Who asks: a key, a browser's session, or anybody while no key is needed."""

import asyncio
import contextlib
import hmac
import math
import time
from dataclasses import dataclass
from urllib.parse import urlsplit

from limits import RateLimitItemPerMinute
from limits.storage import MemoryStorage
from limits.strategies import MovingWindowRateLimiter
from starlette.requests import HTTPConnection

from rhapsode.api.hosts import Hosts, called
from rhapsode.errors import Forbidden, LedgerUnavailable, QuotaExceeded, RhapsodeError, Unauthorized
from rhapsode.jobs.keys import digest_of
from rhapsode.jobs.shop import Shop
from rhapsode.ledger.access import ApiKey
from rhapsode.model import LOCAL, Caller, Scope
from rhapsode.settings import Auth

COOKIE = "rhapsode_session"
RATE_HEADERS = "rate_headers"
"""Where the headers of a limited key wait for the answer, in the request's state."""

_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
_FRESH_S = 5.0
"""How long a digest is known without asking the ledger. Changes on this node are seen at once."""
_KNOWN = 1_024
_TOUCH_S = 60.0
_WATCH_S = 2.0
"""How often it is looked whether whoever reads a stream still may."""
_LOGINS_PER_MINUTE = 10


@dataclass(frozen=True, slots=True)
class _Known:
    key: ApiKey
    until: float


class Gate:
    """Decides on whose behalf a request is answered. While no key is needed, it asks neither disk nor ledger (a shared one now and then).

    Args:
        shop: The ledger of keys, and the clock.
        settings: The section ``auth``.
        hosts: Under which names the server may be called.
        local_token: Grants everything to this user's own programs on this machine; empty: there is none.
    """

    def __init__(self, shop: Shop, settings: Auth, hosts: Hosts, local_token: str = "") -> None:
        self.settings = settings
        self.hosts = hosts
        self._shop = shop
        self._local_token = local_token
        self._has_keys: bool | None = None
        self._looked_at = 0.0
        self._known: dict[str, _Known] = {}
        self._changes = 0
        self._touched: dict[str, float] = {}
        self._limiter = MovingWindowRateLimiter(MemoryStorage())

    async def is_closed(self) -> bool:
        """Whether a key is needed. While the ledger is out of reach, what was known before counts.

        Raises:
            LedgerUnavailable: It was never known.
        """
        if self.settings.mode != "auto":
            return self.settings.mode == "keys"
        if self._has_keys is None or self._may_have_changed():
            changes = self._changes
            try:
                found = await self._shop.access.has_keys()
            except LedgerUnavailable:
                if self._has_keys is None:
                    raise
                return self._has_keys
            if changes == self._changes:
                self._has_keys, self._looked_at = found, time.monotonic()
            return found
        return self._has_keys

    def _may_have_changed(self) -> bool:
        """Whether a first key may have been made on another node since it was looked."""
        return not self._has_keys and time.monotonic() - self._looked_at > _FRESH_S and self._shop.ledger.shared

    def changed(self) -> None:
        """Keys or sessions were changed: what is remembered of them is void."""
        self._changes += 1
        self._has_keys = None
        self._known.clear()

    async def caller(self, connection: HTTPConnection) -> Caller:
        """Who asks, and one request counted.

        Raises:
            Unauthorized: No key, or one that is unknown, expired or revoked.
            Forbidden: The page of another site uses a browser's session.
            QuotaExceeded: The owner asks too often.
        """
        if not await self.is_closed():
            return LOCAL
        found = await self.identify(connection)
        if found is None:
            raise Unauthorized("an API key is needed, and none was sent: Authorization: Bearer rh_…")
        self._count(connection, found)
        return found

    async def until_refused(self, connection: HTTPConnection, caller: Caller) -> None:
        """Wait until whoever opened a stream could no longer open the same one: the key was revoked, changed or has expired, the
        session has ended, or the server was closed to those without a key.
        """
        while True:
            await asyncio.sleep(_WATCH_S)
            try:
                found = await self.identify(connection) if await self.is_closed() else LOCAL
            except (Unauthorized, Forbidden):
                return
            except RhapsodeError:  # it cannot be looked up now: no reason to cut anybody off
                continue
            if found is None or not found.may(Scope.READ) or found.sees != caller.sees:
                return

    async def identify(self, connection: HTTPConnection) -> Caller | None:
        """Who asks; None when nothing was shown.

        Raises:
            Unauthorized, Forbidden: See :meth:`caller`.
        """
        if secret := _shown(connection):
            return await self.caller_of(secret)
        if not (cookie := connection.cookies.get(COOKIE)):
            return None
        method = connection.scope.get("method", "")  # a WebSocket has none, and browsers let any page open one
        if method not in _SAFE:
            self.require_same_site(connection)
        return (await self._look_up(cookie, is_session=True)).caller

    async def caller_of(self, secret: str) -> Caller:
        """On whose behalf a key acts.

        Raises:
            Unauthorized: It is unknown, expired or revoked.
        """
        token = self._local_token
        if token and hmac.compare_digest(secret.encode("utf-8", "replace"), token.encode()):
            return LOCAL
        return (await self._look_up(secret, is_session=False)).caller

    def require_same_site(self, connection: HTTPConnection) -> None:
        """Raises:
        Forbidden: A browser sends this from the page of another site that is not allowed.
        """
        headers = connection.headers
        origin, site = headers.get("origin"), headers.get("sec-fetch-site")
        if origin and origin in self.settings.origins:
            return
        foreign = origin is not None and _host_of(origin) != headers.get("host")
        if site not in {None, "same-origin", "none"} or (site is None and foreign):
            raise Forbidden("the page of another site may not do this (auth.allowed_origins)")

    async def require_own_page(self, connection: HTTPConnection) -> None:
        """Raises:
        Forbidden: As :meth:`require_same_site`. Or, while no key is needed, a browser's page calls this server by a name that anybody
            can have: it may be the page of another site that has pointed its name here.
        """
        self.require_same_site(connection)
        headers = connection.headers
        if ("origin" in headers or "sec-fetch-site" in headers) and not self.hosts.trusts(host := called(connection)):
            if await self.is_closed():
                return
            raise Forbidden(
                f"pages of {host[:100]!r} may not do this; if that is this server, add it to server.allowed_hosts"
            )

    def count_login(self, address: str) -> None:
        """Raises:
        QuotaExceeded: Too many attempts to sign in come from this address.
        """
        if not self._limiter.hit(RateLimitItemPerMinute(_LOGINS_PER_MINUTE), "login", address):
            message = f"more than {_LOGINS_PER_MINUTE} attempts to sign in within a minute"
            raise QuotaExceeded(message, "logins_per_minute", 60.0)

    async def _look_up(self, secret: str, is_session: bool) -> ApiKey:
        digest = digest_of(secret)
        name = f"{is_session:d}{digest}"
        known = self._known.get(name)
        if known is None or known.until < time.monotonic():
            changes, access = self._changes, self._shop.access
            key = await (access.find_session(digest) if is_session else access.find_key(digest))
            if key is None:
                self._known.pop(name, None)
                raise Unauthorized("this session has ended; sign in again" if is_session else "this key is unknown")
            if len(self._known) >= _KNOWN:
                self._known.clear()
            known = _Known(key, time.monotonic() + _FRESH_S)
            if changes == self._changes:  # else it may have been read before the change
                self._known[name] = known
        if not known.key.is_valid(self._shop.clock()):
            raise Unauthorized("this key is revoked" if known.key.revoked_at is not None else "this key has expired")
        await self._touch(known.key)
        return known.key

    async def _touch(self, key: ApiKey) -> None:
        now = self._shop.clock()
        last = self._touched.get(key.id, key.last_used_at)
        if last is not None and 0 <= now - last < _TOUCH_S:
            return
        self._touched[key.id] = now
        with contextlib.suppress(RhapsodeError):  # a full disk is no reason to refuse a reader
            await self._shop.access.touch_key(key.id)

    def _count(self, connection: HTTPConnection, caller: Caller) -> None:
        bound = caller.limits.requests_per_minute
        if bound is None:
            return
        rate = RateLimitItemPerMinute(bound)
        allowed = self._limiter.hit(rate, "owner", caller.owner)
        reset, remaining = self._limiter.get_window_stats(rate, "owner", caller.owner)
        wait = max(1, math.ceil(reset - time.time()))
        connection.scope.setdefault("state", {})[RATE_HEADERS] = [
            (b"ratelimit-policy", f'"requests";q={bound};w=60'.encode()),
            (b"ratelimit", f'"requests";r={remaining};t={wait}'.encode()),
        ]
        if not allowed:
            message = f"requests_per_minute of this owner is {bound}; all are used"
            raise QuotaExceeded(message, "requests_per_minute", wait)


def _shown(connection: HTTPConnection) -> str | None:
    """The key in the headers; never one in the address, which logs and histories keep."""
    kind, _, secret = connection.headers.get("authorization", "").partition(" ")
    if kind.lower() == "bearer" and secret.strip():
        return secret.strip()
    return connection.headers.get("x-api-key") or None


def _host_of(origin: str) -> str:
    try:
        return urlsplit(origin).netloc
    except ValueError:
        return ""
