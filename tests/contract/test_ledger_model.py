"""The ledger against a model of a few lines: any sequence of calls gives what the model says, also over restarts."""

import asyncio
import itertools
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

from rhapsode.errors import Conflict, Gone, Refused
from rhapsode.ledger.base import PlanPart
from rhapsode.ledger.sql import SqlLedger
from rhapsode.model import TRANSITIONS, Event, Fence, JobStatus, SegmentStatus
from tests.contract.ledger_values import BUDGET, RESULT, TTL_S, new_job, plan, take

T = TypeVar("T")
SEGMENTS = 3
INDICES = st.integers(0, SEGMENTS - 1)
KEYS = st.sampled_from(["key a", "key b"])


@dataclass
class SegmentModel:
    status: SegmentStatus = SegmentStatus.PENDING
    attempt: int = 0
    failures: int = 0
    take: str | None = None


@dataclass
class JobModel:
    fence: Fence
    status: JobStatus = JobStatus.QUEUED
    planned: bool = False
    deleted: bool = False
    seq: int = 1
    segments: list[SegmentModel] = field(default_factory=list)

    @property
    def finished(self) -> bool:
        return self.planned and all(segment.status is SegmentStatus.DONE for segment in self.segments)

    def pause(self) -> None:
        for segment in self.segments:
            if segment.status is SegmentStatus.RUNNING:
                segment.status = SegmentStatus.PENDING


