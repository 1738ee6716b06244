"""A job's takes in order, as they come: what assembling and live listening stand on. Reads only ledger and blobs."""

from collections.abc import AsyncIterator

from rhapsode.errors import RhapsodeError
from rhapsode.jobs.events import END_EVENTS, EventHub
from rhapsode.ledger.base import Ledger
from rhapsode.model import Job, JobStatus, SegmentState, SegmentStatus

_PAGE = 64
_POLL_S = 1.0
"""Events are hints; another node's may be lost, so look again at least this often."""

_NEWS = END_EVENTS | {"segment.completed", "plan.extended", "job.retried"}


class JobEnded(RhapsodeError):
    """The job failed, was cancelled or went away before its last take."""

    def __init__(self, job: Job | None, job_id: str) -> None:
        status = job.status if job else "deleted"
        super().__init__(f"job {job_id} ended as {status}" + (f": {job.error}" if job and job.error else ""))
        self.job = job


async def takes_in_order(ledger: Ledger, hub: EventHub, job_id: str, start: int = 0) -> AsyncIterator[SegmentState]:
    """Yield each finished segment from ``start`` on, in order, waiting for those that are not there yet.

    Ends behind the last segment of a job that is fully planned.

    Raises:
        JobEnded: The job failed, was cancelled or deleted before that.
    """
    index = start
    with hub.watch(job_id, _NEWS) as watch:
        while True:
            job = await ledger.get_job(job_id)
            if job is None or job.deleted:
                raise JobEnded(None, job_id)
            page = await ledger.segments(job_id, start=index, limit=_PAGE)
            before = index
            for state in page:
                if state.status is not SegmentStatus.DONE or state.segment.index != index:
                    break
                yield state
                index += 1
            if index > before:
                continue
            if job.plan_done and index >= job.segments_total:
                return
            if job.status in (JobStatus.FAILED, JobStatus.CANCELLED):
                raise JobEnded(job, job_id)
            await watch.wait(_POLL_S)
