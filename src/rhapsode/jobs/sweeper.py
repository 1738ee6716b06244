"""Clean up by itself: expired jobs, takes that nobody needs, bytes that nobody knows. Rows first, bytes after a grace."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import asdict, astuple, dataclass
from functools import partial

from rhapsode.blobs.base import BlobStore
from rhapsode.failpoints import failpoint
from rhapsode.jobs.joiner import result_job_id
from rhapsode.jobs.renditions import drop_renditions, outdated_renditions
from rhapsode.jobs.shop import Shop
from rhapsode.jobs.stored import drop

log = logging.getLogger(__name__)

_PAGE = 500
_GRACE_S = 600.0
"""Bytes this young are left alone: their row may be on its way."""
_JUMP_S = 60.0
_TEMP_AGE_S = 86400.0
"""A file this long unwritten is nobody's; a job that pauses for longer assembles again."""


@dataclass(frozen=True, slots=True)
class Swept:
    """What one round removed."""

    jobs: int = 0
    takes: int = 0
    orphans: int = 0
    deliveries: int = 0


class Sweeper:
    """Sweeps every ``interval_s`` seconds, first one interval after its start.

    Args:
        shop: Shared parts.
        interval_s: Time between two rounds.
        grace_s: How long bytes without a row are left alone.
        monotonic: Seconds that never jump; compared with ``shop.clock`` to notice that the wall clock did.
        webhook_keep_s: How long deliveries of webhooks are kept after their end.
    """

    def __init__(
        self,
        shop: Shop,
        interval_s: float,
        grace_s: float = _GRACE_S,
        monotonic: Callable[[], float] = time.monotonic,
        webhook_keep_s: float = 30 * 86_400.0,
    ) -> None:
        self._shop = shop
        self._interval_s = interval_s
        self._grace_s = grace_s
        self._monotonic = monotonic
        self._webhook_keep_s = webhook_keep_s
        self._offset = shop.clock() - monotonic()

    async def run(self) -> None:
        """Sweep until cancelled."""
        while True:
            await asyncio.sleep(self._interval_s)
            try:
                await self.sweep()
            except Exception:  # whatever it was, the next round must come
                log.exception("sweeping failed; trying again in %g s", self._interval_s)

    async def sweep(self) -> Swept:
        """One round; skipped when the wall clock has jumped since the last one."""
        offset = self._shop.clock() - self._monotonic()
        jumped, self._offset = abs(offset - self._offset) > _JUMP_S, offset
        if jumped:
            log.warning("the clock has jumped; nothing is swept in this round")
            return Swept()
        jobs = await self._expire()
        takes = await self._drop_takes()
        await self._shop.ledger.drop_unreferenced_lexicons(self._shop.clock() - _TEMP_AGE_S)
        failpoint("sweep.rows")
        orphans = await self._drop_orphans(self._shop.takes, self._unknown_takes)
        orphans += await self._drop_orphans(self._shop.results, self._unknown_results)
        orphans += await self._drop_orphans(self._shop.renditions, partial(outdated_renditions, self._shop))
        clips = self._shop.clips
        orphans += await self._drop_orphans(clips.store, partial(clips.unneeded, ledger=self._shop.ledger))
        for store in (self._shop.takes, self._shop.results, self._shop.renditions, clips.store):
            orphans += await store.sweep_temp(_TEMP_AGE_S)
        swept = Swept(jobs, takes, orphans, await self._drop_deliveries())
        self._shop.metrics.swept(asdict(swept), self._shop.clock())
        if swept != Swept():
            log.info("swept %d expired jobs, %d takes, %d orphaned files, %d deliveries", *astuple(swept))
        return swept

    async def _expire(self) -> int:
        count = 0
        while jobs := await self._shop.ledger.expire_jobs(self._shop.clock(), _PAGE):
            count += len(jobs)
            for job in jobs:
                if job.result:
                    await drop(self._shop.results, job.result.name)
                    await drop_renditions(self._shop, job)
        return count

    async def _drop_takes(self) -> int:
        count = 0
        while digests := await self._shop.ledger.drop_unreferenced_takes(_PAGE):
            count += len(digests)
        return count

    async def _drop_deliveries(self) -> int:
        count = 0
        while dropped := await self._shop.outbox.drop_deliveries(self._shop.clock() - self._webhook_keep_s, _PAGE):
            count += dropped
        return count

    async def _drop_orphans(
        self, store: BlobStore, unknown: Callable[[Sequence[str]], Awaitable[Collection[str]]]
    ) -> int:
        count = 0
        page: list[str] = []
        async for name in store.names(self._grace_s):
            page.append(name)
            if len(page) == _PAGE:
                count += await self._drop_page(store, await unknown(page))
                page = []
        return count + await self._drop_page(store, await unknown(page))

    async def _drop_page(self, store: BlobStore, names: Collection[str]) -> int:
        for name in names:
            await store.delete(name)
        return len(names)

    async def _unknown_takes(self, digests: Sequence[str]) -> Collection[str]:
        return set(digests) - await self._shop.ledger.known_takes(digests)

    async def _unknown_results(self, names: Sequence[str]) -> Collection[str]:
        """Files of a job of ours that are not its result. What belongs to no job of this ledger is somebody else's."""
        ours = [name for name in names if result_job_id(name)]
        known = await self._shop.ledger.known_results(ours)
        return [name for name in ours if name not in known and await self._shop.ledger.get_job(result_job_id(name))]