class LedgerMachine(RuleBasedStateMachine):
    """Each rule decides by the model whether the call is legal, makes it, and moves the model when it was."""

    jobs: Bundle[str] = Bundle("jobs")
    stale: Bundle[tuple[Fence, int, int]] = Bundle("stale")

    def __init__(self, url: str | Path) -> None:
        super().__init__()
        self.url = url
        self.loop = asyncio.new_event_loop()
        self.model: dict[str, JobModel] = {}
        self.keys: dict[str, str] = {}
        self.published: dict[str, list[int]] = {}
        self.seen: dict[str, JobStatus] = {}
        self.made = 0

    def run(self, call: Coroutine[Any, Any, T]) -> T:
        return self.loop.run_until_complete(call)

    def expect(self, legal: bool, call: Coroutine[Any, Any, T], *refusals: type[Exception]) -> T | None:
        """The answer of a legal call; an illegal one must be refused."""
        try:
            answer = self.run(call)
        except refusals:
            assert not legal
            return None
        assert legal
        return answer

    def listen(self, events: Any) -> None:
        event: Event
        for event in events:
            self.published.setdefault(event.job_id, []).append(event.seq)

    @initialize()
    def open(self) -> None:
        self.ledger = SqlLedger(self.url, ttl_s=TTL_S)
        self.ledger.on_event(self.listen)
        self.epoch = self.run(self.ledger.open())

    def teardown(self) -> None:
        self.run(self.ledger.close())
        self.run(self.loop.shutdown_default_executor())
        self.loop.close()

    @rule(target=jobs)
    def submit(self) -> str:
        job, _ = self.run(self.ledger.submit(new_job("aa " * SEGMENTS)))
        self.model[job.id] = JobModel(job.fence)
        return job.id

    @rule(job_id=jobs)
    def start(self, job_id: str) -> None:
        job = self.model[job_id]
        legal = job.status in {JobStatus.QUEUED, JobStatus.RUNNING} and not job.deleted
        if self.expect(legal, self.ledger.start_job(job.fence), Refused) and job.status is JobStatus.QUEUED:
            job.status, job.seq = JobStatus.RUNNING, job.seq + 1

    @rule(job_id=jobs, done=st.booleans())
    def extend_plan(self, job_id: str, done: bool) -> None:
        job = self.model[job_id]
        legal = not job.status.is_terminal and not job.planned and not job.deleted
        first = len(job.segments)
        count = SEGMENTS - first if done else min(1, SEGMENTS - first)
        part = plan(count, first, done) if count else PlanPart([], 3 * SEGMENTS, "", done)
        if self.expect(legal, self.ledger.extend_plan(job.fence, part), Refused):
            job.segments += [SegmentModel() for _ in range(count)]
            job.planned, job.seq = done, job.seq + 1

    @rule(target=stale, job_id=jobs, index=INDICES, key=KEYS, shared=st.booleans())
    def claim(self, job_id: str, index: int, key: str, shared: bool) -> tuple[Fence, int, int]:
        job = self.model[job_id]
        known = index < len(job.segments)
        legal = known and job.status is JobStatus.RUNNING and job.segments[index].status is SegmentStatus.PENDING
        claim = self.expect(legal and not job.deleted, self.ledger.claim(job.fence, index, key, shared), Refused)
        if claim is None:
            return job.fence, index, 0
        segment = job.segments[index]
        segment.attempt, segment.status, job.seq = segment.attempt + 1, SegmentStatus.RUNNING, job.seq + 1
        assert claim.attempt == segment.attempt
        assert (claim.take.digest if claim.take else None) == (self.keys.get(key) if shared else None)
        if claim.take is not None:
            segment.status, segment.take = SegmentStatus.DONE, claim.take.digest
        return job.fence, index, claim.attempt

    def current(self, held: tuple[Fence, int, int]) -> SegmentModel | None:
        """The running segment to which this claim still gives the right."""
        fence, index, attempt = held
        job = self.model[fence.job_id]
        if job.deleted or job.fence != fence or job.status is not JobStatus.RUNNING or index >= len(job.segments):
            return None
        segment = job.segments[index]
        return segment if segment.status is SegmentStatus.RUNNING and segment.attempt == attempt else None

    @rule(held=stale, key=KEYS)
    def complete_segment(self, held: tuple[Fence, int, int], key: str) -> None:
        segment = self.current(held)
        self.made += 1
        made = take(f"take {self.made}")
        if self.expect(segment is not None, self.ledger.complete_segment(*held, key, made), Refused) and segment:
            segment.status, segment.take = SegmentStatus.DONE, made.digest
            self.keys[key] = made.digest
            self.model[held[0].job_id].seq += 1

    @rule(held=stale, charge=st.booleans())
    def fail_segment(self, held: tuple[Fence, int, int], charge: bool) -> None:
        segment = self.current(held)
        call = self.ledger.fail_segment(*held, "boom", charge, BUDGET)
        if self.expect(segment is not None, call, Refused) and segment:
            segment.failures += charge
            segment.status = SegmentStatus.FAILED if segment.failures >= BUDGET else SegmentStatus.PENDING
            self.model[held[0].job_id].seq += 1

    @rule(held=consumes(stale))
    def release_segment(self, held: tuple[Fence, int, int]) -> None:
        segment = self.current(held)
        self.run(self.ledger.release_segment(*held))
        if segment is not None:
            segment.status = SegmentStatus.PENDING

    @rule(job_id=jobs, index=INDICES)
    def reset_segment(self, job_id: str, index: int) -> None:
        job = self.model[job_id]
        known = index < len(job.segments) and job.status is JobStatus.RUNNING and not job.deleted
        legal = known and job.segments[index].status is SegmentStatus.DONE
        self.expect(legal, self.ledger.reset_segment(job.fence, index), Refused)
        if legal:
            segment = job.segments[index]
            self.keys = {key: digest for key, digest in self.keys.items() if digest != segment.take}
            segment.status, segment.take, job.seq = SegmentStatus.PENDING, None, job.seq + 1

    @rule(job_id=jobs)
    def complete(self, job_id: str) -> None:
        job = self.model[job_id]
        legal = job.status is JobStatus.RUNNING and job.finished and not job.deleted
        if self.expect(legal, self.ledger.complete_job(job.fence, RESULT), Refused):
            job.status, job.seq = JobStatus.COMPLETED, job.seq + 1

    @rule(job_id=jobs)
    def fail(self, job_id: str) -> None:
        job = self.model[job_id]
        if self.expect(not job.status.is_terminal and not job.deleted, self.ledger.fail_job(job.fence, "x"), Refused):
            job.status, job.seq = JobStatus.FAILED, job.seq + 1
            job.pause()

    @rule(job_id=jobs)
    def cancel(self, job_id: str) -> None:
        job = self.model[job_id]
        legal = not job.deleted and job.status not in {JobStatus.COMPLETED, JobStatus.FAILED}
        if self.expect(legal, self.ledger.cancel_job(job_id, "x"), Conflict, Gone) and not job.status.is_terminal:
            job.status, job.seq = JobStatus.CANCELLED, job.seq + 1
            job.pause()

    @rule(job_id=jobs)
    def retry(self, job_id: str) -> None:
        job = self.model[job_id]
        legal = not job.deleted and job.status in {JobStatus.FAILED, JobStatus.CANCELLED}
        if again := self.expect(legal, self.ledger.retry_job(job_id), Conflict, Gone):
            assert again.run == job.fence.run + 1
            job.fence, job.status, job.seq = again.fence, JobStatus.QUEUED, job.seq + 1
            for segment in job.segments:
                if segment.status is not SegmentStatus.DONE:
                    segment.status, segment.failures = SegmentStatus.PENDING, 0

    @rule(job_id=jobs)
    def purge(self, job_id: str) -> None:
        job = self.model[job_id]
        if self.expect(not job.deleted, self.ledger.purge_job(job_id), Gone):
            if not job.status.is_terminal:
                job.status, job.seq = JobStatus.CANCELLED, job.seq + 1
            job.deleted, job.segments, job.seq = True, [], job.seq + 1

    @rule()
    def collect(self) -> None:
        held = {segment.take for job in self.model.values() for segment in job.segments}
        dropped = self.run(self.ledger.drop_unreferenced_takes())
        assert not held & set(dropped)
        self.keys = {key: digest for key, digest in self.keys.items() if digest not in dropped}
        assert self.run(self.ledger.known_takes(list(self.keys.values()))) == set(self.keys.values())

    @rule()
    def restart(self) -> None:
        self.run(self.ledger.close())
        before, self.ledger = self.epoch, SqlLedger(self.url, ttl_s=TTL_S)
        self.ledger.on_event(self.listen)
        self.epoch = self.run(self.ledger.open())
        assert self.epoch > before
        unfinished = {id_ for id_, job in self.model.items() if not job.status.is_terminal and not job.deleted}
        assert {job.id for job in self.run(self.ledger.adopt())} == unfinished
        for job_id in unfinished:
            job = self.model[job_id]
            job.fence = Fence(job_id, self.epoch, job.fence.run)
            job.pause()

    @invariant()
    def agrees(self) -> None:
        for job_id, expected in self.model.items():
            job = self.run(self.ledger.get_job(job_id))
            assert job is not None
            before = self.seen.get(job_id, job.status)
            assert job.status is before or job.status in TRANSITIONS[before]
            self.seen[job_id] = job.status
            assert (job.status, job.deleted, job.event_seq) == (expected.status, expected.deleted, expected.seq)
            assert self.published[job_id] == list(range(1, expected.seq + 1))
            if expected.deleted:
                continue
            states = self.run(self.ledger.segments(job_id))
            assert [
                SegmentModel(state.status, state.attempt, state.failures, state.take.digest if state.take else None)
                for state in states
            ] == expected.segments
            done = [state.take for state in states if state.take is not None]
            assert (job.segments_done, job.samples_done) == (len(done), sum(found.samples for found in done))
            assert (job.chars_done == job.text_chars) is (expected.finished and bool(expected.segments))


@pytest.mark.parametrize(("database", "examples"), [("sqlite", 12), ("postgres", 5)])
def test_any_sequence_of_calls_gives_what_the_model_says(
    database: str, examples: int, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    numbers = itertools.count()
    make: Callable[[], str | Path] = lambda: tmp_path / f"{next(numbers)}.db"  # noqa: E731
    if database == "postgres":
        make = request.getfixturevalue("new_database")
    rules = settings(
        max_examples=examples,
        stateful_step_count=30,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        derandomize=True,
        database=None,
    )
    run_state_machine_as_test(lambda: LedgerMachine(make()), settings=rules)  # type: ignore[arg-type] # a factory will do
