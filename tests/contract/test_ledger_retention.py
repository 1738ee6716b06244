"""The ledger contract: expiry, keeping, purging, takes without a reference, adoption, overview."""

import asyncio
from dataclasses import replace

import pytest

from rhapsode.errors import Gone, LedgerError, NotFound, Refused
from rhapsode.ledger.base import Ledger
from rhapsode.ledger.retention import STEP_ROWS
from rhapsode.model import Job, JobStatus, SegmentStatus, VoiceMode, new_job_id
from tests.contract.ledger_values import (
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


async def stored(ledger: Ledger, job: Job) -> Job:
    found = await ledger.get_job(job.id)
    assert found is not None
    return found


async def assert_tombstone(ledger: Ledger, job: Job) -> None:
    found = await stored(ledger, job)
    assert (found.deleted, found.status, found.result, found.expires_at) == (True, job.status, None, None)
    assert await ledger.read_text(job.id, 0, 100) == ""
    assert await ledger.segments(job.id) == []
    (last,) = await ledger.events(job.id)  # the only one that stays
    assert (last.type, last.seq) == ("job.deleted", found.event_seq)
    assert job.id not in {listed.id for listed in await listed(ledger, limit=1000)}
    for call in (
        ledger.cancel_job(job.id, "x"),
        ledger.retry_job(job.id),
        ledger.keep_job(job.id),
        ledger.purge_job(job.id),
        ledger.warn_job(job.id, ["x"]),
    ):
        with pytest.raises(Gone):
            await call
    with pytest.raises(Refused):
        await ledger.start_job(job.fence)


async def test_jobs_expire_a_time_after_their_end(ledger: Ledger, clock: Clock) -> None:
    done = await finish(ledger)
    clock.now += 10
    failed = await begin(ledger)
    failed = await ledger.fail_job(failed.fence, "x")
    cancelled = await ledger.cancel_job((await begin(ledger)).id, "x")
    running = await begin(ledger)
    queued, _ = await ledger.submit(new_job())
    assert await ledger.expire_jobs(clock.now + TTL_S - 10.5) == []
    assert await ledger.expire_jobs(clock.now + TTL_S - 10) == [done]
    await assert_tombstone(ledger, done)
    assert {job.id for job in await ledger.expire_jobs(clock.now + TTL_S)} == {failed.id, cancelled.id}
    assert await ledger.expire_jobs(clock.now + 1e9) == []
    assert {job.id for job in await listed(ledger)} == {running.id, queued.id}


async def test_expiry_keeps_to_its_limit(ledger: Ledger, clock: Clock) -> None:
    jobs = [await finish(ledger) for _ in range(5)]
    found = []
    while page := await ledger.expire_jobs(clock.now + TTL_S, limit=2):
        assert len(page) <= 2
        found += [job.id for job in page]
    assert sorted(found) == sorted(job.id for job in jobs)


async def test_kept_jobs_stay_until_they_are_let_go(ledger: Ledger, clock: Clock) -> None:
    job = await begin(ledger, 1)
    assert (await ledger.keep_job(job.id)).kept
    await speak(ledger, job, 0)
    assert (await ledger.complete_job(job.fence, RESULT)).expires_at is None
    assert await ledger.keep_job(job.id) == await ledger.get_job(job.id)  # once is enough: no second event
    await ledger.touch_result(job.id)
    assert await ledger.expire_jobs(clock.now + 1e9) == []
    clock.now += 100
    assert (await ledger.keep_job(job.id, kept=False)).expires_at == clock.now + TTL_S
    assert (await types(ledger, job)).count("job.kept") == 2
    assert len(await ledger.expire_jobs(clock.now + TTL_S)) == 1
    with pytest.raises(NotFound):
        await ledger.keep_job(new_job_id())
    waiting, _ = await ledger.submit(new_job())
    await ledger.keep_job(waiting.id)
    assert (await ledger.keep_job(waiting.id, kept=False)).expires_at is None


async def test_reading_a_result_extends_its_life_at_most_once_a_minute(ledger: Ledger, clock: Clock) -> None:
    job = await finish(ledger)
    clock.now += 59
    await ledger.touch_result(job.id)
    assert (await stored(ledger, job)).expires_at == job.expires_at
    clock.now += 2
    await ledger.touch_result(job.id)
    assert (await stored(ledger, job)).expires_at == clock.now + TTL_S
    running = await begin(ledger)
    await ledger.touch_result(running.id)
    await ledger.touch_result(new_job_id())
    assert (await stored(ledger, running)).expires_at is None


async def test_a_purged_job_leaves_a_tombstone(ledger: Ledger) -> None:
    job = await finish(ledger, 2, idempotency_key="key", fingerprint="f")
    assert await ledger.known_results([RESULT.name, "other"]) == {RESULT.name}
    assert await ledger.purge_job(job.id) == job
    await assert_tombstone(ledger, job)
    assert await ledger.known_results([RESULT.name]) == frozenset()
    again, is_new = await ledger.submit(new_job(idempotency_key="key", fingerprint="g"))  # the key died with its job
    assert is_new
    assert again.id != job.id
    with pytest.raises(NotFound):
        await ledger.purge_job(new_job_id())


async def test_purging_a_running_job_cancels_it(ledger: Ledger) -> None:
    published: list[str] = []
    job = await begin(ledger)
    ledger.on_event(lambda events: published.extend(event.type for event in events))
    claim = await ledger.claim(job.fence, 0, "k", shared=False)
    assert (await ledger.purge_job(job.id)).status is JobStatus.RUNNING
    assert published == ["segment.started", "job.cancelled", "job.deleted"]
    assert (await stored(ledger, job)).status is JobStatus.CANCELLED
    with pytest.raises(Refused):
        await ledger.complete_segment(job.fence, 0, claim.attempt, "k", take())


async def test_a_book_is_purged_in_steps(ledger: Ledger) -> None:
    count = 2 * STEP_ROWS + 1
    job, _ = await ledger.submit(new_job("aa " * count))
    await ledger.extend_plan(job.fence, plan(count))
    await ledger.purge_job(job.id)
    assert await ledger.segments(job.id) == []


async def test_takes_live_as_long_as_a_segment_references_them(ledger: Ledger) -> None:
    job = await begin(ledger, 3)
    for index in range(2):
        claim = await ledger.claim(job.fence, index, f"k{index}", shared=True)
        await ledger.complete_segment(job.fence, index, claim.attempt, f"k{index}", take(f"t{index}"))
    other = await begin(ledger, 1)
    await ledger.claim(other.fence, 0, "k0", shared=True)
    await ledger.purge_job(job.id)
    assert await ledger.known_takes(["t0", "t1", "t2"]) == {"t0", "t1"}
    assert list(await ledger.drop_unreferenced_takes()) == ["t1"]
    assert await ledger.known_takes([f"t{i}" for i in range(2000)]) == {"t0"}
    another = await begin(ledger, 2)
    assert (await ledger.claim(another.fence, 0, "k1", shared=True)).take is None  # its key went with it
    await ledger.purge_job(other.id)
    assert (await ledger.claim(another.fence, 1, "k0", shared=True)).take == take("t0")
    assert not await ledger.drop_unreferenced_takes()


async def test_a_new_server_adopts_what_is_unfinished(ledger: Ledger, open_ledger: OpenLedger, clock: Clock) -> None:
    jobs = []
    for _ in range(3):
        clock.now += 1
        jobs.append(await begin(ledger))
    queued, _ = await ledger.submit(new_job("four "))
    attached, _ = await ledger.submit(new_job(attached=True))
    await finish(ledger)
    await ledger.cancel_job(jobs[1].id, "test")
    await speak(ledger, jobs[0], 0)
    late = await ledger.claim(jobs[0].fence, 1, "k", shared=False)
    await ledger.close()

    newer = await open_ledger()
    waiting = await newer.adopt()
    assert {job.id for job in waiting} == {jobs[0].id, jobs[2].id, queued.id}
    assert [job.id for job in waiting[:1]] == [jobs[0].id]
    first = waiting[0]
    assert (first.status, first.text_chars, first.chars_done, first.owner) == (JobStatus.RUNNING, 9, 2, "me")
    assert (await stored(newer, attached)).status is JobStatus.CANCELLED
    assert (await types(newer, attached))[-1] == "job.cancelled"
    adopted = await stored(newer, jobs[0])
    assert adopted.epoch > jobs[0].epoch
    states = await newer.segments(adopted.id)
    assert [state.status for state in states] == [SegmentStatus.DONE, SegmentStatus.PENDING, SegmentStatus.PENDING]
    assert (states[1].attempt, states[1].failures) == (1, 0)
    with pytest.raises(Refused):
        await newer.complete_segment(jobs[0].fence, 1, late.attempt, "k", take())
    for index in (1, 2):
        await speak(newer, adopted, index)
    assert (await newer.complete_job(adopted.fence, RESULT)).status is JobStatus.COMPLETED
    assert {job.id for job in await newer.adopt()} == {jobs[2].id, queued.id}


async def test_an_interrupted_purge_is_finished_by_the_next_sweep(
    ledger: Ledger, open_ledger: OpenLedger, clock: Clock
) -> None:
    job = await finish(ledger, 3)
    purge = asyncio.create_task(ledger.purge_job(job.id))
    await asyncio.sleep(0)  # the first command has been called; the server stops before the next
    await ledger.close()
    with pytest.raises(LedgerError):
        await purge
    newer = await open_ledger()
    assert len(await newer.segments(job.id)) == 3
    assert await newer.expire_jobs(clock.now) == []
    await assert_tombstone(newer, job)


async def test_counts_say_what_is_there(ledger: Ledger) -> None:
    assert (await ledger.counts()).waiting_chars == 0
    await finish(ledger)
    job = await begin(ledger)  # nine characters
    await speak(ledger, job, 0)
    await ledger.submit(new_job("four"))
    await ledger.purge_job((await finish(ledger)).id)
    counts = await ledger.counts()
    assert counts.jobs == {JobStatus.COMPLETED: 1, JobStatus.RUNNING: 1, JobStatus.QUEUED: 1}
    assert counts.waiting_chars == 7 + 4


async def test_warnings_are_added_once(ledger: Ledger) -> None:
    job, _ = await ledger.submit(new_job(warnings=("a",)))
    await ledger.warn_job(job.id, ["a", "b", "b"])
    await ledger.warn_job(job.id, ["b"])
    assert (await stored(ledger, job)).warnings == ("a", "b")
    assert await types(ledger, job) == ["job.queued", "job.warning"]
    assert (await ledger.events(job.id))[-1].data == {"warnings": ["b"]}
    with pytest.raises(NotFound):
        await ledger.warn_job(new_job_id(), ["x"])


async def test_a_clip_is_known_while_its_job_is(ledger: Ledger) -> None:
    clip, other = "c" * 64, "d" * 64
    request = replace(REQUEST, voice="me.wav", voice_mode=VoiceMode.CLONE, reference=clip)
    job = await finish(ledger, request=request)
    assert (await stored(ledger, job)).request.reference == clip
    assert await ledger.known_clips([clip, other]) == {clip}
    await ledger.purge_job(job.id)
    assert await ledger.known_clips([clip, other]) == frozenset()
