"""Webhooks: the sender over a real ledger and real receivers under a clock of the test's; and all of it through HTTP."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from standardwebhooks import Webhook

from rhapsode.jobs import webhooks
from rhapsode.jobs.events import EventHub
from rhapsode.jobs.safe_address import Policy
from rhapsode.jobs.shop import Shop
from rhapsode.jobs.webhooks import Sender
from rhapsode.ledger.outbox import DeliveryStatus, Endpoint
from rhapsode.ledger.outbox_sql import SqlOutbox
from rhapsode.ledger.sql import SqlLedger
from tests.contract.ledger_values import Clock, finish
from tests.receiver import Got, Receiver, receiving, status
from tests.serving import Server, serving, settings_for

OK = status(204)
TYPES = ("job.completed",)
TEXT = "One short sentence."


class Desk:
    """A ledger with an outbox and a sender; only the test moves the clock."""

    def __init__(self, ledger: SqlLedger, outbox: SqlOutbox, sender: Sender, clock: Clock) -> None:
        self.ledger = ledger
        self.outbox = outbox
        self.sender = sender
        self.clock = clock

    async def listen(self, url: str, id_: str = "ep_1") -> None:
        await self.outbox.add_endpoint(Endpoint(id_, "me", url, self.outbox.secret_of("x"), TYPES, 1.0), 99)

    async def until(self, check: Callable[[Any], bool]) -> None:
        """Wait until all deliveries pass the check."""
        async with asyncio.timeout(20):
            while not all(check(one) for one in await self.outbox.deliveries(None, limit=500)):
                await asyncio.sleep(0.01)

    async def tried(self, times: int) -> None:
        """Wait until all deliveries were tried so often."""
        await self.until(lambda one: one.tries == times)

    def pass_time(self, seconds: float) -> None:
        self.clock.now += seconds
        self.sender.wake()


@asynccontextmanager
async def desk(folder: Path, timeout_s: float = 15.0, policy: Policy | None = None) -> AsyncIterator[Desk]:
    clock = Clock()
    ledger = SqlLedger(folder / "ledger.db", clock=clock, ttl_s=3600)
    outbox, hub = SqlOutbox(ledger.store, b"k" * 32), EventHub()
    ledger.on_event(hub.publish)
    await ledger.open()
    shop = cast(Shop, SimpleNamespace(outbox=outbox, hub=hub, clock=clock))
    sender = Sender(shop, policy or Policy(allow_private=True), timeout_s, spread=lambda: 0.0)
    task = asyncio.create_task(sender.run())
    try:
        yield Desk(ledger, outbox, sender, clock)
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await ledger.close()


async def test_a_receiver_down_for_hours_gets_each_event_under_one_id(tmp_path: Path) -> None:
    up = False
    async with desk(tmp_path) as at, receiving(lambda _: OK if up else status(500)) as receiver:
        await at.listen(receiver.url)
        jobs = {(await finish(at.ledger)).id for _ in range(3)}
        for tries, wait in enumerate((5, 300, 1_800, 7_200, 18_000), 1):
            await at.tried(tries)
            at.pass_time(wait - 1)
            await at.sender._start()
            assert len(receiver.got) == 3 * tries  # not before it is due
            if tries == 5:
                up = True
            at.pass_time(1)
        await at.until(lambda one: one.status is DeliveryStatus.DELIVERED)
        sent: dict[str, set[bytes]] = {}
        for message in receiver.got:
            sent.setdefault(message.headers["webhook-id"], set()).add(message.body)
        assert len(sent) == 3
        assert all(len(bodies) == 1 for bodies in sent.values())  # byte for byte the same in every try
        assert {one.job_id for one in await at.outbox.deliveries(None)} == jobs
        assert len(receiver.got) == 18


async def test_after_the_last_try_it_has_failed_and_can_be_replayed(tmp_path: Path) -> None:
    async with desk(tmp_path) as at, receiving(lambda _: status(500)) as receiver:
        await at.listen(receiver.url)
        await finish(at.ledger)
        for tries in range(1, 11):
            await at.tried(tries)
            at.pass_time(86_400)
        await at.until(lambda one: one.status is DeliveryStatus.FAILED)
        assert len(receiver.got) == 10
        receiver.answer = lambda _: OK
        (one,) = await at.outbox.deliveries(None)
        await at.outbox.replay(one.id)
        await at.until(lambda one: one.status is DeliveryStatus.DELIVERED)
        assert len({message.headers["webhook-id"] for message in receiver.got}) == 1


async def test_410_disables_and_fails_what_waits(tmp_path: Path) -> None:
    async with desk(tmp_path) as at, receiving(lambda _: status(410)) as receiver:
        await at.listen(receiver.url)
        await finish(at.ledger)
        await at.until(lambda one: one.status is DeliveryStatus.FAILED)
        found = await at.outbox.endpoint("ep_1")
        assert found
        assert found.disabled_because == "answered 410"


async def test_a_receiver_that_never_answers_holds_up_nobody(tmp_path: Path) -> None:
    async with desk(tmp_path, 600) as at, receiving(lambda _: None) as slow, receiving(lambda _: OK) as quick:
        slow_url = slow.url.replace("127.0.0.1", "localhost")
        for number in range(40):
            await at.listen(f"{slow_url}/{number}", f"ep_a{number}")
        await at.listen(quick.url, "ep_z")
        await finish(at.ledger)
        await quick.until(1)
        assert len(slow.got) <= 4


async def test_the_backlog_of_a_dead_host_holds_up_nobody_and_costs_each_look_little(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(webhooks, "_AT_ONCE", 8)
    monkeypatch.setattr(webhooks, "_PAGE", 4)
    monkeypatch.setattr(webhooks, "_GO_ON_S", 0.01)
    asked, most = 0, 0
    async with desk(tmp_path, 600) as at, receiving(lambda _: None) as slow, receiving(lambda _: OK) as quick:
        due, look = at.outbox.due, at.sender._start

        async def counted_due(*args: Any) -> Any:
            nonlocal asked
            asked += 1
            return await due(*args)

        async def counted_look() -> float:
            nonlocal asked, most
            asked = 0
            wait = await look()
            most = max(most, asked)
            return wait

        monkeypatch.setattr(at.outbox, "due", counted_due)
        monkeypatch.setattr(at.sender, "_start", counted_look)
        slow_url = slow.url.replace("127.0.0.1", "localhost")
        for number in range(60):  # every job has an address of its own
            await finish(at.ledger, webhook_url=f"{slow_url}/{number}")
        await finish(at.ledger, webhook_url=quick.url)
        await quick.until(1)
        assert len(slow.got) == 4
        assert most <= webhooks._PAGES, "so many queries, however much is due"


async def test_the_backlog_of_a_host_that_is_back_is_sent_to_its_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(webhooks, "_PAGE", 4)
    async with desk(tmp_path) as at, receiving(lambda _: OK) as host:
        for number in range(100):
            await finish(at.ledger, webhook_url=f"{host.url}/{number}")
        await at.until(lambda one: one.status is DeliveryStatus.DELIVERED)
        assert len(host.got) == len({got.path for got in host.got}) == 100


async def test_time_runs_out_on_a_receiver(tmp_path: Path) -> None:
    async with desk(tmp_path, 0.2) as at, receiving(lambda _: None) as slow:
        await at.listen(slow.url)
        await finish(at.ledger)
        await at.until(lambda one: one.last_error == "no answer within 0.2 s")


async def test_a_redirect_is_a_failure_and_a_huge_answer_is_not_read(tmp_path: Path) -> None:
    def answer(message: Got) -> bytes:
        if message.path == "/huge":
            return status(500, body=b"x" * 50_000_000)
        return status(307, f"Location: {other.url}/secret")

    async with desk(tmp_path) as at, receiving(lambda _: OK) as other, receiving(answer) as receiver:
        await at.listen(f"{receiver.url}/huge")
        await at.listen(f"{receiver.url}/moved", "ep_2")
        await finish(at.ledger)
        await at.until(lambda one: one.tries == 1)
        errors = {one.last_status: one.last_error for one in await at.outbox.deliveries(None)}
        assert errors[307] == "answered 307"
        assert len(errors[500] or "") < 300
        assert receiver.sent < 40_000_000
        assert other.got == []


async def test_retry_after_is_respected(tmp_path: Path) -> None:
    async with desk(tmp_path) as at, receiving(lambda _: status(429, "Retry-After: 3600")) as receiver:
        await at.listen(receiver.url)
        await finish(at.ledger)
        await at.until(lambda one: one.tries == 1)
        assert (await at.outbox.deliveries(None))[0].next_at == at.clock.now + 3600


async def test_private_addresses_get_nothing(tmp_path: Path) -> None:
    async with desk(tmp_path, policy=Policy()) as at, receiving(lambda _: OK) as receiver:
        await at.listen(receiver.url)
        await finish(at.ledger)
        await at.until(lambda one: one.tries == 1)
        assert "not an address of the public internet" in str((await at.outbox.deliveries(None))[0].last_error)
        assert receiver.got == []


# -- through HTTP -------------------------------------------------------------------------------------------------


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Server]:
    async with serving(settings_for(tmp_path, webhooks__allowed_hosts="127.0.0.1, x")) as running:
        yield running


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with receiving(lambda _: OK) as found:
        yield found


async def test_a_job_tells_its_url_and_the_endpoints(server: Server, receiver: Receiver) -> None:
    created = await server.http.post("/webhooks", json={"url": f"{receiver.url}/ep"})
    assert created.status_code == 201, created.text
    own = (await server.http.get("/webhooks/secret")).json()["secret"]
    job_id = await server.enqueue(TEXT, webhook_url=f"{receiver.url}/own", tags=["t"])
    await receiver.until(2)
    for message in receiver.got:
        secret = own if message.path == "/own" else created.json()["secret"]
        data = Webhook(secret).verify(message.body, message.headers)
        assert (data["type"], data["data"]["job_id"], data["data"]["tags"]) == ("job.completed", job_id, ["t"])
        assert (await server.http.get(data["data"]["links"]["result"])).status_code == 200
    assert {message.path for message in receiver.got} == {"/own", "/ep"}


async def test_an_endpoint_from_creation_to_deletion(server: Server, receiver: Receiver) -> None:
    http = server.http
    made = (await http.post("/webhooks", json={"url": receiver.url, "types": ["job.failed"]})).json()
    where = f"/webhooks/{made['id']}"
    assert "secret" not in (await http.get(where)).json()
    assert [one["id"] for one in (await http.get("/webhooks")).json()["endpoints"]] == [made["id"]]
    rotated = (await http.post(f"{where}/rotate")).json()["secret"]
    assert rotated != made["secret"]
    sent = await http.post(f"{where}/test")
    assert sent.status_code == 202
    await receiver.until(1)
    assert Webhook(rotated).verify(receiver.got[0].body, receiver.got[0].headers)["type"] == "webhook.test"
    async with asyncio.timeout(10):
        message = f"/webhooks/deliveries/{sent.json()['id']}"
        while (found := (await http.get(message)).json())["status"] != "delivered":
            await asyncio.sleep(0.01)
    assert found["payload"].encode() == receiver.got[0].body
    assert (await http.post(f"{message}/replay")).status_code == 202
    await receiver.until(2)
    assert receiver.got[0].headers["webhook-id"] == receiver.got[1].headers["webhook-id"] == sent.json()["id"]
    assert (await http.patch(where, json={"enabled": False})).json()["enabled"] is False
    assert (await http.post(f"{where}/test")).status_code == 409
    changed = (await http.patch(where, json={"enabled": True, "types": ["job.started"]})).json()
    assert (changed["enabled"], changed["types"]) == (True, ["job.started"])
    assert (await http.delete(where)).status_code == 200
    for method, path in (("GET", where), ("DELETE", where), ("POST", f"{where}/test"), ("PATCH", where)):
        answer = await http.request(method, path, json={} if method == "PATCH" else None)
        assert answer.status_code == 404, (method, path)


async def test_deliveries_are_listed_by_page_and_filter(server: Server, receiver: Receiver) -> None:
    made = (await server.http.post("/webhooks", json={"url": receiver.url})).json()
    ids = [(await server.http.post(f"/webhooks/{made['id']}/test")).json()["id"] for _ in range(5)]
    seen: list[str] = []
    cursor: str | None = None
    while True:
        params = {"limit": "2", "endpoint_id": made["id"]} | ({"cursor": cursor} if cursor else {})
        page = (await server.http.get("/webhooks/deliveries", params=params)).json()
        seen += [one["id"] for one in page["deliveries"]]
        if not (cursor := page["next_cursor"]):
            break
    assert sorted(seen) == sorted(ids)
    await receiver.until(5)
    assert (await server.http.get("/webhooks/deliveries", params={"status": "failed"})).json()["deliveries"] == []


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"url": "ftp://x/"}, "url"),
        ({"url": "http://10.0.0.1/"}, "url"),
        ({"url": "http://2130706433/"}, "url"),
        ({"url": "https://x/", "types": ["job.exploded"]}, "types"),
        ({"url": "https://x/", "types": []}, "types"),
        ({"url": "https://x/", "secret": "whsec_c2hvcnQ="}, "secret"),
        ({"url": "https://x/", "secret": "none"}, "secret"),
        ({}, "url"),
    ],
)
async def test_a_wrong_endpoint_is_refused_by_field(server: Server, body: dict[str, object], field: str) -> None:
    answer = await server.http.post("/webhooks", json=body)
    assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (422, f"/{field}")


async def test_a_private_or_broken_webhook_url_is_refused_at_once(server: Server) -> None:
    for url in ("http://169.254.169.254/latest", "http://[::1]/", "gopher://x/", "https://u:p@x/", ""):
        answer = await server.http.post("/tts/enqueue", json={"text": TEXT, "webhook_url": url})
        assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (422, "/webhook_url"), url
    assert (await server.http.get("/webhooks/deliveries", params={"cursor": "?"})).status_code == 422
