"""Other encodings of a finished result, made from its takes when somebody asks for one, once for all who ask.

A rendition is named after job, revision and format. Losing one costs only time; nothing in the ledger knows of it.
"""

import asyncio
import errno
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from rhapsode.audio.encode import extension
from rhapsode.blobs.base import BlobStat
from rhapsode.errors import Gone, StorageFull
from rhapsode.jobs.encoding import encode_takes
from rhapsode.jobs.joiner import uninterrupted
from rhapsode.jobs.shop import Shop
from rhapsode.jobs.stored import drop
from rhapsode.model import AudioFormat, Job, is_job_id

FORMATS = tuple(one for one in AudioFormat if one is not AudioFormat.PCM)
_AT_ONCE = 2
"""Made at the same time; the others wait their turn."""
_NO_SPACE = frozenset({errno.ENOSPC, errno.EDQUOT})


@dataclass(slots=True)
class _Making:
    """A rendition that is being made."""

    task: asyncio.Task[None]
    waiters: int = 0


def rendition_name(job: Job, audio_format: AudioFormat) -> str:
    """Under which name the store of renditions has it."""
    revision = job.result.revision if job.result else 0
    return f"{job.id}.{revision}.{extension(audio_format)}"


async def drop_renditions(shop: Shop, job: Job) -> None:
    """Delete all renditions of a job's present result."""
    for audio_format in FORMATS:
        await drop(shop.renditions, rendition_name(job, audio_format))


async def outdated_renditions(shop: Shop, names: Sequence[str]) -> Collection[str]:
    """Which of these are of no living job, or not of its present result."""
    outdated: list[str] = []
    for name in names:
        job_id, _, rest = name.partition(".")
        job = await shop.ledger.get_job(job_id) if is_job_id(job_id) else None
        revision = job.result.revision if job and not job.deleted and job.result else None
        if rest.partition(".")[0] != str(revision):
            outdated.append(name)
    return outdated


class Renditions:
    """Makes and finds renditions. Used from one event loop.

    Args:
        shop: Shared parts.
    """

    def __init__(self, shop: Shop) -> None:
        self._shop = shop
        self._making: dict[str, _Making] = {}
        self._turns = asyncio.Semaphore(_AT_ONCE)

    async def is_made(self, job: Job, audio_format: AudioFormat) -> bool:
        """Whether it is there."""
        return await self._shop.renditions.stat(rendition_name(job, audio_format)) is not None

    async def find(self, job: Job, audio_format: AudioFormat) -> tuple[str, BlobStat]:
        """A completed job in another format: its name in the store; made now when it is not there. Making it ends when nobody waits any more.

        Raises:
            Gone: A take is missing or damaged, or the job was deleted meanwhile.
            Unavailable: The job changed meanwhile.
            StorageFull: The disk is full.
            StorageAway: Their store cannot be reached.
        """
        name = rendition_name(job, audio_format)
        found = await self._shop.renditions.stat(name)
        if found is not None:
            return name, found
        making = self._making.get(name)
        if making is None:
            making = self._making[name] = _Making(asyncio.create_task(self._make(job, audio_format, name)))
        making.waiters += 1
        try:
            await asyncio.shield(making.task)
        finally:
            making.waiters -= 1
            if making.task.done() or not making.waiters:
                making.task.cancel()
                if self._making.get(name) is making:  # whoever comes now begins anew
                    del self._making[name]
        found = await self._shop.renditions.stat(name)
        if found is None:
            raise Gone(f"job {job.id} was deleted meanwhile")
        return name, found

    async def _make(self, job: Job, audio_format: AudioFormat, name: str) -> None:
        async with self._turns:
            draft = self._shop.renditions.scratch()
            try:
                await encode_takes(self._shop, job, audio_format, draft)
                await uninterrupted(self._shop.renditions.adopt(draft, name))
            except OSError as error:
                if error.errno not in _NO_SPACE:
                    raise
                raise StorageFull(f"the disk is full: {name} was not made") from error
            finally:
                draft.unlink(missing_ok=True)
        if await outdated_renditions(self._shop, [name]):
            await self._shop.renditions.delete(name)
