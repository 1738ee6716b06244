"""What is spoken of a job so far, without waiting for the rest: where its segments lie on the timeline, and its takes in order."""

from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass

from rhapsode.deliver.timeline import Placer, gap_samples
from rhapsode.errors import BlobError, Gone, RhapsodeError, Unavailable
from rhapsode.jobs.takes import JobEnded
from rhapsode.ledger.base import Ledger, Spoken
from rhapsode.model import Job, JobStatus, SegmentState, SegmentStatus

_PAGE = 64


@dataclass(frozen=True, slots=True)
class Extent:
    """How far a job is spoken without a gap."""

    segments: int
    samples: int
    """On the timeline: pauses between them included, the one behind the last not."""


async def extent_of(ledger: Ledger, job: Job) -> Extent:
    """How far the job is spoken without a gap; all of it when it is completed."""
    if (
        not job.rate
    ):  # as the job was read, nothing was spoken; what has come since lies on a timeline whose rate it does not tell
        return Extent(0, 0)
    spoken = await ledger.spoken(job.id)
    return Extent(spoken.segments, _end(job, spoken))


async def placer_from(ledger: Ledger, job: Job, index: int) -> Placer | None:
    """Finds the places of segment ``index`` and those behind it; None while one before it is not spoken."""
    spoken = await ledger.spoken(job.id, before=index)
    if not job.rate or spoken.segments < index:
        return None
    return Placer(job.rate, job.request.pauses, _end(job, spoken), spoken.last)


async def finished_pages(ledger: Ledger, job: Job, segments: int) -> AsyncGenerator[Sequence[SegmentState], None]:
    """The first ``segments`` segments, all of which are done, page by page.

    Raises:
        JobEnded: The job was deleted meanwhile.
        Unavailable: A segment was made again meanwhile: what came before does not fit what would come now.
    """
    index = 0
    while index < segments:
        page = await ledger.segments(job.id, start=index, limit=min(_PAGE, segments - index))
        if not page or any(state.status is not SegmentStatus.DONE for state in page):
            break
        yield page
        index += len(page)
    now = await ledger.get_job(job.id)
    if now is None or now.deleted:
        raise JobEnded(None, job.id)
    if index < segments or _revision(now) not in (_revision(job), _FIRST):
        raise Unavailable(f"job {job.id} changed while it was read; ask again")


def lost_take(job: Job, error: BlobError) -> RhapsodeError:
    """What a reader is told whose take is missing or damaged: while the job runs it is spoken again, afterwards it is gone."""
    if job.status is JobStatus.COMPLETED:
        return Gone(f"sound of job {job.id} is no longer there in pieces, only as a whole: {error}")
    return Unavailable(f"sound of job {job.id} is not there now: {error}")


_FIRST = 1
"""A job that completes meanwhile has the takes that it had before."""


def _revision(job: Job) -> int | None:
    return job.result.revision if job.result else None


def _end(job: Job, spoken: Spoken) -> int:
    """Where the last of these ends, in samples."""
    pauses = job.request.pauses
    return spoken.samples + sum(
        count * gap_samples(pauses, before, lead_ms, job.rate) for (before, lead_ms), count in spoken.gaps.items()
    )
