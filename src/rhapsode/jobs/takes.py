"""A job's takes in order, as they come: what assembling and live listening stand on. Reads only ledger and blobs."""

from collections.abc import AsyncGenerator, Callable, MutableMapping

from rhapsode.errors import RhapsodeError
from rhapsode.jobs.events import END_EVENTS, Watch
from rhapsode.jobs.shop import Shop
from rhapsode.model import Job, JobStatus, SegmentState, SegmentStatus

_PAGE = 64
_EDGE = 4
"""How many are read at the edge of what is spoken: most are not done."""
_POLL_S = 10.0
"""Events are hints; another node's may be lost, so look again at least this often."""

_NEWS = END_EVENTS | {"segment.completed", "plan.extended", "job.retried"}


class JobEnded(RhapsodeError):
    """The job failed, was cancelled or went away before its last take."""

    def __init__(self, job: Job | None, job_id: str) -> None:
        status = job.status if job else "deleted"
        super().__init__(f"job {job_id} ended as {status}" + (f": {job.error}" if job and job.error else ""))
        self.job = job


async def takes_in_order(
    shop: Shop,
    job_id: str,
    start: int = 0,
    total: Callable[[], int | None] = lambda: None,
    recent: MutableMapping[int, SegmentState] | None = None,
) -> AsyncGenerator[SegmentState, None]:
    """Yield each finished segment from ``start`` on, in order, waiting for those that are not there yet.

    A page is read once: what was not done in it is told by an event. Ends behind the last segment of a job that is fully planned.

    Args:
        shop: Shared parts; only ledger and hub are used.
        job_id: The job.
        start: First segment.
        total: Number of segments once it is known, to spare looking it up; None until then.
        recent: Segments as they are once they are told to be completed, to spare reading them; taken out.

    Raises:
        JobEnded: The job failed, was cancelled or deleted before that.
    """
    recent = {} if recent is None else recent
    index, read_to, look = start, start, True
    held: dict[int, SegmentState] = {}
    with shop.hub.watch(job_id, _NEWS) as watch:
        while index != total():
            state = held.pop(index, None) or (recent.pop(index, None) if index in watch.spoken else None)
            if state is None and (look or index >= read_to or index in watch.spoken):
                limit = _EDGE if index in watch.spoken and index < read_to else _PAGE
                watch.spoken.discard(index)  # what is told from now on is news to this page
                page = await shop.patiently(shop.ledger.segments, job_id, start=index, limit=limit)
                read_to = max(read_to, page[-1].segment.index + 1 if page else index)
                held |= {state.segment.index: state for state in page if state.status is SegmentStatus.DONE}
                state = held.pop(index, None)
            if state is not None:
                recent.pop(index, None)
                yield state
                index += 1
                continue
            if look or watch.ended or index >= read_to:
                job = await shop.patiently(shop.ledger.get_job, job_id)
                if job is None or job.deleted:
                    raise JobEnded(None, job_id)
                if job.plan_done and index >= job.segments_total > 0:
                    return
                if job.status in (JobStatus.FAILED, JobStatus.CANCELLED):
                    raise JobEnded(job, job_id)
            look = not await _news_of(index, watch)


async def _news_of(index: int, watch: Watch) -> bool:
    """Wait until segment ``index`` is done, or something else than a segment's end has happened; False when the time ran out."""
    while await watch.wait(_POLL_S):
        turned, watch.turned = watch.turned, False
        watch.spoken = {later for later in watch.spoken if later >= index}
        if turned or index in watch.spoken:
            return True
    return False
