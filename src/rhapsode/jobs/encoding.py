"""The takes of a completed job as one file, as the joiner made its result: same timeline, same loudness."""

from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from pathlib import Path
from typing import Protocol

from rhapsode.deliver.assemble import Assembled, Assembler, LoudnessPass
from rhapsode.errors import BlobError
from rhapsode.jobs.joiner import in_thread, joint_of, read_take, tags, timeline_options
from rhapsode.jobs.shop import Shop
from rhapsode.jobs.spoken import finished_pages, lost_take
from rhapsode.model import AudioFormat, Job, Joint

NONE_REPLACED: Mapping[int, bytes] = {}


class _Sink(Protocol):
    def add(self, take: bytes, joint: Joint) -> object: ...


async def encode_takes(
    shop: Shop, job: Job, audio_format: AudioFormat, path: Path, replaced: Mapping[int, bytes] = NONE_REPLACED
) -> Assembled:
    """Write the takes of a completed job to a file.

    Args:
        shop: Shared parts.
        job: The job.
        audio_format: Of the file.
        path: Where to write; not synced to disk.
        replaced: Takes that stand in for those of the job, by segment.

    Raises:
        Gone: A take is missing or damaged.
        JobEnded, Unavailable: The job was deleted or changed meanwhile.
        OSError: The file cannot be written.
    """
    options, target = timeline_options(job, job.rate), job.request.loudness_lufs
    makeup = 1.0
    if target is not None:
        meter = LoudnessPass(options, target)
        await _feed(shop, job, replaced, meter)
        makeup = await in_thread(meter.makeup)
    assembler = await in_thread(Assembler, path, audio_format, options, tags(job), makeup)
    try:
        await _feed(shop, job, replaced, assembler)
        return await in_thread(assembler.finish)
    except BaseException:
        assembler.abort()
        raise


async def _feed(shop: Shop, job: Job, replaced: Mapping[int, bytes], sink: _Sink) -> None:
    async with aclosing(_takes(shop, job, replaced)) as takes:
        async for data, joint in takes:
            await in_thread(sink.add, data, joint)


async def _takes(shop: Shop, job: Job, replaced: Mapping[int, bytes]) -> AsyncGenerator[tuple[bytes, Joint], None]:
    async with aclosing(finished_pages(shop.ledger, job, job.segments_total)) as pages:
        async for page in pages:
            for state in page:
                data = replaced.get(state.segment.index)
                try:
                    yield data or await read_take(shop, state), joint_of(job, state)
                except BlobError as error:
                    raise lost_take(job, error) from error
