"""Batches: one transaction, an end with the last job, keys."""

from dataclasses import replace

import pytest

from rhapsode.errors import InvalidInput, QuotaExceeded
from rhapsode.ledger.batches import Batch, NewBatch
from rhapsode.ledger.batches_sql import SqlBatches
from rhapsode.ledger.outbox_sql import SqlOutbox
from rhapsode.ledger.sql import SqlLedger
from rhapsode.model import Job, JobStatus, Limits, new_job_id
from tests.contract.ledger_values import RESULT, TTL_S, Clock, listed, new_job, plan, speak, types


@pytest.fixture
def batches(ledger: SqlLedger) -> SqlBatches:
    return SqlBatches(ledger.store, TTL_S)


def new_batch(count: int = 3, **changes: object) -> NewBatch:
    batch_id = new_job_id()
    ids = sorted(new_job_id() for _ in range(count))
    jobs = [new_job(f"aa {n} ", id=job_id, batch_id=batch_id, custom_id=f"c{n}") for n, job_id in enumerate(ids)]
    return replace(NewBatch(batch_id, "me", count, (), jobs), **changes)  # type: ignore[arg-type]


async def complete(ledger: SqlLedger, job: Job) -> None:
    await ledger.start_job(job.fence)
    job = await ledger.extend_plan(job.fence, plan(1))
    await speak(ledger, job, 0)
    await ledger.complete_job(job.fence, RESULT)


async def now(batches: SqlBatches, batch: Batch) -> Batch:
    found = await batches.get_batch(batch.id)
    assert found is not None
    return found


async def test_a_batch_reads_back_as_it_was_given(ledger: SqlLedger, batches: SqlBatches, clock: Clock) -> None:
    new = new_batch(3, total=5, errors=[{"index": 0, "code": "x"}, {"index": 3, "code": "y"}])
    batch, jobs, created = await batches.submit_batch(new)
    assert created
    assert (batch.id, batch.owner, batch.created_at, batch.ended_at, batch.total) == (new.id, "me", clock.now, None, 5)
    assert batch.errors == ({"index": 0, "code": "x"}, {"index": 3, "code": "y"})
    assert (batch.jobs, batch.deleted, batch.progress) == ({JobStatus.QUEUED: 3}, 0, 0)
    assert [job.id for job in jobs] == [job.id for job in new.jobs]
    assert [job.custom_id for job in jobs] == ["c0", "c1", "c2"]
    assert batch.indexes() == [1, 2, 4]
    assert await batches.get_batch(new.id) == batch
    assert await batches.get_batch(new_job_id()) is None
    assert [job.id for job in await batches.batch_jobs(batch.id, 1, 1)] == [new.jobs[1].id]
    assert len(await listed(ledger, batch_id=batch.id)) == 3
    for job in jobs:
        assert await types(ledger, job) == ["job.queued"]


@pytest.mark.parametrize("wrong", [{"text": "lone \ud800"}, {"limits": Limits(queued_jobs=2)}])
async def test_a_job_that_cannot_be_stored_takes_the_whole_batch_with_it(
    ledger: SqlLedger, batches: SqlBatches, wrong: dict[str, object]
) -> None:
    new = new_batch(3)
    jobs = [*new.jobs[:2], replace(new.jobs[2], **wrong)]  # type: ignore[arg-type]
    with pytest.raises((InvalidInput, QuotaExceeded)):
        await batches.submit_batch(replace(new, jobs=jobs))
    assert await batches.get_batch(new.id) is None
    assert await listed(ledger) == []
    assert await batches.batch_jobs(new.id) == []


async def test_a_batch_ends_with_its_last_job_and_tells_so_once(
    ledger: SqlLedger, batches: SqlBatches, clock: Clock
) -> None:
    outbox = SqlOutbox(ledger.store, b"key")
    batch, jobs, _ = await batches.submit_batch(new_batch(3, webhook_url="https://example.com/hook"))
    await complete(ledger, jobs[0])
    await ledger.fail_job(jobs[1].fence, "broken")
    found = await now(batches, batch)
    assert (found.ended_at, found.jobs) == (
        None, {JobStatus.COMPLETED: 1, JobStatus.FAILED: 1, JobStatus.QUEUED: 1}
    )  # fmt: skip
    assert 0 < found.progress <= 99
    clock.now += 5
    await ledger.cancel_job(jobs[2].id, "test")
    found = await now(batches, batch)
    assert (found.ended_at, found.progress) == (clock.now, 100)
    sent = [one for one in await outbox.deliveries("me", limit=50) if one.type == "batch.completed"]
    assert [(one.batch_id, one.url) for one in sent] == [(batch.id, "https://example.com/hook")]
    assert '"completed":1,"failed":1,"cancelled":1' in sent[0].payload


