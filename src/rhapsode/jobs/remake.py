"""Ask for one segment of a completed job again: with another seed, or another text."""

from dataclasses import replace

from rhapsode.errors import Conflict, InvalidInput
from rhapsode.jobs.runner import plan_options, wording
from rhapsode.jobs.service import JobService
from rhapsode.ledger.base import NewRedo
from rhapsode.model import Caller, Job, JobStatus, Markup, new_job_id
from rhapsode.text.markup import Tone
from rhapsode.text.plan import PlanCursor


async def remake_segment(
    service: JobService, job_id: str, segment: int, caller: Caller, seed: int | None = None, text: str | None = None
) -> tuple[Job, Job]:
    """Queue a segment to be made again; the job stays completed, and its result gets a new revision.

    Args:
        service: Where it goes.
        job_id: The completed job.
        segment: Which, counted from 0.
        caller: On whose behalf.
        seed: 1 … 2³²-1; None, 0 and -1: another one than before.
        text: Another text; None: as it is.

    Returns:
        The job, and the one that makes its segment again.

    Raises:
        NotFound, Gone: No such job or segment; it was deleted.
        Conflict: The job is not completed, or the segment is being made again just now.
        InvalidInput: The text is too long for one segment, or nothing in it can be spoken.
        StorageFull, Unavailable, QuotaExceeded: As for a job.
    """
    parent = await service.living(job_id, caller)
    if parent.status is not JobStatus.COMPLETED:
        hint = "retry it" if parent.status in (JobStatus.FAILED, JobStatus.CANCELLED) else "wait for its end"
        raise Conflict(f"job {job_id} is {parent.status}: only segments of completed jobs can be made again; {hint}")
    service.require_room(1)
    spoken = "" if text is None else await _spoken(service, parent, segment, text)
    redo = NewRedo(
        id=new_job_id(),
        parent_id=parent.id,
        segment=segment,
        seed=seed if seed and seed > 0 else None,
        text=None if text is None else text.strip(),
        spoken=spoken,
        limits=caller.limits,
    )
    made = await service.shop.ledger.submit_redo(redo)
    service.scheduler.submit(made)
    return parent, made


async def _spoken(service: JobService, job: Job, segment: int, text: str) -> str:
    """What the engine gets of a text that must fit into one segment, read by the segment's voice, with the words of the job."""
    options = plan_options(job.request, (await service.described(job.request.engine)).info)
    if len(text) > options.limit:
        raise InvalidInput(
            f"text has {len(text)} characters; a segment of this job has {options.limit} at most", "text"
        )
    words = wording(job.request, service.shop.ledger.lexicon)
    found = await service.shop.ledger.segments(job.id, segment, 1)
    tones = tuple(Tone(state.segment.voice) for state in found)
    within = PlanCursor(index=1, tones=tones).dumps()  # not the first segment of a text, which is kept short
    batch = await service.shop.planner.plan(text, within, True, replace(options, markup=Markup.PLAIN), words)
    if not batch.segments:
        raise InvalidInput("text has nothing that can be spoken", "text")
    if len(batch.segments) > 1 or not batch.done:
        raise InvalidInput(
            f"text would be {len(batch.segments)} segments, not one: a segment has one paragraph, and {options.limit} "
            f"characters ({options.max_chars} as they are spoken) at most",
            "text",
        )
    return batch.segments[0].spoken
