"""Many texts at once."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from rhapsode.client.flow import Ask, Flow, Pause, ask
from rhapsode.client.values import BatchInfo, BatchItem

_POLL_S = 0.5


def submit_batch(
    items: Sequence[BatchItem], *, tags: Sequence[str] = (), idempotency_key: str | None = None
) -> Flow[BatchInfo]:
    """Store many texts in one transaction. Wrong ones are refused one by one (``errors``), unless all are.

    Args:
        items: The texts.
        tags: For all, beside their own.
        idempotency_key: The same key with the same items gives the batch of before.
    """
    requests = [
        item.options.body(item.text) | ({"custom_id": item.custom_id} if item.custom_id else {}) for item in items
    ]
    body = {"requests": requests, "tags": list(tags)}
    headers = {"Idempotency-Key": idempotency_key} if idempotency_key else {}
    return (yield from ask("POST", "/tts/batch", BatchInfo, json=body, headers=headers))


def batch(batch_id: str) -> Flow[BatchInfo]:
    """Where a batch stands."""
    return (yield from ask("GET", f"/batches/{batch_id}", BatchInfo))


def wait_batch(batch_id: str, on_progress: Callable[[BatchInfo], object] | None = None) -> Flow[BatchInfo]:
    """Wait until all jobs of a batch have ended, however they end."""
    while True:
        found = yield from batch(batch_id)
        if on_progress:
            on_progress(found)
        if found.ended_at is not None:
            return found
        yield Pause(_POLL_S)


@dataclass(frozen=True, slots=True)
class _Cancelled:
    cancelled: int


def cancel_batch(batch_id: str) -> Flow[int]:
    """Cancel what is unfinished of a batch; how many jobs that were."""
    return (yield from ask("DELETE", f"/batches/{batch_id}", _Cancelled)).cancelled


def purge_batch(batch_id: str) -> Flow[None]:
    """Delete a batch with all its texts and audio."""
    yield Ask("DELETE", f"/batches/{batch_id}", params={"purge": "true"})
