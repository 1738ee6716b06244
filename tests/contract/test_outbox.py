"""The outbox contract: written with the transition, sent under one id, ended once."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import sqlalchemy as sa

from rhapsode.datadir import secret_key
from rhapsode.errors import Conflict, Refused
from rhapsode.ledger import outbox_sql, transitions
from rhapsode.ledger.outbox import FIRST, DeliveryStatus, Endpoint, Outcome
from rhapsode.ledger.outbox_sql import SqlOutbox, record_batch
from rhapsode.ledger.schema import deliveries
from rhapsode.ledger.sql import SqlLedger
from rhapsode.ledger.transaction import Transaction
from rhapsode.model import Job
from tests.contract.ledger_values import RESULT, Clock, OpenLedger, begin, finish, new_job

WRITTEN = sa.select(deliveries.c.id).where(deliveries.c.job_id == sa.bindparam("of"))
URL = "https://a.example/hook"


@pytest.fixture
async def stored(open_ledger: OpenLedger) -> SqlLedger:
    ledger = await open_ledger()
    assert isinstance(ledger, SqlLedger)
    await ledger.beat(judge=False)  # so that it knows that it is the one that sends
    return ledger


@pytest.fixture
def outbox(stored: SqlLedger) -> SqlOutbox:
    return SqlOutbox(stored.store, b"k" * 32)


def endpoint(id_: str = "ep_1", **changes: object) -> Endpoint:
    made = Endpoint(id_, "me", URL, "whsec_x", ("job.completed", "job.failed", "job.cancelled"), 1.0)
    return replace(made, **changes)  # type: ignore[arg-type]


async def test_each_end_tells_the_url_of_the_job_and_the_endpoints_of_its_owner(
    stored: SqlLedger, outbox: SqlOutbox, clock: Clock
) -> None:
    await outbox.add_endpoint(endpoint(), 9)
    await outbox.add_endpoint(endpoint("ep_started", types=("job.started",)), 9)
    await outbox.add_endpoint(endpoint("ep_other", owner="you"), 9)
    await outbox.add_endpoint(endpoint("ep_off", disabled_at=1.0, disabled_because="off"), 9)
    job = await finish(stored, webhook_url="http://own.example/", custom_id="c", tags=("t",))
    cancelled, _ = await stored.submit(new_job())
    await stored.cancel_job(cancelled.id, "no")
    await stored.cancel_job(cancelled.id, "no")
    failed = await begin(stored)
    await stored.fail_job(failed.fence, "boom", 1)
    found = await outbox.deliveries(None)
    told = {(one.job_id, one.endpoint_id, one.type) for one in found}
    assert told == {
        (job.id, None, "job.completed"),
        (job.id, "ep_1", "job.completed"),
        (job.id, "ep_started", "job.started"),
        (failed.id, "ep_started", "job.started"),
        (failed.id, "ep_1", "job.failed"),
        (cancelled.id, "ep_1", "job.cancelled"),
    }
    assert len(found) == len({one.id for one in found}) == 6
    own = next(one for one in found if one.endpoint_id is None)
    assert (own.url, own.status, own.next_at) == ("http://own.example/", DeliveryStatus.PENDING, clock.now)
    message = json.loads(own.payload)
    assert (message["type"], message["timestamp"]) == ("job.completed", "2023-11-14T22:13:20.000+00:00")
    assert message["data"] == {
        "job_id": job.id, "status": "completed", "custom_id": "c", "batch_id": None, "tags": ["t"], "error": None,
        "failed_segment": None,
        "result": {"format": "wav", "size": RESULT.size, "samples": 22_028, "rate": 22_050,
                   "duration_seconds": 0.999, "revision": 1},
        "links": {"self": f"/tts/{job.id}/status", "result": f"/tts/{job.id}/result", "audio": f"/tts/{job.id}/audio"},
    }  # fmt: skip
    assert len(await outbox.deliveries("me", job_id=failed.id, endpoint_id="ep_1")) == 1
    assert await outbox.deliveries("you") == []


def rolled_back(tx: Transaction, job: Job, change: Callable[[Transaction], object]) -> None:
    change(tx)
    assert tx.one(WRITTEN, of=job.id) is not None  # so that there is something to undo
    raise Refused("undone")


async def test_what_is_rolled_back_tells_nobody(stored: SqlLedger, outbox: SqlOutbox) -> None:
    job, _ = await stored.submit(new_job(webhook_url=URL))

    def cancel(tx: Transaction) -> object:
        return transitions.cancel_job(tx, job.id, "no", 1.0)

    with pytest.raises(Refused):
        await stored.store.write(rolled_back, job, cancel)
    assert await outbox.deliveries(None) == []
    await stored.cancel_job(job.id, "now")
    assert len(await outbox.deliveries(None)) == 1


async def test_a_redo_tells_nobody_and_a_batch_its_url(stored: SqlLedger, outbox: SqlOutbox) -> None:
    job = await finish(stored)
    redo = replace(job, redo_of=job.id, webhook_url=URL)
    await stored.store.write(outbox_sql.record_job, redo, "job.completed")
    assert await outbox.deliveries(None) == []
    await stored.store.write(record_batch, "me", "batch_1", URL, {"batch_id": "batch_1"})
    (one,) = await outbox.deliveries(None)
    assert (one.type, one.batch_id, one.url) == ("batch.completed", "batch_1", URL)


async def test_a_delivery_from_try_to_end(stored: SqlLedger, outbox: SqlOutbox, clock: Clock) -> None:
    await finish(stored, webhook_url=URL)
    (due,) = await outbox.due(clock.now, (), FIRST, 9)
    assert due.secret == outbox.secret_of("me") != outbox.secret_of("you")
    assert await outbox.due(clock.now, (due.delivery.id,), FIRST, 9) == []
    assert await outbox.due(clock.now, (), due.place, 9) == []
    await outbox.settle(due.delivery.id, Outcome(500, "oh", clock.now + 5))
    assert await outbox.due(clock.now, (), FIRST, 9) == []
    assert await outbox.next_due(clock.now) == clock.now + 5
    clock.now += 5
    (again,) = await outbox.due(clock.now, (), FIRST, 9)
    assert (again.delivery.id, again.delivery.payload) == (due.delivery.id, due.delivery.payload)
    assert (again.delivery.tries, again.delivery.last_status, again.delivery.last_error) == (1, 500, "oh")
    await outbox.settle(due.delivery.id, Outcome(204, None))
    ended = await outbox.delivery(due.delivery.id)
    assert ended is not None
    assert (ended.status, ended.tries, ended.delivered_at) == (DeliveryStatus.DELIVERED, 2, clock.now)
    await outbox.settle(due.delivery.id, Outcome(500, "late", clock.now))
    assert await outbox.delivery(due.delivery.id) == ended
    assert await outbox.drop_deliveries(clock.now) == 0
    told: list[int] = []
    outbox.on_due(lambda: told.append(1))
    assert await outbox.replay(due.delivery.id)
    assert (len(await outbox.due(clock.now, (), FIRST, 9)), told) == (1, [1])
    assert await outbox.drop_deliveries(clock.now + 1) == 0
    await outbox.settle(due.delivery.id, Outcome(500, "last"))
    assert await outbox.drop_deliveries(clock.now + 1) == 1
    assert await outbox.deliveries(None) == []


async def test_what_is_due_is_gone_through_by_place(stored: SqlLedger, outbox: SqlOutbox, clock: Clock) -> None:
    for number in range(7):
        await finish(stored, webhook_url=f"{URL}/{number}")
        clock.now += number // 2  # some are due at one time
    everything = await outbox.due(clock.now, (), FIRST, 9)
    assert [due.place for due in everything] == sorted(due.place for due in everything)
    assert len(everything) == 7
    seen, after = list[str](), FIRST
    while page := await outbox.due(clock.now, (), after, 2):
        seen += [due.url for due in page]
        after = page[-1].place
    assert seen == [due.url for due in everything]


@pytest.mark.parametrize("end", ["gone", "disabled", "removed"])
async def test_what_waits_for_an_endpoint_fails_with_it(
    stored: SqlLedger, outbox: SqlOutbox, clock: Clock, end: str
) -> None:
    await outbox.add_endpoint(endpoint(), 1)
    with pytest.raises(Conflict):
        await outbox.add_endpoint(endpoint("ep_2"), 1)
    await finish(stored)
    await finish(stored)
    first, second = await outbox.due(clock.now, (), FIRST, 9)
    if end == "gone":
        await outbox.settle(first.delivery.id, Outcome(410, "answered 410", gone=True))
    elif end == "disabled":
        await outbox.change_endpoint(endpoint(disabled_at=2.0, disabled_because="off"))
    else:
        assert await outbox.remove_endpoint("ep_1")
    await finish(stored)  # tells nobody any more
    assert [one.status for one in await outbox.deliveries(None)] == [DeliveryStatus.FAILED] * 2
    with pytest.raises(Conflict):
        await outbox.replay(second.delivery.id)
    found = await outbox.endpoint("ep_1")
    if end == "removed":
        assert found is None
        return
    assert found is not None
    assert found.disabled_because == {"gone": "answered 410", "disabled": "off"}[end]
    with pytest.raises(Conflict):
        await outbox.add_test("ep_1")
    await outbox.change_endpoint(endpoint(url="https://new.example/"))
    assert await outbox.replay(second.delivery.id)
    (due,) = await outbox.due(clock.now, (), FIRST, 9)
    assert (due.delivery.id, due.url, due.secret) == (second.delivery.id, "https://new.example/", "whsec_x")


def test_the_key_is_made_once_and_private(tmp_path: Path) -> None:

    path = tmp_path / "webhook.key"
    key = secret_key(path)
    assert (secret_key(path), len(key), path.stat().st_mode & 0o777) == (key, 32, 0o600)
