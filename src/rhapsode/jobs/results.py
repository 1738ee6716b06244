"""Finished files as they are given out: checked against their digest, and made again from their takes when they are lost or damaged.

A file on this machine is checked when it is first asked for, and whenever it is another version than before; asking again costs a
look at the folder. A bucket checks its own. The same takes give the same bytes: what is made again is what was there.
"""

import asyncio
import hashlib
import logging
from collections import OrderedDict
from pathlib import Path

from rhapsode.blobs.base import BlobStat
from rhapsode.errors import BlobError, RhapsodeError, StorageAway
from rhapsode.jobs.encoding import encode_takes
from rhapsode.jobs.joiner import in_thread, uninterrupted
from rhapsode.jobs.shop import Shop
from rhapsode.jobs.stored import drop
from rhapsode.model import Job, Result

log = logging.getLogger(__name__)

_REMEMBERED = 10_000
_AT_ONCE = 2
"""Made again at the same time; the others wait their turn."""


class Results:
    """Finds results. Used from one event loop.

    Args:
        shop: Shared parts.
    """

    def __init__(self, shop: Shop) -> None:
        self._shop = shop
        self._good: OrderedDict[str, BlobStat] = OrderedDict()
        self._checking: dict[str, asyncio.Task[BlobStat | None]] = {}
        self._turns = asyncio.Semaphore(_AT_ONCE)

    async def stat(self, job: Job) -> BlobStat | None:
        """The finished file, whole, in its store; None when there is none and it cannot be made again.

        Raises:
            StorageAway: The store cannot be reached now.
        """
        if job.result is None:
            return None
        name = job.result.name
        found = await self._shop.results.stat(name)
        if found is not None and self._good.get(name) == found:
            return found
        checking = self._checking.get(name)
        if checking is None:
            checking = self._checking[name] = asyncio.create_task(self._check(job, job.result))
            checking.add_done_callback(lambda _: self._checking.pop(name, None))
        return await asyncio.shield(checking)

    async def _check(self, job: Job, result: Result) -> BlobStat | None:
        """What is there in the end."""
        found = await self._whole(result)
        if found is None:
            log.warning("job %s: its result %s is gone or damaged", job.id, result.name)
            if await self._make_again(job, result):
                found = await self._whole(result)
        return found

    async def _whole(self, result: Result) -> BlobStat | None:
        """The file, if it is what was stored."""
        found = await self._shop.results.stat(result.name)
        if found is None or found.size != result.size:
            return None
        path = self._shop.results.local_path(result.name)
        try:
            if path is not None and await in_thread(_digest, path) != result.digest:
                return None
        except OSError as error:
            log.warning("%s cannot be read: %s", path, error)
            return None
        self._good[result.name] = found
        while len(self._good) > _REMEMBERED:
            self._good.popitem(last=False)
        return found

    async def _make_again(self, job: Job, result: Result) -> bool:
        draft = self._shop.results.scratch()
        try:
            async with self._turns:
                made = await encode_takes(self._shop, job, result.format, draft)
                if made.digest != result.digest:
                    raise BlobError("its takes give other bytes than they gave")
                await uninterrupted(self._shop.results.adopt(draft, result.name))
        except StorageAway:
            raise
        except (RhapsodeError, OSError) as error:
            log.warning("job %s: its result cannot be made again: %s", job.id, error)
            return False
        finally:
            draft.unlink(missing_ok=True)
        now = await self._shop.ledger.get_job(job.id)
        if now is None or now.deleted or now.result != result:
            await drop(self._shop.results, result.name)
            return False
        log.warning("job %s: its result was made again", job.id)
        return True


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
