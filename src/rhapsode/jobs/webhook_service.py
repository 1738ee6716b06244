"""What callers can do with webhooks: endpoints, their secrets, and the list of deliveries."""

import base64
import binascii
import secrets
from collections.abc import Sequence
from dataclasses import replace
from typing import TypeVar

from rhapsode.errors import InvalidInput, NotFound
from rhapsode.jobs.safe_address import Policy, check_url
from rhapsode.jobs.shop import Shop
from rhapsode.ledger.outbox import DEFAULT_TYPES, EVENT_TYPES, Delivery, DeliveryStatus, Endpoint
from rhapsode.model import Caller
from rhapsode.settings import Settings

T = TypeVar("T", Endpoint, Delivery)

_ENDPOINTS = 100
_SECRET_BYTES = (24, 64)
_PREFIX = "whsec_"


def policy_of(settings: Settings) -> Policy:
    """Where messages may go."""
    return Policy(settings.webhooks.allow_private, settings.webhooks.hosts)


class WebhookService:
    """Used from one event loop. What belongs to somebody else is simply not found."""

    def __init__(self, shop: Shop, settings: Settings) -> None:
        self._shop = shop
        self._policy = policy_of(settings)

    def secret(self, caller: Caller) -> str:
        """What signs messages to the ``webhook_url`` of the caller's jobs and batches."""
        return self._shop.outbox.secret_of(caller.owner)

    async def create(self, caller: Caller, url: str, types: Sequence[str] | None, secret: str | None) -> Endpoint:
        """Store an endpoint.

        Raises:
            InvalidInput: A field is wrong.
            Conflict: There are too many.
        """
        endpoint = Endpoint(
            id=f"ep_{secrets.token_hex(12)}",
            owner=caller.owner,
            url=check_url(url, self._policy, "url"),
            secret=_new_secret() if secret is None else _checked(secret),
            types=_known(DEFAULT_TYPES if types is None else types),
            created_at=self._shop.clock(),
        )
        await self._shop.outbox.add_endpoint(endpoint, _ENDPOINTS)
        return endpoint

    async def endpoints(self, caller: Caller) -> Sequence[Endpoint]:
        """The caller's, oldest first."""
        return await self._shop.outbox.endpoints(caller.sees)

    async def endpoint(self, endpoint_id: str, caller: Caller) -> Endpoint:
        """One of them.

        Raises:
            NotFound: No such endpoint.
        """
        return _visible(await self._shop.outbox.endpoint(endpoint_id), endpoint_id, caller)

    async def change(
        self, endpoint_id: str, caller: Caller, url: str | None, types: Sequence[str] | None, enabled: bool | None
    ) -> Endpoint:
        """Change what is not None; what waits for an endpoint that is switched off fails.

        Raises:
            NotFound, InvalidInput: No such endpoint; a field is wrong.
        """
        endpoint = await self.endpoint(endpoint_id, caller)
        if url is not None:
            endpoint = replace(endpoint, url=check_url(url, self._policy, "url"))
        if types is not None:
            endpoint = replace(endpoint, types=_known(types))
        if enabled:
            endpoint = replace(endpoint, disabled_at=None, disabled_because=None)
        elif enabled is False and endpoint.disabled_at is None:
            now = self._shop.clock()
            endpoint = replace(endpoint, disabled_at=now, disabled_because="switched off by its owner")
        return _visible(await self._shop.outbox.change_endpoint(endpoint), endpoint_id, caller)

    async def rotate(self, endpoint_id: str, caller: Caller) -> Endpoint:
        """Give it a new secret, which signs from now on.

        Raises:
            NotFound: No such endpoint.
        """
        endpoint = replace(await self.endpoint(endpoint_id, caller), secret=_new_secret())
        return _visible(await self._shop.outbox.change_endpoint(endpoint), endpoint_id, caller)

    async def remove(self, endpoint_id: str, caller: Caller) -> None:
        """Delete it; what waits for it fails.

        Raises:
            NotFound: No such endpoint.
        """
        await self.endpoint(endpoint_id, caller)
        await self._shop.outbox.remove_endpoint(endpoint_id)

    async def test(self, endpoint_id: str, caller: Caller) -> Delivery:
        """Send it a ``webhook.test``.

        Raises:
            NotFound, Conflict: No such endpoint; it is disabled.
        """
        await self.endpoint(endpoint_id, caller)
        return _visible(await self._shop.outbox.add_test(endpoint_id), endpoint_id, caller)

    async def deliveries(
        self,
        caller: Caller,
        status: DeliveryStatus | None,
        job_id: str | None,
        endpoint_id: str | None,
        before: tuple[float, str] | None,
        limit: int,
    ) -> Sequence[Delivery]:
        """Newest first; ``before`` is (created_at, id) of the last one seen."""
        return await self._shop.outbox.deliveries(caller.sees, status, job_id, endpoint_id, before, limit)

    async def delivery(self, delivery_id: str, caller: Caller) -> Delivery:
        """One of them.

        Raises:
            NotFound: No such delivery.
        """
        return _visible(await self._shop.outbox.delivery(delivery_id), delivery_id, caller)

    async def replay(self, delivery_id: str, caller: Caller) -> Delivery:
        """Send it again now, under the same id.

        Raises:
            NotFound, Conflict: No such delivery; its endpoint is disabled or deleted.
        """
        await self.delivery(delivery_id, caller)
        return _visible(await self._shop.outbox.replay(delivery_id), delivery_id, caller)


def _visible(found: T | None, wanted: str, caller: Caller) -> T:
    if found is None or caller.sees not in (None, found.owner):
        raise NotFound(f"there is no webhook endpoint or delivery {wanted[:100]!r}", "id")
    return found


def _known(types: Sequence[str]) -> tuple[str, ...]:
    for name in types:
        if name not in EVENT_TYPES:
            raise InvalidInput(f"types must be some of {', '.join(EVENT_TYPES)}; not {name[:40]!r}", "types")
    if not types:
        raise InvalidInput(f"types must name at least one of {', '.join(EVENT_TYPES)}", "types")
    return tuple(dict.fromkeys(types))


def _new_secret() -> str:
    return _PREFIX + base64.b64encode(secrets.token_bytes(32)).decode()


def _checked(secret: str) -> str:
    least, most = _SECRET_BYTES
    try:
        size = len(base64.b64decode(secret.removeprefix(_PREFIX), validate=True)) if secret.startswith(_PREFIX) else 0
    except (binascii.Error, ValueError):
        size = 0
    if not least <= size <= most:
        raise InvalidInput(f"secret must be {_PREFIX} and base64 of {least} to {most} bytes", "secret")
    return secret
