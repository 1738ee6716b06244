"""One segment made again: the ledger's side."""

from dataclasses import replace

import pytest

from rhapsode.errors import Conflict, Gone, NotFound, Refused
from rhapsode.ledger.base import Ledger, NewRedo
from rhapsode.model import Job, JobStatus, Limits, Priority, SegmentStatus, new_job_id
from tests.contract.ledger_values import RESULT, TTL_S, Clock, begin, finish, listed, take, types

NEWER = replace(RESULT, name="newer.wav", digest="f" * 64, samples=555, revision=RESULT.revision + 1)


def redo(job: Job, segment: int = 1, **changes: object) -> NewRedo:
    return replace(NewRedo(new_job_id(), job.id, segment), **changes)  # type: ignore[arg-type]


async def spoken(ledger: Ledger, made: Job, segment: int = 1) -> Job:
    await ledger.start_job(made.fence)
    claim = await ledger.claim(made.fence, segment, f"key {made.id}", False)
    return await ledger.complete_segment(
        made.fence, segment, claim.attempt, f"key {made.id}", take(f"redo {made.id}", samples=150)
    )


async def test_a_redo_goes_from_the_queue_into_its_parent(ledger: Ledger, clock: Clock) -> None:
    parent = await finish(ledger, 3)
    old = await ledger.segments(parent.id)
    made = await ledger.submit_redo(redo(parent, text="other", spoken="OTHER"))
    assert (made.redo_of, made.redo_revision, made.priority, made.owner) == (
        parent.id, RESULT.revision, Priority.INTERACTIVE, parent.owner
    )  # fmt: skip
    assert (made.plan_done, made.segments_total, made.text_chars) == (True, 1, 5)
    (state,) = await ledger.segments(made.id)
    assert (state.segment.index, state.segment.text, state.segment.spoken) == (1, "other", "OTHER")
    assert (state.segment.boundary, state.variant) == (old[1].segment.boundary, old[1].variant + 1)
    assert made.id not in {job.id for job in await listed(ledger)}
    clock.now += 3
    await spoken(ledger, made)
    revised = await ledger.complete_redo(made.fence, RESULT.revision, NEWER)
    assert revised is not None
    assert revised == await ledger.get_job(parent.id)
    assert (revised.status, revised.result, revised.ended_at) == (JobStatus.COMPLETED, NEWER, parent.ended_at)
    assert revised.samples_done == parent.samples_done + 150 - 100
    new = await ledger.segments(parent.id)
    assert (new[0], new[2]) == (old[0], old[2])
    assert (new[1].segment.text, new[1].segment.spoken, new[1].variant) == ("other", "OTHER", old[1].variant + 1)
    assert (new[1].segment.start, new[1].segment.end) == (old[1].segment.start, old[1].segment.end)
    assert new[1].take is not None
    assert new[1].take.samples == 150
    ended = await ledger.get_job(made.id)
    assert ended is not None
    assert (ended.status, ended.ended_at, ended.expires_at) == (JobStatus.COMPLETED, clock.now, clock.now + TTL_S)
    assert (await types(ledger, parent))[-2:] == ["redo.queued", "result.revised"]
    assert (await types(ledger, made))[-1] == "job.completed"


async def test_a_given_seed_stands_for_itself(ledger: Ledger) -> None:
    parent = await finish(ledger, 2)
    made = await ledger.submit_redo(redo(parent, seed=42))
    (state,) = await ledger.segments(made.id)
    assert (made.request.seed, state.variant) == (42, 0)
    assert made.request == replace(parent.request, seed=42)


async def test_only_whoever_knows_the_present_result_may_replace_it(ledger: Ledger) -> None:
    parent = await finish(ledger, 3)
    first, second = [await ledger.submit_redo(redo(parent, n)) for n in (0, 1)]
    await spoken(ledger, first, 0)
    await spoken(ledger, second, 1)
    assert await ledger.complete_redo(first.fence, 1, NEWER) is not None
    before = await ledger.get_job(parent.id)
    assert await ledger.complete_redo(second.fence, 1, replace(NEWER, name="lost.wav")) is None
    assert await ledger.get_job(parent.id) == before
    running = await ledger.get_job(second.id)
    assert running is not None
    assert running.status is JobStatus.RUNNING
    newest = replace(NEWER, name="newest.wav", revision=3)
    revised = await ledger.complete_redo(second.fence, 2, newest)
    assert revised is not None
    assert revised.result == newest


