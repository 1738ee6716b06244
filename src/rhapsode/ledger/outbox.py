"""The outbox contract: what is to be sent to whom, written with the transition that it tells of, sent afterwards."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

DEFAULT_TYPES = ("job.completed", "job.failed", "job.cancelled")
"""What an endpoint gets that names nothing, and the ``webhook_url`` of a job."""
EVENT_TYPES = ("job.started", *DEFAULT_TYPES, "batch.completed")
TEST_TYPE = "webhook.test"


class DeliveryStatus(StrEnum):
    """Where a delivery stands. PENDING includes one that will be tried again."""

    PENDING = "pending"
    DELIVERED = "delivered"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where an owner wants to be told. Times are seconds since the epoch, UTC."""

    id: str
    owner: str
    url: str
    secret: str = field(repr=False)
    """``whsec_…``"""
    types: tuple[str, ...]
    created_at: float
    disabled_at: float | None = None
    disabled_because: str | None = None


@dataclass(frozen=True, slots=True)
class Delivery:
    """One message to one address; its id and its payload are the same in every try."""

    id: str
    owner: str
    endpoint_id: str | None
    """None for the ``webhook_url`` of a job or batch."""
    job_id: str | None
    batch_id: str | None
    url: str
    type: str
    payload: str
    status: DeliveryStatus
    tries: int
    created_at: float
    next_at: float | None
    """When it is tried next; None once it has ended."""
    delivered_at: float | None
    last_try_at: float | None
    last_status: int | None
    """Of HTTP."""
    last_error: str | None


@dataclass(frozen=True, slots=True)
class Due:
    """A delivery to be tried now, with what it takes: the endpoint may have moved since it was written."""

    delivery: Delivery
    url: str
    secret: str = field(repr=False)

    @property
    def place(self) -> tuple[float, str]:
        """Among all that are due."""
        return self.delivery.next_at or 0.0, self.delivery.id


FIRST = (0.0, "")
"""The place in front of all that are due."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a try went."""

    status: int | None
    """Of HTTP; None without an answer."""
    error: str | None
    """None: delivered."""
    retry_at: float | None = None
    """When to try again; None: never."""
    gone: bool = False
    """The receiver wants nothing more, ever."""


class OutboxLedger(Protocol):
    """Endpoints and deliveries. ``owner`` None stands for everybody's. Unknown ids give None."""

    def on_due(self, callback: Callable[[], None]) -> None:
        """Call ``callback`` when a method here has made something due (the ends of jobs are told by the ledger's events)."""
        ...

    def secret_of(self, owner: str) -> str:
        """What signs messages to the ``webhook_url`` of the owner's jobs and batches."""
        ...

    async def add_endpoint(self, endpoint: Endpoint, limit: int) -> None:
        """Store an endpoint.

        Raises:
            Conflict: Its owner has ``limit`` of them.
        """
        ...

    async def endpoints(self, owner: str | None) -> Sequence[Endpoint]:
        """All, oldest first."""
        ...

    async def endpoint(self, endpoint_id: str) -> Endpoint | None:
        """One of them."""
        ...

    async def change_endpoint(self, endpoint: Endpoint) -> Endpoint | None:
        """Store url, secret, types and whether it is disabled; when it is, what waits for it fails."""
        ...

    async def remove_endpoint(self, endpoint_id: str) -> bool:
        """Remove it; what waits for it fails. False when it is not there."""
        ...

    async def add_test(self, endpoint_id: str) -> Delivery | None:
        """A ``webhook.test`` for the endpoint, due now."""
        ...

    async def deliveries(
        self,
        owner: str | None,
        status: DeliveryStatus | None = None,
        job_id: str | None = None,
        endpoint_id: str | None = None,
        before: tuple[float, str] | None = None,
        limit: int = 50,
    ) -> Sequence[Delivery]:
        """Newest first; ``before`` is (created_at, id) of the last one seen."""
        ...

    async def delivery(self, delivery_id: str) -> Delivery | None:
        """One of them."""
        ...

    async def replay(self, delivery_id: str) -> Delivery | None:
        """Due now, under the same id, with all its tries before it.

        Raises:
            Conflict: Its endpoint was removed or is disabled.
        """
        ...

    async def due(self, now: float, busy: Collection[str], after: tuple[float, str], limit: int) -> Sequence[Due]:
        """What is due, the longest first, without the ids in ``busy``; ``after`` is the :attr:`Due.place` of the last one seen, or :data:`FIRST`.

        Nothing on all nodes but one, which sends for all.
        """
        ...

    async def next_due(self, now: float) -> float | None:
        """When the next one is due that is not due yet."""
        ...

    async def settle(self, delivery_id: str, outcome: Outcome) -> None:
        """Write down how a try went; ``gone`` disables the endpoint and fails what waits for it."""
        ...

    async def drop_deliveries(self, before: float, limit: int = 500) -> int:
        """Remove those that ended before that time; how many."""
        ...
