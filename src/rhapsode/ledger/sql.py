"""Jobs, segments, takes and events in an SQL database."""

# ruff: noqa: D102 - what the methods promise stands in the contract
import time
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Concatenate, ParamSpec, TypeVar

import sqlalchemy as sa

from rhapsode.errors import LeaseLost, LedgerError
from rhapsode.ledger import history, nodes, queries, retention, segment_transitions, spoken_queries, transitions
from rhapsode.ledger import redo as redos
from rhapsode.ledger.access_sql import SqlAccess
from rhapsode.ledger.base import (
    ALL_JOBS,
    Beat,
    Claim,
    Counts,
    JobFilter,
    JobPage,
    Ledger,
    NewJob,
    NewRedo,
    PlanPart,
    Spoken,
    Waiting,
)
from rhapsode.ledger.store import Store
from rhapsode.ledger.transaction import Transaction
from rhapsode.ledger.writer import exit_process
from rhapsode.model import NO_LIMITS, Event, Fence, Job, Limits, Priority, Result, SegmentState, SegmentStatus, Take

P = ParamSpec("P")
T = TypeVar("T")


class SqlLedger(Ledger):
    """See :class:`rhapsode.ledger.base.Ledger`.

    Args:
        url_or_path: A file's path, ``sqlite:///path`` or ``postgresql://…``; a file's folder is made when it is missing.
        clock: Seconds since the epoch.
        ttl_s: How long a job lives after its end, seconds.
        on_fatal: Called (in the writer's thread) when a write could not be made durable; ends the process by default.
        node: Name of this node among those that share a database.
    """

    def __init__(
        self,
        url_or_path: str | Path,
        *,
        clock: Callable[[], float] = time.time,
        ttl_s: float,
        on_fatal: Callable[[LedgerError], None] = exit_process,
        node: str = "",
    ) -> None:
        self.store = Store(url_or_path, clock, on_fatal, node)
        self.access = SqlAccess(self.store, clock)
        self._clock = clock
        self._ttl_s = ttl_s

    # -- life ---------------------------------------------------------------------------------------------------

    async def open(self) -> int:
        return await self.store.open()

    async def close(self) -> None:
        await self.store.close(nodes.leave)

    def on_event(self, callback: Callable[[Sequence[Event]], None]) -> None:
        self.store.on_event(callback)

    def waiting_for(self) -> str | None:
        return None if self.store.available else "database"

    # -- nodes --------------------------------------------------------------------------------------------------

    @property
    def shared(self) -> bool:
        return self.store.shared

    @property
    def epoch(self) -> int:
        return self.store.epoch

    async def adopt(self) -> Sequence[Waiting]:
        return await self._write(nodes.adopt, self.store.node, self._ttl_s, self.shared)

    async def hold(self) -> None:
        try:
            await self._write(nodes.hold)
        except LeaseLost:  # along with nothing
            await self.store.begin_again()

    async def beat(self, judge: bool) -> Beat:
        if not self.store.shared:
            return Beat()
        try:
            beat = await self._write(nodes.beat, judge, self._ttl_s)
        except LeaseLost:
            await self.store.begin_again()
            beat = await self._write(nodes.beat_anew, self._ttl_s)
        begins, self.store.leads = beat.leads and not self.store.leads, beat.leads
        for callback in self.store.on_lead if begins else ():
            callback()
        return beat

    async def take_over(self, most: int, engines: Collection[str]) -> Sequence[Waiting]:
        return await self._write(nodes.take_over, most, engines)

    async def secret(self, name: str, fresh: str) -> str:
        """What all nodes know under this name, hex; ``fresh`` when nobody knew any."""
        return await self._write(nodes.secret, name, fresh)

    # -- jobs ---------------------------------------------------------------------------------------------------

    async def submit(self, job: NewJob) -> tuple[Job, bool]:
        write = self.store.write_fleeting if job.attached else self.store.write
        return await write(transitions.submit, job)

    async def submitted(self, owner: str, key: str, fingerprint: str) -> Job | None:
        return await self._read(queries.submitted, owner, key, fingerprint)

    async def get_job(self, job_id: str) -> Job | None:
        return await self._read(queries.get_job, job_id)

    async def list_jobs(
        self, wanted: JobFilter = ALL_JOBS, before: tuple[float, str] | None = None, limit: int = 50
    ) -> JobPage:
        return await self._read(history.list_jobs, wanted, before, limit)

    async def read_text(self, job_id: str, offset: int, length: int) -> str:
        return await self._read(queries.read_text, job_id, offset, length)

    async def start_job(self, fence: Fence) -> Job:
        return await self._write_on_the_way(fence, transitions.start_job, fence)

    async def complete_job(self, fence: Fence, result: Result) -> Job:
        return await self._write(transitions.complete_job, fence, result, self._ttl_s)

    async def fail_job(self, fence: Fence, error: str, segment: int | None = None) -> Job:
        return await self._write(transitions.fail_job, fence, error, segment, self._ttl_s)

    async def cancel_job(self, job_id: str, reason: str) -> Job:
        return await self._write(transitions.cancel_job, job_id, reason, self._ttl_s)

    async def retry_job(self, job_id: str, limits: Limits = NO_LIMITS) -> Job:
        return await self._write(transitions.retry_job, job_id, limits)

    async def keep_job(self, job_id: str, kept: bool = True) -> Job:
        return await self._write(transitions.keep_job, job_id, kept, self._ttl_s)

    async def change_job(self, job_id: str, priority: Priority | None = None, tags: Sequence[str] | None = None) -> Job:
        return await self._write(transitions.change_job, job_id, priority, tags)

    async def touch_result(self, job_id: str) -> None:
        due = self._clock() + self._ttl_s - transitions.TOUCH_STEP_S
        if await self._read(queries.is_touchable, job_id, due):
            await self._write(transitions.touch_result, job_id, self._ttl_s)

    async def purge_job(self, job_id: str) -> Job:
        job = await self._write(retention.bury, job_id, self._ttl_s)
        await self._empty(job_id)
        return job

    async def warn_job(self, job_id: str, warnings: Sequence[str]) -> None:
        await self._write(transitions.warn_job, job_id, warnings)

    async def submit_redo(self, redo: NewRedo) -> Job:
        return await self._write(redos.submit_redo, redo)

    async def complete_redo(self, fence: Fence, revision: int, result: Result) -> Job | None:
        return await self._write(redos.complete_redo, fence, revision, result, self._ttl_s)

    # -- plan and segments --------------------------------------------------------------------------------------

    async def extend_plan(self, fence: Fence, part: PlanPart) -> Job:
        return await self._write_on_the_way(fence, segment_transitions.extend_plan, fence, part)

    async def claim(self, fence: Fence, index: int, input_key: str, shared: bool) -> Claim:
        return await self._write_on_the_way(fence, segment_transitions.claim, fence, index, input_key, shared)

    async def complete_segment(self, fence: Fence, index: int, attempt: int, input_key: str, take: Take) -> Job:
        return await self._write_on_the_way(
            fence, segment_transitions.complete_segment, fence, index, attempt, input_key, take
        )

    async def release_segment(self, fence: Fence, index: int, attempt: int) -> None:
        await self._write_on_the_way(fence, segment_transitions.release_segment, fence, index, attempt)

    async def fail_segment(
        self, fence: Fence, index: int, attempt: int, error: str, charge: bool, budget: int
    ) -> SegmentState:
        return await self._write_on_the_way(
            fence, segment_transitions.fail_segment, fence, index, attempt, error, charge, budget
        )

    async def reset_segment(self, fence: Fence, index: int) -> None:
        await self._write_on_the_way(fence, segment_transitions.reset_segment, fence, index)

    async def segments(
        self, job_id: str, start: int = 0, limit: int = 256, status: SegmentStatus | None = None
    ) -> Sequence[SegmentState]:
        return await self._read(queries.list_segments, job_id, start, limit, status)

    async def spoken(self, job_id: str, before: int | None = None) -> Spoken:
        return await self._read(spoken_queries.spoken, job_id, before)

    # -- events, clean-up, overview -----------------------------------------------------------------------------

    async def events(self, job_id: str, after: int = 0, limit: int = 500) -> Sequence[Event]:
        return await self._read(queries.list_events, job_id, after, limit)

    async def events_of_all(self, owner: str | None, after: int, limit: int = 500) -> tuple[Sequence[Event], int]:
        return await self._read(queries.events_of_all, owner, after, limit)

    async def event_marks(self) -> tuple[int, int]:
        return await self._read(queries.event_marks)

    async def expire_jobs(self, now: float, limit: int = 100) -> Sequence[Job]:
        expired = await self._write(retention.bury_expired, now, limit)
        for job_id in await self._write(retention.leftovers):
            await self._empty(job_id)
        return expired

    async def drop_unreferenced_takes(self, limit: int = 500) -> Sequence[str]:
        # A reader finds candidates among all takes, so that the writer has only those to look at.
        candidates = await self._read(queries.unreferenced_takes, limit)
        return await self._write(retention.drop_takes, candidates) if candidates else ()

    async def lexicon(self, digest: str) -> str:
        return await self._read(queries.lexicon, digest)

    async def drop_unreferenced_lexicons(self, before: float) -> int:
        return await self._write(retention.drop_lexicons, before)

    async def known_takes(self, digests: Sequence[str]) -> frozenset[str]:
        return await self._read(queries.known_takes, digests)

    async def known_results(self, names: Sequence[str]) -> frozenset[str]:
        return await self._read(queries.known_results, names)

    async def known_clips(self, digests: Sequence[str]) -> frozenset[str]:
        return await self._read(queries.known_clips, digests)

    async def counts(self) -> Counts:
        return await self._read(queries.counts)

    # -- within -------------------------------------------------------------------------------------------------

    async def _empty(self, job_id: str) -> None:
        while not await self._write(retention.empty, job_id):
            pass

    async def _write(self, command: Callable[Concatenate[Transaction, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        return await self.store.write(command, *args, **kwargs)

    async def _write_on_the_way(
        self, fence: Fence, command: Callable[Concatenate[Transaction, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Between a job's submit and its end."""
        write = self.store.write_fleeting if fence.fleeting else self.store.write
        return await write(command, *args, **kwargs)

    async def _read(self, query: Callable[Concatenate[sa.Connection, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        return await self.store.read(query, *args, **kwargs)
