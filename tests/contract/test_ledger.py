"""The ledger contract: every transition, legal and illegal, against every backend."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace

import pytest

from rhapsode.errors import Conflict, InvalidInput, LedgerError, NotFound, Refused
from rhapsode.ledger.base import Ledger, PlanPart, Spoken
from rhapsode.model import Boundary, Event, Fence, Job, JobStatus, Priority, SegmentStatus, new_job_id
from tests.contract.ledger_values import (
    BUDGET,
    REQUEST,
    RESULT,
    TTL_S,
    Clock,
    OpenLedger,
    begin,
    finish,
    listed,
    new_job,
    plan,
    speak,
    take,
    types,
)

# -- submit and read ----------------------------------------------------------------------------------------------


async def test_a_submitted_job_reads_back_as_it_was_given(ledger: Ledger, clock: Clock) -> None:
    new = new_job("Grüße, \x00 \U0001f600 ", priority=Priority.BATCH, attached=True, warnings=("w",), tags=("a", "b"))
    job, is_new = await ledger.submit(new)
    assert is_new
    assert job == await ledger.get_job(new.id)
    assert (job.request, job.warnings, job.tags) == (REQUEST, ("w",), ("a", "b"))
    assert (job.status, job.created_at, job.text_chars) == (JobStatus.QUEUED, clock.now, len(new.text))
    assert (job.attached, job.run, job.priority, job.event_seq) == (True, 1, Priority.BATCH, 1)
    stored = await ledger.read_text(job.id, 0, 100)
    assert stored.replace("\ufffd", "\x00") == new.text  # PostgreSQL has no NUL in texts; another sign keeps its place
    assert await types(ledger, job) == ["job.queued"]


async def test_text_reads_in_any_window(ledger: Ledger) -> None:
    text = "".join(chr(0x4E00 + i % 9973) for i in range(200_000))
    job, _ = await ledger.submit(new_job(text))
    for offset, length in [(0, 10), (65_530, 12), (65_536, 65_536), (131_071, 2), (199_990, 100), (0, 200_000)]:
        assert await ledger.read_text(job.id, offset, length) == text[offset : offset + length]
    assert await ledger.read_text(job.id, 200_000, 5) == ""
    assert await ledger.read_text(job.id, 5, 0) == ""


async def test_text_that_is_no_unicode_is_refused_and_leaves_nothing(ledger: Ledger) -> None:
    new = new_job("lone \ud800 surrogate")
    with pytest.raises(InvalidInput) as caught:
        await ledger.submit(new)
    assert caught.value.field == "text"
    assert await ledger.get_job(new.id) is None
    assert await ledger.read_text(new.id, 0, 10) == ""


async def test_a_job_id_cannot_be_used_twice(ledger: Ledger) -> None:
    job, _ = await ledger.submit(new_job())
    with pytest.raises(LedgerError):
        await ledger.submit(new_job("other", id=job.id))
    assert await ledger.read_text(job.id, 0, 100) == "aa bb cc "


async def test_twenty_duplicates_at_once_make_one_job(ledger: Ledger) -> None:
    answers = await asyncio.gather(
        *(ledger.submit(new_job(idempotency_key="key", fingerprint="same")) for _ in range(20))
    )
    assert len({job.id for job, _ in answers}) == 1
    assert [is_new for _, is_new in answers].count(True) == 1
    assert len(await listed(ledger)) == 1
    other, is_new = await ledger.submit(new_job(idempotency_key="key", fingerprint="other", owner="you"))
    assert is_new
    with pytest.raises(InvalidInput) as caught:
        await ledger.submit(new_job(idempotency_key="key", fingerprint="other"))
    assert (caught.value.field, caught.value.status) == ("Idempotency-Key", 422)
    assert {job.id for job in await listed(ledger)} == {answers[0][0].id, other.id}
    assert await ledger.submitted("me", "key", "same") == answers[0][0]
    assert await ledger.submitted("me", "other", "same") is None
    with pytest.raises(InvalidInput):
        await ledger.submitted("me", "key", "other")


async def test_jobs_list_newest_first_by_owner_status_and_cursor(ledger: Ledger, clock: Clock) -> None:
    jobs = []
    for number in range(12):
        clock.now += number % 3  # some are of the same instant
        job, _ = await ledger.submit(new_job(owner="me" if number % 2 else "you"))
        jobs.append(job)
    for job in jobs[:4]:
        await ledger.cancel_job(job.id, "test")
    newest = [job.id for job in sorted(jobs, key=lambda job: (job.created_at, job.id), reverse=True)]
    seen: list[str] = []
    before = None
    while page := await listed(ledger, limit=5, before=before):
        seen += [job.id for job in page]
        before = (page[-1].created_at, page[-1].id)
    assert seen == newest
    mine = await listed(ledger, owner="me", statuses=(JobStatus.CANCELLED,))
    assert {job.id for job in mine} == {jobs[1].id, jobs[3].id}
    await ledger.purge_job(jobs[1].id)
    assert [job.id for job in await listed(ledger, owner="me", statuses=(JobStatus.CANCELLED,))] == [jobs[3].id]
    assert jobs[1].id not in {job.id for job in await listed(ledger)}


# -- a job's life -------------------------------------------------------------------------------------------------


async def test_a_job_from_submit_to_result(ledger: Ledger, clock: Clock) -> None:
    published: list[Event] = []
    ledger.on_event(published.extend)
    new, _ = await ledger.submit(new_job("aa bb cc\n\n"))
    clock.now += 1
    started = await ledger.start_job(new.fence)
    assert (started.status, started.started_at) == (JobStatus.RUNNING, clock.now)
    assert await ledger.start_job(new.fence) == started
    job = await ledger.extend_plan(new.fence, plan(3))
    assert (job.segments_total, job.planned_chars, job.plan_done, job.plan_cursor) == (3, 9, True, "at 3")
    clock.now += 1
    job = await speak(ledger, job, 1)
    assert (job.segments_done, job.chars_done, job.samples_done, job.rate) == (1, 3, 100, 22_050)
    assert job.first_audio_at == clock.now
    clock.now += 1
    await speak(ledger, job, 0)
    job = await speak(ledger, job, 2)
    assert (job.first_audio_at, job.synth_seconds) == (clock.now - 1, 1.5)
    assert (job.chars_done, job.progress) == (10, 99.0)
    done = await ledger.complete_job(job.fence, RESULT)
    assert (done.status, done.result, done.progress) == (JobStatus.COMPLETED, RESULT, 100.0)
    assert (done.ended_at, done.expires_at) == (clock.now, clock.now + TTL_S)
    assert done == await ledger.get_job(new.id)
    spoken = ["segment.started", "segment.completed"] * 3
    assert await types(ledger, new) == ["job.queued", "job.started", "plan.extended", *spoken, "job.completed"]
    assert published == list(await ledger.events(new.id))
    assert published[4].data == {
        "index": 1, "samples": 100, "cached": False, "segments_done": 1, "segments_total": 3, "chars_done": 3, "progress": 30.0
    }  # fmt: skip
    assert list(await ledger.events(new.id, after=8)) == published[8:]
    states = await ledger.segments(new.id, start=1, limit=5)
    assert [(state.segment, state.status, state.take) for state in states] == [
        (segment, SegmentStatus.DONE, take(f"{new.id}/{segment.index}")) for segment in plan(3).segments[1:]
    ]


Call = Callable[[Ledger, Job], Awaitable[object]]
FENCED: dict[str, Call] = {
    "start": lambda ledger, job: ledger.start_job(job.fence),
    "complete": lambda ledger, job: ledger.complete_job(job.fence, RESULT),
    "fail": lambda ledger, job: ledger.fail_job(job.fence, "x"),
    "plan": lambda ledger, job: ledger.extend_plan(job.fence, plan(1, first=job.segments_total)),
    "claim": lambda ledger, job: ledger.claim(job.fence, 1, "k", shared=False),
    "claim cached": lambda ledger, job: ledger.claim(job.fence, 1, "known", shared=True),
    "segment done": lambda ledger, job: ledger.complete_segment(job.fence, 0, 1, "k", take(f"late {job.id}")),
    "segment failed": lambda ledger, job: ledger.fail_segment(job.fence, 0, 1, "x", charge=True, budget=1),
    "segment lost": lambda ledger, job: ledger.reset_segment(job.fence, 2),
}
MOVES: dict[str, Call] = {
    "cancel": lambda ledger, job: ledger.cancel_job(job.id, "test"),
    "retry": lambda ledger, job: ledger.retry_job(job.id),
}
ALLOWED = {
    JobStatus.QUEUED: {"start", "fail", "plan", "cancel"},
    JobStatus.RUNNING: {"start", "fail", "plan", "cancel", "claim", "claim cached", "segment done", "segment failed",
                        "segment lost"},
    JobStatus.COMPLETED: set(),
    JobStatus.FAILED: {"retry"},
    JobStatus.CANCELLED: {"retry", "cancel"},
}  # fmt: skip


async def in_status(ledger: Ledger, status: JobStatus) -> Job:
    """A job of that status; unless queued or completed with segment 0 running, 1 pending, 2 done and a plan to go on."""
    if status is JobStatus.COMPLETED:
        return await finish(ledger, 3)
    job, _ = await ledger.submit(new_job())
    if status is JobStatus.QUEUED:
        return await ledger.extend_plan(job.fence, plan(2, done=False))
    await ledger.start_job(job.fence)
    job = await ledger.extend_plan(job.fence, plan(3, done=False))
    await speak(ledger, job, 2, "known")
    await ledger.claim(job.fence, 0, "k", shared=False)
    if status is JobStatus.FAILED:
        return await ledger.fail_job(job.fence, "test", 1)
    if status is JobStatus.CANCELLED:
        return await ledger.cancel_job(job.id, "test")
    return job


async def snapshot(ledger: Ledger, job: Job) -> object:
    return await ledger.get_job(job.id), await ledger.segments(job.id), await ledger.events(job.id)


@pytest.mark.parametrize("status", list(JobStatus))
async def test_only_legal_transitions_change_anything(ledger: Ledger, status: JobStatus) -> None:
    for name, call in {**FENCED, **MOVES}.items():
        job = await in_status(ledger, status)
        if name in ALLOWED[status]:
            await call(ledger, job)
            continue
        before = await snapshot(ledger, job)
        with pytest.raises(Refused if name in FENCED else Conflict):
            await call(ledger, job)
        assert await snapshot(ledger, job) == before, name
        assert await ledger.known_takes([f"late {job.id}"]) == frozenset(), name


async def test_a_plan_that_moved_on_refuses_an_older_part(ledger: Ledger) -> None:
    job, _ = await ledger.submit(new_job("aa " * 6))
    await ledger.extend_plan(job.fence, plan(2, done=False))
    for part in (plan(1, first=1, done=False), plan(1, first=3, done=False)):
        with pytest.raises(Refused):
            await ledger.extend_plan(job.fence, part)
    await ledger.extend_plan(job.fence, plan(1, first=2))
    with pytest.raises(Refused):
        await ledger.extend_plan(job.fence, plan(1, first=3))


@pytest.mark.parametrize("stale", ["epoch", "run"])
async def test_a_fenced_owner_changes_nothing(ledger: Ledger, stale: str) -> None:
    job = await in_status(ledger, JobStatus.RUNNING)
    before = await snapshot(ledger, job)
    old = replace(job, epoch=job.epoch - 1) if stale == "epoch" else replace(job, run=job.run + 1)
    for name, call in FENCED.items():
        with pytest.raises(Refused):
            await call(ledger, old)
        assert await snapshot(ledger, job) == before, name
    await ledger.release_segment(old.fence, 0, 1)
    assert await snapshot(ledger, job) == before
    assert await ledger.known_takes([f"late {job.id}"]) == frozenset()


async def test_a_result_needs_all_segments(ledger: Ledger) -> None:
    job, _ = await ledger.submit(new_job())
    await ledger.start_job(job.fence)
    for part, spoken in [(plan(1, done=False), 0), (plan(2, first=1), 1)]:
        await ledger.extend_plan(job.fence, part)
        await speak(ledger, job, spoken)
        with pytest.raises(Refused):
            await ledger.complete_job(job.fence, RESULT)
    await speak(ledger, job, 2)
    assert (await ledger.complete_job(job.fence, RESULT)).status is JobStatus.COMPLETED


async def test_cancel_answers_again_and_refuses_late_takes(ledger: Ledger, clock: Clock) -> None:
    job = await begin(ledger)
    claim = await ledger.claim(job.fence, 0, "k", shared=False)
    cancelled = await ledger.cancel_job(job.id, "no longer wanted")
    assert (cancelled.status, cancelled.expires_at) == (JobStatus.CANCELLED, clock.now + TTL_S)
    with pytest.raises(Refused):
        await ledger.complete_segment(job.fence, 0, claim.attempt, "k", take())
    assert await ledger.cancel_job(job.id, "again") == cancelled
    assert [state.status for state in await ledger.segments(job.id)] == [SegmentStatus.PENDING] * 3
    assert (await types(ledger, job))[-1] == "job.cancelled"
    with pytest.raises(NotFound):
        await ledger.cancel_job(new_job_id(), "unknown")


async def test_retry_keeps_takes_and_plan_and_fences_the_run_before(ledger: Ledger) -> None:
    job = await begin(ledger)
    await speak(ledger, job, 0)
    for _ in range(BUDGET):
        claim = await ledger.claim(job.fence, 1, "k", shared=False)
        state = await ledger.fail_segment(job.fence, 1, claim.attempt, "boom", charge=True, budget=BUDGET)
    assert (state.status, state.failures, state.error) == (SegmentStatus.FAILED, BUDGET, "boom")
    with pytest.raises(Refused):
        await ledger.claim(job.fence, 1, "k", shared=False)
    late = await ledger.claim(job.fence, 2, "k", shared=False)
    failed = await ledger.fail_job(job.fence, "segment 1: boom", 1)
    assert (failed.status, failed.error, failed.failed_segment) == (JobStatus.FAILED, "segment 1: boom", 1)
    again = await ledger.retry_job(job.id)
    assert (again.status, again.run, again.segments_done, again.plan_done) == (JobStatus.QUEUED, 2, 1, True)
    assert (again.error, again.failed_segment, again.ended_at, again.expires_at) == (None, None, None, None)
    states = await ledger.segments(job.id)
    assert [state.status for state in states] == [SegmentStatus.DONE, SegmentStatus.PENDING, SegmentStatus.PENDING]
    assert (states[1].failures, states[1].attempt, states[1].error) == (0, BUDGET, None)
    await ledger.start_job(again.fence)
    with pytest.raises(Refused):
        await ledger.complete_segment(job.fence, 2, late.attempt, "k", take())
    for index in (1, 2):
        await speak(ledger, again, index)
    assert (await ledger.complete_job(again.fence, RESULT)).run == 2
    with pytest.raises(Conflict):
        await ledger.retry_job(job.id)
    assert "job.retried" in await types(ledger, job)


# -- plan and segments --------------------------------------------------------------------------------------------


async def test_planning_goes_on_where_it_was(ledger: Ledger, open_ledger: OpenLedger) -> None:
    job, _ = await ledger.submit(new_job("aa bb cc dd \n"))
    await ledger.extend_plan(job.fence, plan(2, done=False, warnings=("emoji dropped",)))
    with pytest.raises(Refused):
        await ledger.extend_plan(job.fence, plan(2, done=False))
    await ledger.close()
    ledger = await open_ledger()
    await ledger.adopt()
    found = await ledger.get_job(job.id)
    assert found is not None
    assert (found.segments_total, found.plan_cursor, found.plan_done) == (2, "at 2", False)
    await ledger.start_job(found.fence)
    await ledger.extend_plan(found.fence, plan(2, first=2, done=False, warnings=("emoji dropped", "too fast")))
    for index in range(4):
        found = await speak(ledger, found, index)
    assert (found.chars_done, found.warnings) == (11, ("emoji dropped", "too fast"))
    found = await ledger.extend_plan(found.fence, PlanPart([], 13, "end", done=True))
    assert (found.chars_done, found.progress, found.segments_total) == (13, 99.0, 4)
    with pytest.raises(Refused):
        await ledger.extend_plan(found.fence, PlanPart([], 13, "end", done=True))
    assert (await types(ledger, job)).count("job.warning") == 2


async def test_a_stored_take_is_used_again_when_shared(ledger: Ledger, clock: Clock) -> None:
    first = await begin(ledger, 1)
    claim = await ledger.claim(first.fence, 0, "key", shared=True)
    assert claim.take is None
    await ledger.complete_segment(first.fence, 0, claim.attempt, "key", take("t"))
    job = await begin(ledger, 3)
    assert (await ledger.claim(job.fence, 0, "key", shared=False)).take is None
    hit = await ledger.claim(job.fence, 1, "key", shared=True)
    assert hit.take == take("t")
    found = await ledger.get_job(job.id)
    assert found is not None
    assert (found.segments_done, found.first_audio_at, found.synth_seconds) == (1, clock.now, 0.0)
    event = (await ledger.events(job.id))[-1]
    assert (event.type, event.data["cached"], event.data["index"]) == ("segment.completed", True, 1)
    await types(ledger, job)
    await ledger.purge_job(first.id)
    assert not await ledger.drop_unreferenced_takes()  # the hit holds it


async def test_two_keys_may_lead_to_one_take(ledger: Ledger) -> None:
    job = await begin(ledger, 4)
    for index, key in enumerate(["one", "two"]):
        claim = await ledger.claim(job.fence, index, key, shared=True)
        await ledger.complete_segment(job.fence, index, claim.attempt, key, take("same"))
    for index, key in [(2, "one"), (3, "two")]:
        assert (await ledger.claim(job.fence, index, key, shared=True)).take == take("same")


async def test_a_lost_take_is_made_again(ledger: Ledger) -> None:
    job = await begin(ledger, 2)
    claim = await ledger.claim(job.fence, 0, "key", shared=True)
    await ledger.complete_segment(job.fence, 0, claim.attempt, "key", take("t"))
    await ledger.reset_segment(job.fence, 0)
    found = await ledger.get_job(job.id)
    assert found is not None
    assert (found.segments_done, found.chars_done, found.samples_done) == (0, 0, 0)
    with pytest.raises(Refused):
        await ledger.reset_segment(job.fence, 0)
    again = await ledger.claim(job.fence, 0, "key", shared=True)
    assert (again.take, again.attempt) == (None, 2)  # not answered with the lost one
    assert (await ledger.complete_segment(job.fence, 0, 2, "key", take("t"))).segments_done == 1
    assert (await ledger.claim(job.fence, 1, "key", shared=True)).take == take("t")
    assert "segment.lost" in await types(ledger, job)


async def test_attempts_fence_and_releases_are_not_charged(ledger: Ledger) -> None:
    job = await begin(ledger, 1)
    first = await ledger.claim(job.fence, 0, "k", shared=False)
    await ledger.release_segment(job.fence, 0, first.attempt)
    await ledger.release_segment(job.fence, 0, first.attempt)
    await ledger.release_segment(Fence(new_job_id(), 1, 1), 0, 1)
    second = await ledger.claim(job.fence, 0, "k", shared=False)
    assert (first.attempt, second.attempt) == (1, 2)
    for call in (
        ledger.complete_segment(job.fence, 0, 1, "k", take()),
        ledger.fail_segment(job.fence, 0, 1, "late", charge=True, budget=1),
    ):
        with pytest.raises(Refused):
            await call
    state = await ledger.fail_segment(job.fence, 0, 2, "the disk was away", charge=False, budget=1)
    assert (state.status, state.failures, state.attempt) == (SegmentStatus.PENDING, 0, 2)
    pending = await ledger.segments(job.id, status=SegmentStatus.PENDING)
    assert [state.segment.index for state in pending] == [0]
    assert await ledger.segments(job.id, status=SegmentStatus.DONE) == []


async def test_unknown_segments_and_jobs_are_refused(ledger: Ledger) -> None:
    job = await begin(ledger, 1)
    with pytest.raises(Refused):
        await ledger.claim(job.fence, 1, "k", shared=False)
    with pytest.raises(Refused):
        await ledger.start_job(Fence(new_job_id(), job.epoch, 1))
    assert await ledger.get_job(new_job_id()) is None
    assert await ledger.events(new_job_id()) == []


# -- many at once -------------------------------------------------------------------------------------------------


async def test_events_have_no_gaps_under_fifty_tasks(ledger: Ledger) -> None:
    published: list[Event] = []
    ledger.on_event(published.extend)
    jobs = [await begin(ledger, 50), await begin(ledger, 50)]

    async def work(index: int) -> None:
        for job in jobs:
            claim = await ledger.claim(job.fence, index, f"{job.id}/{index}", shared=False)
            with pytest.raises(Refused):  # beside it in the same group: harms nobody
                await ledger.claim(job.fence, index, "again", shared=False)
            await ledger.complete_segment(job.fence, index, claim.attempt, f"{job.id}/{index}", take(f"{index}"))

    await asyncio.gather(*(work(index) for index in range(50)))
    for job in jobs:
        assert (await types(ledger, job)).count("segment.completed") == 50
        assert [event for event in published if event.job_id == job.id] == list(await ledger.events(job.id))
        done = [
            event.data["segments_done"]
            for event in published
            if event.type == "segment.completed" and event.job_id == job.id
        ]
        assert done == list(range(1, 51))
        await ledger.complete_job(job.fence, RESULT)


async def test_one_of_many_claims_wins(ledger: Ledger) -> None:
    job = await begin(ledger, 1)
    answers = await asyncio.gather(
        *(ledger.claim(job.fence, 0, "k", shared=False) for _ in range(20)), return_exceptions=True
    )
    assert sum(not isinstance(answer, Refused) for answer in answers) == 1


async def test_a_cancelled_caller_does_not_disturb_the_others(ledger: Ledger) -> None:
    tasks = [asyncio.create_task(ledger.submit(new_job())) for _ in range(10)]
    await asyncio.sleep(0)
    tasks[3].cancel()
    answers = await asyncio.gather(*tasks, return_exceptions=True)
    assert isinstance(answers[3], asyncio.CancelledError)
    assert sum(isinstance(answer, tuple) for answer in answers) == 9
    assert len(await listed(ledger)) == 10  # it was called, so it was done


async def test_a_listener_that_raises_harms_nobody(ledger: Ledger, caplog: pytest.LogCaptureFixture) -> None:
    def broken(_: object) -> None:
        raise ValueError("a listener's mistake")

    published: list[Event] = []
    ledger.on_event(broken)
    ledger.on_event(published.extend)
    await ledger.submit(new_job())
    assert [event.type for event in published] == ["job.queued"]
    assert "listener" in caplog.text


async def test_what_is_spoken_is_added_up_to_the_first_gap(ledger: Ledger) -> None:
    assert await ledger.spoken(new_job_id()) == Spoken()
    job, _ = await ledger.submit(new_job("aa " * 5))
    await ledger.start_job(job.fence)
    parts = [replace(part, boundary=boundary) for part, boundary in zip(plan(5).segments, Boundary, strict=True)]
    parts[1] = replace(parts[1], lead_ms=250)
    job = await ledger.extend_plan(job.fence, PlanPart(parts, 15, "", done=True))
    assert await ledger.spoken(job.id) == Spoken()
    for index in (0, 1, 3):
        await speak(ledger, job, index)
    gaps = {(None, None): 1, (parts[0].boundary, 250): 1}
    assert await ledger.spoken(job.id) == Spoken(2, 200, gaps, parts[1].boundary)
    assert await ledger.spoken(job.id, before=9) == Spoken(2, 200, gaps, parts[1].boundary)
    assert await ledger.spoken(job.id, before=1) == Spoken(1, 100, {(None, None): 1}, parts[0].boundary)
    assert await ledger.spoken(job.id, before=0) == Spoken()
    await speak(ledger, job, 2)
    await speak(ledger, job, 4)
    gaps |= {(before, None): 1 for before in list(Boundary)[1:-1]}
    assert await ledger.spoken(job.id) == Spoken(5, 500, gaps, Boundary.HEADING)


async def test_segments_keep_voice_pause_and_speed(ledger: Ledger) -> None:
    job, _ = await ledger.submit(new_job())
    parts = [replace(part, voice="bob", lead_ms=0, speed=1.25) for part in plan(3).segments]
    await ledger.extend_plan(job.fence, PlanPart(parts, 9, "", done=True))
    assert [state.segment for state in await ledger.segments(job.id)] == parts


async def test_a_dictionary_lives_as_long_as_jobs_need_it(ledger: Ledger, clock: Clock) -> None:
    wanted = replace(REQUEST, lexicon="d1")
    with pytest.raises(NotFound, match="d1"):
        await ledger.lexicon("d1")
    job, _ = await ledger.submit(new_job(request=wanted, dictionary="words"))
    clock.now += 10
    other, _ = await ledger.submit(new_job(request=wanted, dictionary="words"))
    assert await ledger.lexicon("d1") == "words"
    clock.now += 100
    assert await ledger.drop_unreferenced_lexicons(clock.now) == 0
    await ledger.purge_job(job.id)
    assert await ledger.drop_unreferenced_lexicons(clock.now) == 0, "another job has it"
    await ledger.purge_job(other.id)
    assert await ledger.drop_unreferenced_lexicons(clock.now - 100) == 0, "it was used just then"
    assert await ledger.drop_unreferenced_lexicons(clock.now) == 1
    with pytest.raises(NotFound):
        await ledger.lexicon("d1")
