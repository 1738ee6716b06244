"""Several servers on one PostgreSQL ledger: what one accepts, all know, and what a dead one leaves, another one ends."""

import asyncio
import signal
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx
import pytest
import pytest_asyncio

from tests.faults.harness import Client, ServerProcess
from tests.faults.nodes import ADOPTED_S, Nodes, alone, book, listen
from tests.postgres import Postgres, running_postgres

pytestmark = pytest.mark.asyncio(loop_scope="module")

ACROSS_S = 1.0


@pytest.fixture(scope="module")
def durable() -> Iterator[Postgres]:
    with running_postgres(durable=True) as server:
        yield server


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def nodes(durable: Postgres, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Nodes]:
    folder = tmp_path_factory.mktemp("nodes")
    database = durable.create()
    servers = [node(folder, name, durable.url(database)) for name in ("first", "second")]
    await asyncio.gather(*(server.start() for server in servers))
    yield Nodes(durable, database, servers)
    for server in servers:
        await server.put_down()


def node(folder: Path, name: str, url: str) -> ServerProcess:
    """A server with a data directory of its own, whose audio lies where that of the others does."""
    return ServerProcess(folder / name, {"ledger": {"url": url}, "blobs": {"url": f"file://{folder / 'shared'}"}})


async def another_job(client: Client, *known: str) -> str:
    """Wait until there is an unfinished job beside these; its id."""
    async with asyncio.timeout(30):
        while True:
            for status in ("queued", "running"):
                for job in (await client.http.get("/tts", params={"status": status})).json()["jobs"]:
                    if job["job_id"] not in known:
                        return str(job["job_id"])
            await asyncio.sleep(0.02)


async def test_all_nodes_answer_alike_and_act_for_each_other(nodes: Nodes) -> None:
    async with nodes.clients() as (first, second):
        job_id = await first.enqueue(**book(1))
        heard = asyncio.create_task(listen(second, job_id))
        await first.until(job_id, lambda status: status["current_chunk"] >= 3)
        # what a node that does not own the job changes, the owner heeds
        changed = await second.http.patch(f"/tts/{job_id}", json={"priority": "batch", "tags": ["x"]})
        assert changed.status_code == 200, changed.text
        assert (await first.status(job_id))["priority"] == "batch"
        # live audio comes from takes, wherever they were spoken
        async with second.http.stream("GET", f"/tts/{job_id}/audio", params={"format": "wav"}) as audio:
            assert audio.status_code == 200
            async for piece in audio.aiter_bytes():
                assert piece
                break
        began = time.monotonic()
        assert (await second.http.delete(f"/tts/{job_id}", params={"purge": "false"})).status_code in (200, 202, 204)
        async with asyncio.timeout(ACROSS_S):
            types = [event["type"] for event in await heard]
        assert types[-1] == "job.cancelled"
        await asyncio.sleep(max(0.0, ACROSS_S - (time.monotonic() - began)))
        (before,) = nodes.rows("SELECT count(*) AS spoken FROM segments WHERE job_id = %s AND attempt > 0", job_id)
        await asyncio.sleep(0.5)
        (after,) = nodes.rows("SELECT count(*) AS spoken FROM segments WHERE job_id = %s AND attempt > 0", job_id)
        assert after.spoken == before.spoken < 60
        # a retry is the node's that took it; the other one listens, waits and serves
        assert (await second.http.post(f"/tts/{job_id}/retry")).status_code in (200, 202)
        await first.ended(job_id)
        ours, theirs = await first.status(job_id), await second.status(job_id)
        assert ours == theirs
        assert await first.result(job_id) == await second.result(job_id)
        pages = [(await client.http.get(f"/tts/{job_id}/events?after=0")).text for client in (first, second)]
        assert pages[0] == pages[1]


async def test_an_idle_node_takes_part_of_a_long_queue(nodes: Nodes) -> None:
    async with nodes.clients() as (first, second):
        ids = [await first.enqueue(**book(10 + n, 9)) for n in range(8)]
        for job_id in ids:
            await second.ended(job_id)
        owners = nodes.rows("SELECT DISTINCT epoch FROM jobs WHERE id = ANY(%s)", ids)
        assert len(owners) == 2
        for job_id in ids:
            nodes.check(job_id)


