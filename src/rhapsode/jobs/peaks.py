"""The waveform of what is spoken of a job, measured from its takes."""

from contextlib import aclosing

from rhapsode.deliver.peaks import PeakMeter, Peaks
from rhapsode.errors import BlobError
from rhapsode.jobs.joiner import in_thread, joint_of, read_take, timeline_options
from rhapsode.jobs.shop import Shop
from rhapsode.jobs.spoken import extent_of, finished_pages, lost_take
from rhapsode.model import Job, JobStatus


async def measure_peaks(shop: Shop, job: Job, points: int) -> Peaks:
    """The waveform of the finished prefix, all of a completed job; stops when it is cancelled, between two takes.

    Args:
        shop: Shared parts.
        job: The job.
        points: Stretches to divide it into; there are never more than samples.

    Raises:
        Gone, Unavailable: A take is missing or damaged.
        JobEnded, Unavailable: The job was deleted or changed meanwhile.
    """
    extent = await extent_of(shop.ledger, job)
    if not extent.samples:
        return Peaks(job.rate, 0, (), ())
    target = job.request.loudness_lufs if job.status is JobStatus.COMPLETED else None
    meter = await in_thread(PeakMeter, timeline_options(job, job.rate), extent.samples, points, target)
    async with aclosing(finished_pages(shop.ledger, job, extent.segments)) as pages:
        async for page in pages:
            for state in page:
                try:
                    data = await read_take(shop, state)
                except BlobError as error:
                    raise lost_take(job, error) from error
                await in_thread(meter.add, data, joint_of(job, state))
    return await in_thread(meter.finish)