async def test_a_retry_begins_the_batch_again(ledger: SqlLedger, batches: SqlBatches) -> None:
    batch, jobs, _ = await batches.submit_batch(new_batch(2))
    assert await batches.cancel_batch(batch.id, "test") == 2
    assert (await now(batches, batch)).ended_at is not None
    retried = await ledger.retry_job(jobs[0].id)
    assert (await now(batches, batch)).ended_at is None
    await complete(ledger, retried)
    assert (await now(batches, batch)).ended_at is not None


async def test_only_what_is_unfinished_is_cancelled(ledger: SqlLedger, batches: SqlBatches) -> None:
    batch, jobs, _ = await batches.submit_batch(new_batch(3))
    await complete(ledger, jobs[1])
    assert await batches.cancel_batch(batch.id, "enough") == 2
    assert await batches.cancel_batch(batch.id, "enough") == 0
    assert (await now(batches, batch)).jobs == {JobStatus.COMPLETED: 1, JobStatus.CANCELLED: 2}
    assert (await types(ledger, jobs[0]))[-1] == "job.cancelled"


async def test_deleted_jobs_are_counted_and_keep_their_places(ledger: SqlLedger, batches: SqlBatches) -> None:
    batch, jobs, _ = await batches.submit_batch(new_batch(3))
    await ledger.purge_job(jobs[0].id)
    found = await now(batches, batch)
    assert (found.deleted, found.jobs) == (1, {JobStatus.QUEUED: 2})
    assert [job.id for job in await batches.batch_jobs(batch.id)] == [job.id for job in jobs]
    await ledger.purge_job(jobs[1].id)
    assert (await now(batches, batch)).ended_at is None
    await ledger.purge_job(jobs[2].id)
    assert (await now(batches, batch)).ended_at is not None


async def test_one_key_is_one_batch_until_its_jobs_are_gone(ledger: SqlLedger, batches: SqlBatches) -> None:
    keyed = {"idempotency_key": "k", "fingerprint": "f"}
    batch, jobs, created = await batches.submit_batch(new_batch(2, **keyed))
    again, same, created_again = await batches.submit_batch(new_batch(2, **keyed))
    assert (created, created_again, again, [job.id for job in same]) == (True, False, batch, [job.id for job in jobs])
    with pytest.raises(InvalidInput, match="another body"):
        await batches.submit_batch(new_batch(2, idempotency_key="k", fingerprint="g"))
    other = new_batch(1, **keyed)
    _, _, created = await batches.submit_batch(replace(other, owner="you"))
    assert created
    for job in jobs:
        await ledger.purge_job(job.id)
    _, _, created = await batches.submit_batch(new_batch(1, idempotency_key="k", fingerprint="g"))
    assert created


async def test_batches_list_newest_first_by_owner_and_page(batches: SqlBatches, clock: Clock) -> None:
    made = []
    for number in range(7):
        clock.now += number % 2
        batch, _, _ = await batches.submit_batch(new_batch(1, owner="me" if number % 3 else "you"))
        made.append(batch)
    expected = [batch.id for batch in sorted(made, key=lambda one: (one.created_at, one.id), reverse=True)]
    seen: list[str] = []
    before = None
    while page := await batches.list_batches(None, before, 2):
        seen += [batch.id for batch in page]
        before = (page[-1].created_at, page[-1].id)
    assert seen == expected
    assert {batch.id for batch in await batches.list_batches("you")} == {made[n].id for n in (0, 3, 6)}


async def test_all_jobs_of_a_large_batch_are_given_back(batches: SqlBatches) -> None:
    new = new_batch(1_001)
    _, jobs, _ = await batches.submit_batch(new)
    assert [job.id for job in jobs] == [job.id for job in new.jobs]


async def test_a_batch_is_found_by_its_key_while_it_has_jobs(ledger: SqlLedger, batches: SqlBatches) -> None:
    batch, jobs, _ = await batches.submit_batch(new_batch(1, idempotency_key="k", fingerprint="f"))
    assert await batches.submitted("me", "k", "f") == batch
    assert await batches.submitted("you", "k", "f") is None
    assert await batches.submitted("me", "other", "f") is None
    with pytest.raises(InvalidInput) as caught:
        await batches.submitted("me", "k", "g")
    assert caught.value.field == "Idempotency-Key"
    await ledger.purge_job(jobs[0].id)
    assert await batches.submitted("me", "k", "f") is None
