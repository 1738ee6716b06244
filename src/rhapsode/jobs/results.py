"""Finished files as they are given out: checked against their digest, and made again from their takes when they are lost or damaged.

A file is checked when it is first asked for and whenever it looks another than before (size, time, inode), so that asking again
costs a look at the folder. The same takes give the same bytes: what is made again is what was there.
"""

import asyncio
import hashlib
import logging
from collections import OrderedDict
from pathlib import Path

from rhapsode.errors import BlobError, RhapsodeError
from rhapsode.jobs.encoding import encode_takes
from rhapsode.jobs.joiner import in_thread, uninterrupted
from rhapsode.jobs.shop import Shop
from rhapsode.model import Job, Result

log = logging.getLogger(__name__)

_REMEMBERED = 10_000
_AT_ONCE = 2
"""Made again at the same time; the others wait their turn."""

_Looks = tuple[int, int, int]


class Results:
    """Finds results. Used from one event loop.

    Args:
        shop: Shared parts.
    """

    def __init__(self, shop: Shop) -> None:
        self._shop = shop
        self._good: OrderedDict[str, _Looks] = OrderedDict()
        self._checking: dict[str, asyncio.Task[bool]] = {}
        self._turns = asyncio.Semaphore(_AT_ONCE)

    async def path(self, job: Job) -> Path | None:
        """Where the finished file lies on this machine, whole; None when there is none and it cannot be made again."""
        if job.result is None:
            return None
        name = job.result.name
        path = self._shop.results.local_path(name)
        if path is not None and self._good.get(name) == _looks(path):
            return path
        checking = self._checking.get(name)
        if checking is None:
            checking = self._checking[name] = asyncio.create_task(self._check(job, job.result))
            checking.add_done_callback(lambda _: self._checking.pop(name, None))
        return self._shop.results.local_path(name) if await asyncio.shield(checking) else None

    async def _check(self, job: Job, result: Result) -> bool:
        """Whether the file is there and whole, in the end."""
        path = self._shop.results.local_path(result.name)
        if path is not None and await self._is_whole(path, result):
            return True
        if path is None and await self._shop.results.size(result.name) == result.size:
            return True  # on another machine
        log.warning("job %s: its result %s is %s", job.id, result.name, "damaged" if path else "gone")
        return await self._make_again(job, result)

    async def _is_whole(self, path: Path, result: Result) -> bool:
        looks = _looks(path)
        try:
            whole = looks is not None and looks[1] == result.size and await in_thread(_digest, path) == result.digest
        except OSError as error:
            log.warning("%s cannot be read: %s", path, error)
            return False
        if whole and looks is not None:
            self._good[result.name] = looks
            while len(self._good) > _REMEMBERED:
                self._good.popitem(last=False)
        return whole

    async def _make_again(self, job: Job, result: Result) -> bool:
        draft = self._shop.results.scratch()
        try:
            async with self._turns:
                made = await encode_takes(self._shop, job, result.format, draft)
                if made.digest != result.digest:
                    raise BlobError("its takes give other bytes than they gave")
                await uninterrupted(self._shop.results.adopt(draft, result.name))
        except (RhapsodeError, OSError) as error:
            log.warning("job %s: its result cannot be made again: %s", job.id, error)
            return False
        finally:
            draft.unlink(missing_ok=True)
        now = await self._shop.ledger.get_job(job.id)
        if now is None or now.deleted or now.result != result:
            await self._shop.results.delete(result.name)
            return False
        log.warning("job %s: its result was made again", job.id)
        path = self._shop.results.local_path(result.name)
        return path is None or await self._is_whole(path, result)


def _looks(path: Path) -> _Looks | None:
    """What changes when a file is written to or replaced."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
