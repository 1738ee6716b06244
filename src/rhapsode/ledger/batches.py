"""The contract of batches: many jobs that were sent together."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from rhapsode.ledger.base import NewJob
from rhapsode.model import Job, JobStatus


@dataclass(frozen=True, slots=True)
class NewBatch:
    """A batch to insert. The ids of its jobs grow with their places in it."""

    id: str
    owner: str
    total: int
    """Items that were sent, those that were refused included."""
    errors: Sequence[Mapping[str, Any]]
    """Of the refused items: JSON objects, each with its ``index``."""
    jobs: Sequence[NewJob]
    webhook_url: str | None = None
    idempotency_key: str | None = None
    fingerprint: str = ""


@dataclass(frozen=True, slots=True)
class Batch:
    """A batch as it stands. Times are seconds since the epoch."""

    id: str
    owner: str
    created_at: float
    ended_at: float | None
    """When the last of its jobs ended."""
    total: int
    errors: tuple[Mapping[str, Any], ...] = ()
    jobs: Mapping[JobStatus, int] = field(default_factory=dict)
    """How many of its jobs have which status, tombstones aside."""
    deleted: int = 0
    """How many are tombstones."""
    chars_done: int = 0
    text_chars: int = 0

    @property
    def progress(self) -> float:
        """Percent of the characters, 0 … 100; at most 99 before all have ended."""
        if self.ended_at is not None:
            return 100.0
        return min(99.0, round(100.0 * self.chars_done / self.text_chars, 1)) if self.text_chars else 0.0

    def indexes(self) -> Sequence[int]:
        """Of its jobs in order: their places among the items that were sent."""
        refused = {error["index"] for error in self.errors}
        return [index for index in range(self.total) if index not in refused]


def request_counts(jobs_by_status: Mapping[JobStatus, int], deleted: int, total: int) -> dict[str, int]:
    """How many items have come to what; the refused ones are those that became no job."""
    taken = sum(jobs_by_status.values()) + deleted
    by_status = {status.value: jobs_by_status.get(status, 0) for status in JobStatus}
    return {"total": total, **by_status, "refused": total - taken, "deleted": deleted}


class BatchLedger(Protocol):
    """What the ledger does with batches."""

    async def submit_batch(self, batch: NewBatch) -> tuple[Batch, Sequence[Job], bool]:
        """Insert a batch with all its jobs in one transaction; event ``job.queued`` of each.

        Returns:
            The batch, its jobs in order, and whether it is new; with a known idempotency key (per owner) the batch of before.
            A key is free again when all jobs of its batch are gone.

        Raises:
            InvalidInput: The key is known with another fingerprint, or a text is no Unicode; nothing is stored.
            QuotaExceeded: Its jobs would go over a limit; nothing is stored.
        """
        ...

    async def submitted(self, owner: str, key: str, fingerprint: str) -> Batch | None:
        """The batch that was submitted under this idempotency key and has jobs still, or None.

        Raises:
            InvalidInput: The key is known with another fingerprint.
        """
        ...

    async def get_batch(self, batch_id: str) -> Batch | None:
        """The batch, or None."""
        ...

    async def list_batches(
        self, owner: str | None = None, before: tuple[float, str] | None = None, limit: int = 50
    ) -> Sequence[Batch]:
        """Batches newest first; ``before`` is (created_at, id) of the last one seen."""
        ...

    async def batch_jobs(self, batch_id: str, start: int = 0, limit: int = 1_000) -> Sequence[Job]:
        """Jobs of a batch from place ``start`` on, in order, tombstones included."""
        ...

    async def cancel_batch(self, batch_id: str, reason: str) -> int:
        """Cancel its unfinished jobs in one transaction; how many that were."""
        ...