async def test_a_restart_of_the_database_pauses_the_work_and_loses_nothing(nodes: Nodes, tmp_path: Path) -> None:
    async with nodes.clients() as (first, second), alone(tmp_path) as single:
        job_id, reference = await asyncio.gather(first.enqueue(**book(2)), single.enqueue(**book(2)))
        heard = asyncio.create_task(listen(second, job_id))
        await first.until(job_id, lambda status: status["current_chunk"] >= 5)
        waiter = asyncio.create_task(first.http.post("/tts", json=book(7)))
        attached = await another_job(second, job_id)
        await asyncio.to_thread(nodes.postgres.stop, signal.SIGINT)
        waiter.cancel()  # while nobody can write that down
        refused = await first.http.post("/tts/enqueue", json={"text": "Not now."})
        assert (refused.status_code, refused.json()["code"]) == (503, "unavailable")
        assert int(refused.headers["Retry-After"]) >= 1
        shown = await first.status(job_id)
        assert (shown["status"], shown["waiting_for"]) == ("running", "database")
        assert (await first.http.get("/readyz")).json()["checks"]["ledger"] == "database"
        await asyncio.sleep(1.0)
        await asyncio.to_thread(nodes.postgres.start)
        await second.until(attached, lambda status: status["status"] == "cancelled")
        await first.ended(job_id)
        assert [event["seq"] for event in await heard] == list(range(1, len(heard.result()) + 1))
        await single.ended(reference)
        assert await second.result(job_id) == await single.result(reference)
    nodes.check(job_id)
    assert {row.count for row in nodes.rows("SELECT count(*) FROM nodes WHERE ended_at IS NULL")} == {2}


async def test_jobs_of_dead_and_of_sleeping_nodes_are_ended_by_another(nodes: Nodes, tmp_path: Path) -> None:
    dead, other = nodes.servers
    sleeper = node(dead.folder.parent, "third", nodes.postgres.url(nodes.database))
    await sleeper.start()
    try:
        await _end_for_others(nodes, dead, sleeper, other, tmp_path)
    finally:
        await sleeper.put_down()


async def _end_for_others(
    nodes: Nodes, dead: ServerProcess, sleeper: ServerProcess, other: ServerProcess, folder: Path
) -> None:
    async with dead.client() as first, other.client() as second, sleeper.client() as third, alone(folder) as single:
        job_id, reference, late = await asyncio.gather(
            first.enqueue(**book(3)), single.enqueue(**book(3)), third.enqueue(**book(5))
        )
        waited_for = asyncio.create_task(first.http.post("/tts", json=book(4)))
        heard = asyncio.create_task(listen(second, job_id))
        attached = await another_job(second, job_id, late)
        for one in (job_id, late):
            await second.until(one, lambda status: status["current_chunk"] >= 5)
        assert sleeper.process is not None
        sleeper.process.send_signal(signal.SIGSTOP)
        await dead.kill()
        began = time.monotonic()
        with pytest.raises(httpx.TransportError):
            await waited_for
        before = {one: nodes.rows("SELECT * FROM jobs WHERE id = %s", one)[0] for one in (job_id, late)}
        for one in (job_id, late):
            await nodes.adopted(one, before[one].epoch)
        assert time.monotonic() - began < ADOPTED_S
        for one in (job_id, late):
            await second.until(
                one, lambda status: status["current_chunk"] > before[str(status["job_id"])].segments_done
            )
        sleeper.process.send_signal(signal.SIGCONT)  # it wakes beside its successor
        await asyncio.gather(second.ended(job_id), second.ended(late), single.ended(reference))
        assert (await second.status(attached))["status"] == "cancelled"
        events = await heard
        assert [event["seq"] for event in events] == list(range(1, len(events) + 1))
        assert events[-1]["type"] == "job.completed"
        assert await second.result(job_id) == await single.result(reference)
        for one in (job_id, late):
            nodes.check(one)
        # who was given up begins anew, under another epoch, and works on
        short = await third.enqueue(**book(6, 2))
        await third.ended(short)
        assert await third.result(late) == await second.result(late)
    assert "given up by the others" in sleeper.log
    for server in (sleeper, other):
        assert "Traceback" not in server.log
    await dead.start()  # under its old name
    async with dead.client() as again:
        assert (await again.status(job_id))["status"] == "completed"
