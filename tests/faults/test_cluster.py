"""All parts of a large installation at once: servers that share PostgreSQL, a bucket and a Ray cluster, and lose one after the other."""

import asyncio
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from tests.buckets import Buckets
from tests.clusters import RayCluster, running_cluster
from tests.faults.harness import Client, ServerProcess
from tests.faults.nodes import ADOPTED_S, Nodes, alone, book, listen
from tests.postgres import running_postgres

PATIENCE_S = 40.0
SOME = 4
"""Segments that are spoken between two faults."""


def server(folder: Path, name: str, cluster: RayCluster, database: str, buckets: Buckets) -> ServerProcess:
    """One whose users changed three settings, and how many workers there may be."""
    return ServerProcess(
        folder / name,
        {
            "fleet": {
                "kind": "ray", "address": cluster.address, "min_workers": 1, "max_workers": 2,
                "idle_unload_sec": 1, "node_cache": str(folder / "node"),
            },
            "ledger": {"url": database},
            "blobs": {"url": f"{buckets.url}/cluster", "endpoint": buckets.endpoint},
        },
    )  # fmt: skip


async def logged(server: ServerProcess, words: str) -> None:
    """Wait until the server has noticed."""
    async with asyncio.timeout(PATIENCE_S):
        while words not in server.log:
            await asyncio.sleep(0.02)


async def workers_of(cluster: RayCluster, others: set[int]) -> set[int]:
    """Wait until there are workers beside these; which."""
    async with asyncio.timeout(PATIENCE_S):
        while not (found := await asyncio.to_thread(cluster.workers) - others):
            await asyncio.sleep(0.05)
    return found


async def go_on(client: Client, job_id: str) -> dict[str, Any]:
    """Wait until a few more segments are spoken."""
    done = (await client.status(job_id))["current_chunk"]
    return await client.until(job_id, lambda status: status["current_chunk"] >= done + SOME, PATIENCE_S)


@pytest.mark.timeout(240)
async def test_a_cluster_loses_a_worker_a_machine_a_server_and_its_database_and_finishes_the_job(
    buckets: Buckets, tmp_path: Path
) -> None:
    with running_postgres(durable=True) as postgres, running_cluster() as cluster:
        cluster.add_node(cpus=0)
        for _ in range(2):
            cluster.add_node(cpus=2)
        database = postgres.create()
        servers = [server(tmp_path, name, cluster, postgres.url(database), buckets) for name in ("first", "second")]
        nodes = Nodes(postgres, database, servers)
        try:
            await _lose_all(nodes, cluster, tmp_path)
        finally:
            for one in servers:
                await one.put_down()


async def _lose_all(nodes: Nodes, cluster: RayCluster, folder: Path) -> None:
    owner, other = nodes.servers
    await other.start()
    idle = await workers_of(cluster, set())
    await owner.start()
    async with nodes.clients() as (first, second), alone(folder / "alone") as single:
        long = book(1, sentences=110)
        job_id, reference = await asyncio.gather(first.enqueue(**long), single.enqueue(**long))
        heard = asyncio.create_task(listen(second, job_id))
        await go_on(second, job_id)

        cluster.kill_worker(min(await workers_of(cluster, idle)))
        await logged(owner, "the worker died")
        await go_on(second, job_id)

        machine = cluster.node_of(min(await workers_of(cluster, idle)))
        await asyncio.to_thread(cluster.kill_node, machine)
        await logged(owner, "worker lost")
        await go_on(second, job_id)

        (owned,) = nodes.rows("SELECT epoch FROM jobs WHERE id = %s", job_id)
        await owner.kill()
        began = time.monotonic()
        await nodes.adopted(job_id, owned.epoch)
        assert time.monotonic() - began < ADOPTED_S
        await go_on(second, job_id)

        await asyncio.to_thread(nodes.postgres.stop, signal.SIGQUIT)
        await second.until(job_id, lambda status: status["waiting_for"] == "database")
        await asyncio.to_thread(nodes.postgres.start)
        assert (await go_on(second, job_id))["status"] == "running", "the job was too short for all this"

        await asyncio.gather(second.ended(job_id), single.ended(reference), owner.start())
        events = await heard
        assert [event["seq"] for event in events] == list(range(1, len(events) + 1))
        assert events[-1]["type"] == "job.completed"
        nodes.check(job_id, failures=1)
        spoken = await single.result(reference)
        assert await second.result(job_id) == spoken
        async with owner.client() as again:
            assert await again.status(job_id) == await second.status(job_id)
            part = await again.http.get(f"/tts/{job_id}/result", headers={"Range": "bytes=1000-100999"})
            assert (part.status_code, part.content) == (206, spoken[1000:101_000])
        await _lose_the_cluster(second, cluster)
    for one in nodes.servers:
        assert "Traceback" not in one.log


async def _lose_the_cluster(client: Client, cluster: RayCluster) -> None:
    """The server stays, takes jobs and says what they wait for, until there is a cluster again."""
    address = cluster.address
    await asyncio.to_thread(cluster.stop)
    job_id = await client.enqueue(**book(2, sentences=4))
    await client.until(job_id, lambda status: str(status["waiting_for"]).startswith("cluster away"))
    assert (await client.http.get("/livez")).status_code == 200
    await asyncio.to_thread(cluster.start_again, address)
    await asyncio.to_thread(cluster.add_node, 2)
    await client.ended(job_id)
