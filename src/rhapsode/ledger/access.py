"""The contract of keys, sessions and usage: who may do what, and how much of it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from rhapsode.model import Caller, Limits, Scope

DAY_S = 86_400


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A key without its secret, of which the ledger knows the SHA-256 only. Times are seconds since the epoch, UTC."""

    id: str
    owner: str
    name: str
    hint: str
    """How the secret begins, to tell keys apart."""
    scopes: frozenset[Scope]
    limits: Limits
    created_at: float
    expires_at: float | None = None
    revoked_at: float | None = None
    last_used_at: float | None = None

    def is_valid(self, now: float) -> bool:
        """Whether it opens anything at ``now``."""
        return self.revoked_at is None and (self.expires_at is None or now < self.expires_at)

    @property
    def caller(self) -> Caller:
        """On whose behalf this key acts."""
        return Caller(self.owner, self.scopes, self.limits, self.id)


@dataclass(frozen=True, slots=True)
class Usage:
    """What an owner uses now."""

    chars_today: int
    jobs_today: int
    queued_jobs: int
    stored_bytes: int


class AccessLedger(Protocol):
    """The durable record of keys, of browsers that signed in with them, and of what owners use."""

    async def has_keys(self) -> bool:
        """Whether a key was ever made; revoked ones count, so that revoking the last one does not open the server."""
        ...

    async def create_key(self, key: ApiKey, digest: str) -> None:
        """Store a key whose secret has this SHA-256 (hex).

        Raises:
            InvalidInput: It is the first one and does not grant ``admin``: nobody could make another (field ``scopes``).
        """
        ...

    async def list_keys(self) -> Sequence[ApiKey]:
        """All keys, oldest first, revoked ones included."""
        ...

    async def get_key(self, key_id: str) -> ApiKey | None:
        """One key, or None."""
        ...

    async def change_key(self, key: ApiKey) -> None:
        """Store name, scopes, limits and expiry of ``key``.

        Raises:
            NotFound: There is no such key, or it is revoked.
        """
        ...

    async def rotate_key(self, key_id: str, digest: str, hint: str) -> ApiKey:
        """Give a key another secret; the old one and sessions made with it end at once.

        Raises:
            NotFound: There is no such key, or it is revoked.
        """
        ...

    async def revoke_key(self, key_id: str) -> None:
        """End a key and its sessions; ending it twice does nothing.

        Raises:
            NotFound: There is no such key.
        """
        ...

    async def find_key(self, digest: str) -> ApiKey | None:
        """The key whose secret has this digest, valid or not."""
        ...

    async def touch_key(self, key_id: str) -> None:
        """Note that the key was used just now; a loss of power may forget it."""
        ...

    async def open_session(self, digest: str, key_id: str, lifetime_s: float) -> None:
        """Store a browser's session; those that have expired are deleted.

        Raises:
            Unauthorized: The key was revoked meanwhile.
        """
        ...

    async def find_session(self, digest: str) -> ApiKey | None:
        """The key that a session which has not expired was opened with, valid or not."""
        ...

    async def close_session(self, digest: str) -> None:
        """End a session, if there is one."""
        ...

    async def usage(self, owner: str) -> Usage:
        """What the owner uses now."""
        ...
