"""Events as they happen, behind those that were stored: nothing is missed, nothing comes twice, however slow the listener is.

The ledger is read page by page until a listener has caught up; from there on it is served from memory, and from the ledger
again when it falls behind. What is held for one listener is bounded.
"""

from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass

from rhapsode.jobs.events import END_EVENTS
from rhapsode.jobs.shop import Shop
from rhapsode.model import Event, Job

_PAGE = 500
_HELD = 512
"""Events held in memory for a listener that has caught up."""
_OWNERS = 10_000
"""Jobs whose owner is remembered."""


@dataclass(frozen=True, slots=True)
class Resync:
    """Something was pruned that the listener has not seen: begin anew from ``job``, or from all jobs."""

    at: int
    """Where the stream goes on: the ``seq`` of the job's newest event, or the ``pos`` of the newest of all."""
    job: Job | None = None


Batch = Sequence[Event] | Resync
"""What a stream yields; an empty sequence says only that it is alive."""


async def job_events(shop: Shop, job_id: str, after: int, beat_s: float) -> AsyncGenerator[Batch, None]:
    """A job's events with ``seq`` > ``after``; ends behind the end of its last run, or when it is deleted.

    Args:
        shop: Shared parts.
        job_id: The job.
        after: ``seq`` of the last one that was seen; 0 for none.
        beat_s: After so long without an event an empty batch comes.
    """
    with shop.hub.tail(job_id, _HELD) as tail:
        while True:
            job = await shop.patiently(
                shop.ledger.get_job, job_id
            )  # before its events: what comes in between is no gap
            page = await shop.patiently(shop.ledger.events, job_id, after, _PAGE)
            if job is None:
                return
            if job.deleted:
                yield page[-1:]  # all that is left: the word that it is gone
                return
            following = [event for number, event in enumerate(page, after + 1) if event.seq == number]
            if following:
                after = following[-1].seq
                yield following
                continue
            if page or job.event_seq != after:
                after = job.event_seq
                yield Resync(after, job)
                continue
            if job.status.is_terminal:
                return
            while True:
                news = await tail.next(beat_s)
                fresh = [event for event in news or () if event.seq > after]
                if news is None or (fresh and fresh[0].seq != after + 1):
                    break
                if fresh:
                    after = fresh[-1].seq
                yield fresh
                if not fresh or fresh[-1].type in END_EVENTS:
                    break


class Owners:
    """Whose job an event tells of."""

    def __init__(self, shop: Shop) -> None:
        self._shop = shop
        self._known: dict[str, str] = {}

    async def keep(self, events: Sequence[Event], owner: str | None) -> Sequence[Event]:
        """Those of ``owner``'s jobs; all for None."""
        if owner is None:
            return events
        return [event for event in events if await self._of(event.job_id) == owner]

    async def _of(self, job_id: str) -> str:
        if job_id not in self._known:
            job = await self._shop.patiently(self._shop.ledger.get_job, job_id)
            if len(self._known) >= _OWNERS:
                self._known.clear()
            self._known[job_id] = job.owner if job else ""
        return self._known[job_id]


async def all_events(
    shop: Shop, owners: Owners, owner: str | None, after: int, beat_s: float
) -> AsyncGenerator[tuple[int, Batch], None]:
    """Events of all the owner's jobs with ``pos`` > ``after``; never ends.

    Yields:
        Where to go on, and what happened. An empty batch comes after ``beat_s`` seconds without an event.
    """
    with shop.hub.tail(None, _HELD) as tail:
        newest, pruned = await shop.patiently(shop.ledger.event_marks)
        if after < pruned or after > newest:
            after = newest
            yield after, Resync(after)
        while True:
            page, reached = await shop.patiently(shop.ledger.events_of_all, owner, after, _PAGE)
            if reached > after:
                after = reached
                if page:
                    yield after, page
                continue
            while (news := await tail.next(beat_s)) is not None:
                fresh = [event for event in news if event.pos > after]
                mine = await owners.keep(fresh, owner)
                if fresh:
                    after = fresh[-1].pos
                if mine or not news:
                    yield after, mine
                if not news:
                    break


def envelope(event: Event, at: str) -> Mapping[str, object]:
    """What listeners get of an event; ``at`` is its time in ISO 8601."""
    return {"job_id": event.job_id, "seq": event.seq, "type": event.type, "at": at, "data": event.data}
