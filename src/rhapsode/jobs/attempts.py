"""One attempt at one segment, from claim to stored take."""

import asyncio
import hashlib
import json
import logging
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Protocol

from rhapsode.engines.base import Determinism
from rhapsode.errors import NotFound, Refused, SynthesisError, Unavailable
from rhapsode.failpoints import failpoint
from rhapsode.fleet.base import EngineDescription, Rendered, Slot, SynthesisTask
from rhapsode.jobs.early import FirstTake
from rhapsode.jobs.pace import Pace
from rhapsode.jobs.runner import JobRun
from rhapsode.jobs.shop import Shop
from rhapsode.ledger.base import Claim
from rhapsode.logs import log_about
from rhapsode.model import Job, JobStatus, SegmentState, SegmentStatus, segment_seed

log = logging.getLogger(__name__)

_MAX_STORING = 32
"""Takes being written at once; beyond it workers are held back, so that a slow disk cannot fill the memory."""
_EXCERPT = 60
_SLOWEST, _FASTEST = 0.25, 4.0
"""What the job's speed and that of a part of its text make together is held between these."""


def task_of(job: Job, state: SegmentState) -> SynthesisTask:
    """What a worker is asked for a segment."""
    request, segment = job.request, state.segment
    part = request.part(segment.voice) if segment.voice else None
    controls = dict(request.controls)
    if segment.speed != 1:
        speed = controls.get("speed_factor", 1.0) * segment.speed
        controls["speed_factor"] = min(max(speed, _SLOWEST), _FASTEST)
    return SynthesisTask(
        job_id=job.id,
        index=segment.index,
        engine=request.engine,
        text=segment.spoken,
        voice=segment.voice or request.voice,
        seed=segment_seed(request.seed, state.variant, segment.index),
        controls=controls,
        language=part.language if part else request.language,
        sentence_pause_s=request.pauses.sentence_s,
        rate=request.rate,
        store=True,
        reference=None if segment.voice else request.reference,
    )


def input_key(job: Job, task: SynthesisTask, described: EngineDescription) -> str:
    """Name of everything that determines a take: two segments with one key have the same audio.

    Takes of engines that are not exact are not shared between jobs: their key holds the job's id.
    """
    engine = described.info
    known = described.voice(task.voice)
    voice = [task.voice, known.revision if known else ""] if task.reference is None else [task.reference]
    parts = [
        engine.name,
        engine.revision,
        *voice,
        task.language,
        task.text,
        sorted(task.controls.items()),
        task.sentence_pause_s,
        task.seed,
        None if engine.determinism is Determinism.EXACT else job.id,
        task.rate,
    ]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


class Owner(Protocol):
    """What attempts tell the scheduler."""

    def updated(self, job: Job) -> None:
        """The ledger holds a newer state of this job."""
        ...

    def submit(self, job: Job) -> None:
        """The job is queued again."""
        ...