async def test_what_has_moved_on_is_refused(ledger: Ledger) -> None:
    parent = await finish(ledger, 2)
    made = await ledger.submit_redo(redo(parent))
    with pytest.raises(Refused):
        await ledger.complete_redo(made.fence, 1, NEWER)  # nothing is spoken yet
    await spoken(ledger, made)
    await ledger.cancel_job(made.id, "test")
    with pytest.raises(Refused):
        await ledger.complete_redo(made.fence, 1, NEWER)
    after = await ledger.get_job(parent.id)
    assert after is not None
    assert after.result == RESULT
    assert (await types(ledger, parent))[-1] == "redo.cancelled"
    retried = await ledger.retry_job(made.id)
    await ledger.start_job(retried.fence)
    with pytest.raises(Refused):
        await ledger.complete_redo(made.fence, 1, NEWER)
    assert await ledger.complete_redo(retried.fence, 1, NEWER) is not None


async def test_one_segment_is_made_again_once_at_a_time(ledger: Ledger) -> None:
    parent = await finish(ledger, 3)
    made = await ledger.submit_redo(redo(parent))
    with pytest.raises(Conflict, match=made.id):
        await ledger.submit_redo(redo(parent))
    await ledger.submit_redo(redo(parent, 2))
    await ledger.fail_job(made.fence, "broken")
    assert (await types(ledger, parent))[-1] == "redo.failed"
    await ledger.submit_redo(redo(parent))


async def test_only_completed_jobs_and_their_segments(ledger: Ledger) -> None:
    running = await begin(ledger)
    with pytest.raises(Conflict):
        await ledger.submit_redo(redo(running))
    with pytest.raises(NotFound):
        await ledger.submit_redo(NewRedo(new_job_id(), new_job_id(), 0))
    parent = await finish(ledger, 2)
    for segment in (2, -1):
        with pytest.raises(NotFound, match="segment"):
            await ledger.submit_redo(redo(parent, segment))
    await ledger.purge_job(parent.id)
    with pytest.raises(Gone):
        await ledger.submit_redo(redo(parent))
    assert (await types(ledger, running))[-1] != "redo.queued"


async def test_quotas_hold_for_redos(ledger: Ledger) -> None:
    parent = await finish(ledger, 2)
    with pytest.raises(Exception, match="chars_per_day"):
        await ledger.submit_redo(redo(parent, limits=Limits(chars_per_day=1)))
    assert (await types(ledger, parent))[-1] == "job.completed"


async def test_a_purged_parent_ends_its_redos(ledger: Ledger) -> None:
    parent = await finish(ledger, 2)
    made = await ledger.submit_redo(redo(parent))
    await spoken(ledger, made)
    await ledger.purge_job(parent.id)
    ended = await ledger.get_job(made.id)
    assert ended is not None
    assert (ended.status, ended.deleted) == (JobStatus.CANCELLED, True)
    with pytest.raises(Refused):
        await ledger.complete_redo(made.fence, 1, NEWER)


async def test_a_job_does_not_expire_under_its_redo(ledger: Ledger, clock: Clock) -> None:
    parent = await finish(ledger, 2)
    made = await ledger.submit_redo(redo(parent))
    clock.now += TTL_S + 1
    assert await ledger.expire_jobs(clock.now) == []
    await ledger.cancel_job(made.id, "test")
    assert [job.id for job in await ledger.expire_jobs(clock.now)] == [parent.id]


async def test_the_new_take_stays_when_the_redo_expires(ledger: Ledger, clock: Clock) -> None:
    parent = await finish(ledger, 2)
    made = await ledger.submit_redo(redo(parent))
    await spoken(ledger, made)
    await ledger.complete_redo(made.fence, 1, NEWER)
    await ledger.keep_job(parent.id)
    clock.now += TTL_S + 1
    assert [job.id for job in await ledger.expire_jobs(clock.now)] == [made.id]
    dropped = await ledger.drop_unreferenced_takes()
    state = (await ledger.segments(parent.id))[1]
    assert state.status is SegmentStatus.DONE
    assert state.take is not None
    assert state.take.digest not in dropped
    assert len(dropped) == 1  # the take of before


async def test_what_would_go_into_a_job_that_is_gone_is_not_queued_again(ledger: Ledger, clock: Clock) -> None:
    parent = await finish(ledger, 2)
    clock.now += TTL_S / 2
    late = await ledger.submit_redo(redo(parent))
    await ledger.cancel_job(late.id, "enough")
    clock.now += TTL_S / 2 + 1
    assert [job.id for job in await ledger.expire_jobs(clock.now)] == [parent.id]
    with pytest.raises(Gone, match=parent.id):
        await ledger.retry_job(late.id)
