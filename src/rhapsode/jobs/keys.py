"""Make keys: the one place where a secret exists, until it is shown."""

import hashlib
import secrets
import uuid
from collections.abc import Callable
from dataclasses import dataclass

from rhapsode.ledger.access import AccessLedger, ApiKey
from rhapsode.model import NO_LIMITS, Limits, Scope

PREFIX = "rh_"
_BYTES = 32
_HINT = 8


@dataclass(frozen=True, slots=True)
class KeyWish:
    """What a new key should be."""

    name: str
    scopes: frozenset[Scope]
    owner: str | None = None
    """None: nobody else's, the key's own id."""
    limits: Limits = NO_LIMITS
    expires_at: float | None = None
    """Seconds since the epoch."""


def digest_of(secret: str) -> str:
    """What is stored of a secret. It is random and long: one round of SHA-256 is enough, and looking it up leaks nothing."""
    return hashlib.sha256(secret.encode("utf-8", "surrogateescape")).hexdigest()


def new_secret() -> str:
    """A secret for a key."""
    return PREFIX + secrets.token_urlsafe(_BYTES)


async def create_key(access: AccessLedger, wish: KeyWish, clock: Callable[[], float]) -> tuple[ApiKey, str]:
    """Make a key.

    Returns:
        The key, and its secret, which is nowhere else.

    Raises:
        InvalidInput: See :meth:`AccessLedger.create_key`.
    """
    secret = new_secret()
    key_id = str(uuid.uuid4())
    owner = wish.owner or key_id
    key = ApiKey(key_id, owner, wish.name, secret[:_HINT], wish.scopes, wish.limits, clock(), wish.expires_at)
    await access.create_key(key, digest_of(secret))
    return key, secret


async def rotate_key(access: AccessLedger, key_id: str) -> tuple[ApiKey, str]:
    """Give a key another secret; the old one ends at once.

    Raises:
        NotFound: There is no such key, or it is revoked.
    """
    secret = new_secret()
    return await access.rotate_key(key_id, digest_of(secret), secret[:_HINT]), secret
