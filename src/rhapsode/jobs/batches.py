"""Many texts in one request: stored in one transaction, each spoken as a job of its own."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from rhapsode.errors import InvalidInput, NotFound
from rhapsode.jobs.request import SpeechBody
from rhapsode.jobs.safe_address import Policy, check_url
from rhapsode.jobs.service import JobService, new_job
from rhapsode.ledger.base import NewJob
from rhapsode.ledger.batches import Batch, NewBatch
from rhapsode.model import Caller, Job, is_job_id, new_job_id

_AT_ONCE = 50
"""Jobs that are resolved, or handed to the scheduler, between two turns of the event loop."""


class NothingAccepted(InvalidInput):
    """Every item of a batch was refused.

    Args:
        errors: Of the items, in order.
    """

    def __init__(self, errors: Sequence[Mapping[str, Any]]) -> None:
        super().__init__(
            f"none of the {len(errors)} requests can be taken; the first: {errors[0]['detail']}", "requests"
        )
        self.errors = errors


@dataclass(frozen=True, slots=True)
class Item:
    """One request of a batch, as far as it could be read."""

    index: int
    custom_id: str | None
    body: SpeechBody | Exception
    """What to speak, or what is wrong with it."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """A batch that somebody asks for."""

    items: Sequence[Item]
    webhook_url: str | None
    idempotency_key: str | None
    fingerprint: str


async def submit_batch(
    service: JobService, wanted: Wanted, caller: Caller, refusal: Callable[[Item, Exception], Mapping[str, Any]]
) -> tuple[Batch, Sequence[Job], bool]:
    """Store a batch with all of its items that can be taken.

    Args:
        service: Where the jobs go.
        wanted: The batch.
        caller: On whose behalf.
        refusal: What is told, and stored, of an item that was refused and why.

    Returns:
        The batch, its jobs in order, and whether it is new.

    Raises:
        NothingAccepted: No item can be taken; nothing is stored.
        InvalidInput: Wrong webhook_url, or a known key with another body.
        StorageFull, Unavailable, QuotaExceeded: As for a job; nothing is stored.
    """
    if wanted.webhook_url is not None:
        webhooks = service.settings.webhooks
        check_url(wanted.webhook_url, Policy(webhooks.allow_private, webhooks.hosts), "webhook_url")
    batches, key = service.shop.batches, wanted.idempotency_key
    if key is not None and (known := await batches.submitted(caller.owner, key, wanted.fingerprint)):
        return known, await batches.batch_jobs(known.id, limit=known.total), False
    service.require_room(len(wanted.items))
    batch_id = new_job_id()
    taken: list[NewJob] = []
    errors: list[Mapping[str, Any]] = []
    for number, item in enumerate(wanted.items, 1):
        try:
            if isinstance(item.body, Exception):
                raise item.body
            resolved, _ = await service.resolve(item.body, caller)
            job = new_job(item.body, resolved, caller)
            taken.append(replace(job, batch_id=batch_id, custom_id=item.custom_id))
        except (ValueError, InvalidInput) as error:  # pydantic's are values too
            errors.append(refusal(item, error))
        if number % _AT_ONCE == 0:
            await asyncio.sleep(0)
    if not taken:
        raise NothingAccepted(errors)
    # Ids that grow with the places: whoever sorts by id has the order of the batch.
    jobs = [replace(job, id=job_id) for job, job_id in zip(taken, sorted(job.id for job in taken), strict=True)]
    new = NewBatch(
        id=batch_id,
        owner=caller.owner,
        total=len(wanted.items),
        errors=errors,
        jobs=jobs,
        webhook_url=wanted.webhook_url,
        idempotency_key=key,
        fingerprint=wanted.fingerprint,
    )
    batch, stored, created = await batches.submit_batch(new)
    if created:
        await asyncio.shield(_hand_over(service, stored))
    return batch, stored, created


async def _hand_over(service: JobService, jobs: Sequence[Job]) -> None:
    for number, job in enumerate(jobs, 1):
        if not job.status.is_terminal:
            service.scheduler.submit(job)
        if number % _AT_ONCE == 0:
            await asyncio.sleep(0)


async def find_batch(service: JobService, batch_id: str, caller: Caller) -> Batch:
    """The batch.

    Raises:
        NotFound: No such batch; a malformed id, and a batch that the caller may not see, is simply unknown.
    """
    batch = await service.shop.batches.get_batch(batch_id) if is_job_id(batch_id) else None
    if batch is None or caller.sees not in (None, batch.owner):
        raise NotFound(f"there is no batch {batch_id[:100]!r}", "batch_id")
    return batch


async def purge_batch(service: JobService, batch: Batch, caller: Caller) -> None:
    """Delete the texts and audio of all its jobs; what stays are counts. Unfinished ones are cancelled first, together."""
    await service.shop.batches.cancel_batch(batch.id, "the batch was deleted")
    for job in await service.shop.batches.batch_jobs(batch.id, limit=batch.total):
        if not job.deleted:
            await service.purge(job.id, caller)