class Attempts:
    """Runs attempts and settles how they end.

    Args:
        shop: Shared parts.
        budget: Failures after which a segment is quarantined and its job fails.
        max_retries: Whole-job retries after that.
        owner: Who is told.
    """

    def __init__(self, shop: Shop, budget: int, max_retries: int, owner: Owner) -> None:
        self.pace = Pace()
        self._shop = shop
        self._budget = budget
        self._max_retries = max_retries
        self._owner = owner
        self._storing = asyncio.Semaphore(_MAX_STORING)

    async def speak(self, slot: Slot, run: JobRun, state: SegmentState, free: Callable[[], None]) -> None:
        """Claim the segment, have it spoken on ``slot``, store the take, settle the segment.

        The worker does not wait for the claim to be durable, only its take does. But while this job's segments are found
        to have takes already, each is claimed first, so that nothing is spoken in vain.

        Args:
            slot: A free slot, reserved by the caller.
            run: The activated job.
            state: The segment, taken out of the run.
            free: Called as soon as the slot can take other work; the take is stored behind it.
        """
        log_about(job_id=run.job.id)
        again: SegmentState | None = None
        try:
            described = await self._shop.fleet.describe(run.job.request.engine)
        except (NotFound, SynthesisError, Unavailable):  # the engine went away just now
            run.give_back(state)
            run.stale()
            return
        task = task_of(run.job, state)
        key = input_key(run.job, task, described)
        claiming = asyncio.create_task(self._claim(run, state, key, described))
        try:
            if not run.finds_takes or (await claiming).take is None:
                again = await self._run(slot, run, state, task, key, claiming, free)
        except Refused as error:
            log.debug("job %s segment %d: %s", run.job.id, state.segment.index, error)
            run.stale()
        except Exception:  # whatever it was, the segment must not be forgotten
            log.exception("job %s segment %d: an attempt could not be settled", run.job.id, state.segment.index)
            run.stale()
        finally:
            run.settled(state.segment.index)
            claiming.cancel()
            await asyncio.gather(claiming, return_exceptions=True)
        if again is not None:
            run.give_back(again)

    async def _claim(self, run: JobRun, state: SegmentState, key: str, described: EngineDescription) -> Claim:
        ledger, fence, index = self._shop.ledger, run.job.fence, state.segment.index
        shared = described.info.determinism is Determinism.EXACT

        async def start_and_claim() -> Claim:  # both in one commit: commands are applied in the order of their calls
            job, claim = await asyncio.gather(ledger.start_job(fence), ledger.claim(fence, index, key, shared))
            self._note(run, job)
            return claim

        if run.job.status is JobStatus.QUEUED:
            claim = await self._shop.patience.keep_trying(start_and_claim)
        else:
            claim = await self._shop.patience.keep_trying(lambda: ledger.claim(fence, index, key, shared))
        run.finds_takes = claim.take is not None
        return claim

    async def _run(
        self,
        slot: Slot,
        run: JobRun,
        state: SegmentState,
        task: SynthesisTask,
        key: str,
        claiming: Awaitable[Claim],
        free: Callable[[], None],
    ) -> SegmentState | None:
        """Speak and store; the segment's state when it is to be tried again."""
        segment = state.segment
        try:
            rendered = await self._shop.fleet.synthesise(slot.id, task)
            async with self._storing:
                free()
                claim = await claiming
                if claim.take is None and not run.closed:
                    await self._store(run, state, task, key, claim, rendered)
        except Refused:
            raise
        except Unavailable as error:
            log.info("job %s segment %d given back: %s", run.job.id, segment.index, error)
            claim = await claiming
            await self._shop.patience.keep_trying(
                lambda: self._shop.ledger.release_segment(run.job.fence, segment.index, claim.attempt)
            )
            states = await self._shop.patiently(self._shop.ledger.segments, run.job.id, segment.index, 1)
            return next((after for after in states if after.status is SegmentStatus.PENDING), None)
        except Exception as error:  # also what nobody expected counts, so that it comes to an end
            if not isinstance(error, SynthesisError):
                log.exception("job %s segment %d: an attempt broke", run.job.id, segment.index)
            return await self._failed(run, state, await claiming, error)
        return None

    async def _store(
        self, run: JobRun, state: SegmentState, task: SynthesisTask, key: str, claim: Claim, rendered: Rendered
    ) -> None:
        ledger, fence, segment, take = self._shop.ledger, run.job.fence, state.segment, rendered.take
        speed = task.controls.get("speed_factor", 1.0)
        heard_s = take.samples / take.rate * speed
        self.pace.note(len(segment.text), take.synth_seconds, task.voice, heard_s, task.engine)
        self._shop.metrics.spoken(take)
        stored: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        if segment.index == 0:
            first = FirstTake(replace(state, take=take), rendered.data, stored)
            run.spoken(first)
            self._shop.first_takes.hand(run.job.id, first)
        try:
            failpoint("take.rendered")
            if rendered.stored is None or not await rendered.stored:
                await self._shop.patience.keep_trying(lambda: self._shop.takes.put(take.digest, rendered.data))
            failpoint("take.stored")
            run.completing(replace(state, status=SegmentStatus.DONE, attempt=claim.attempt, take=take, error=None))
            job = await self._shop.patience.keep_trying(
                lambda: ledger.complete_segment(fence, segment.index, claim.attempt, key, take)
            )
            stored.set_result(True)
        finally:
            if not stored.done():
                stored.set_result(False)
                run.recent.pop(segment.index, None)
        self._note(run, job)

    async def _failed(self, run: JobRun, state: SegmentState, claim: Claim, error: Exception) -> SegmentState | None:
        ledger, fence, index = self._shop.ledger, run.job.fence, state.segment.index
        log.warning("job %s segment %d attempt %d failed: %s", run.job.id, index, claim.attempt, error)
        after = await self._shop.patience.keep_trying(
            lambda: ledger.fail_segment(fence, index, claim.attempt, str(error), charge=True, budget=self._budget)
        )
        if after.status is not SegmentStatus.FAILED:
            return after
        failpoint("segment.quarantined")
        await run.settled_before(index)  # of a failed job the part before the gap is there
        await self.give_up(run.job, after)
        return None

    async def give_up(self, job: Job, failed: SegmentState) -> None:
        """End a job one of whose segments failed for good, or queue it again as often as that is wanted."""
        text, ledger = failed.segment.text, self._shop.ledger
        excerpt = text[:_EXCERPT] + ("…" if len(text) > _EXCERPT else "")
        message = f"segment {failed.segment.index} ({excerpt!r}) failed {failed.failures} times: {failed.error}"
        ended = await self._shop.patiently(ledger.fail_job, job.fence, message, failed.segment.index)
        if ended.run <= self._max_retries:
            self._owner.submit(await self._shop.patiently(ledger.retry_job, job.id))

    def _note(self, run: JobRun, job: Job) -> None:
        run.newer(job)
        self._owner.updated(run.job)
