"""``kill -9`` of the server at twenty random moments of one run: nothing acknowledged is lost, nothing finished is made again."""

import asyncio
import os
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import pytest

from rhapsode.blobs.local import LocalBlobs
from rhapsode.fleet.local import LocalFleet
from rhapsode.jobs.clips import Clips
from rhapsode.jobs.events import EventHub
from rhapsode.jobs.planner import Planner
from rhapsode.jobs.shop import Shop
from rhapsode.jobs.sweeper import Sweeper
from rhapsode.ledger.batches_sql import SqlBatches
from rhapsode.ledger.outbox_sql import SqlOutbox
from rhapsode.ledger.sql import SqlLedger
from tests.faults.harness import Client, LedgerFile, ServerProcess
from tests.faults.test_workers import fleet_of

KILLS = 20
SLOTS = 2
PER_CYCLE = 2
LONG_AGO_S = 7 * 86_400

SLOW = [
    {
        "text": " ".join(f"Slow sentence number {n} of a long book." for n in range(1, 41)),
        "predefined_voice_id": "tone-slow",
        "chunk_size": 50,
        "seed": seed,
        "output_format": kind,
    }
    for seed, kind in ((11, "wav"), (12, "mp3"))
]
"""Spoken in about four seconds by two workers, so that they last for all kills."""


def quick(number: int) -> dict[str, Any]:
    """One of many short jobs, so that kills hit planning, joining and completing too."""
    kind = ("wav", "flac", "opus", "mp3")[number % 4]
    text = " ".join(f"Quick sentence {n} of job {number}." for n in range(1, 31))
    return {
        "text": text,
        "predefined_voice_id": "tone-chars",
        "chunk_size": 50,
        "seed": 100 + number,
        "output_format": kind,
    }


class Watcher:
    """Polls jobs for as long as somebody answers; what has been shown may never be taken back."""

    def __init__(self) -> None:
        self.shown: dict[str, int] = {}
        self.seen = 0

    async def watch(self, client: Client) -> None:
        """Poll until the server is gone."""
        with suppress(httpx.TransportError):
            while True:
                for job_id, before in list(self.shown.items()):
                    status = await client.status(job_id)
                    assert status["current_chunk"] >= before, f"{before} segments were done, now {status}"
                    assert status["status"] != "failed", status
                    self.shown[job_id] = status["current_chunk"]
                    self.seen += 1
                await asyncio.sleep(0.005)


@asynccontextmanager
async def watched(watcher: Watcher, client: Client) -> AsyncIterator[None]:
    async with asyncio.TaskGroup() as group:
        group.create_task(watcher.watch(client))
        yield


async def submit_until_gone(
    client: Client, bodies: list[dict[str, Any]], acknowledged: dict[str, dict[str, Any]]
) -> None:
    """Queue a few jobs, unless the server dies; only what it acknowledged counts."""
    with suppress(httpx.TransportError):
        for body in bodies[:PER_CYCLE]:
            acknowledged[await client.enqueue(**body)] = body
            bodies.remove(body)


async def attached_until_gone(client: Client) -> None:
    """Wait for speech that never comes."""
    with suppress(httpx.TransportError):
        await client.http.post("/tts", json=SLOW[0] | {"seed": 13})


async def sweep_all(server: ServerProcess) -> None:
    """One sweep of a server that has been idle for a week."""
    for folder in (server.data_dir / "takes", server.outputs):
        for path in folder.rglob("*"):
            os.utime(path, (path.stat().st_atime - LONG_AGO_S, path.stat().st_mtime - LONG_AGO_S))
    ledger = SqlLedger(server.data_dir / "ledger.db", ttl_s=86_400)
    await ledger.open()
    takes, results = LocalBlobs(server.data_dir / "takes"), LocalBlobs(server.outputs, fan_out=False)
    fleet: LocalFleet = fleet_of(server.folder)
    outbox = SqlOutbox(ledger.store, b"")
    batches = SqlBatches(ledger.store, 3600)
    other = LocalBlobs(server.data_dir / "renditions", fan_out=False)
    clips = LocalBlobs(server.data_dir / "clips", fan_out=False)
    shop = Shop(
        ledger, takes, results, fleet, Planner(), EventHub(), lambda: 0.0, ledger.access, outbox, batches, other,
        Clips(clips),
    )  # fmt: skip
    await Sweeper(shop, 3600).sweep()
    await ledger.close()
    takes.close()
    results.close()
    other.close()
    clips.close()


def check_ledger(ledger: LedgerFile, acknowledged: dict[str, dict[str, Any]]) -> None:
    """All that was acknowledged is complete; every segment was finished once; only what was in flight was repeated."""
    jobs = {job.id: job for job in ledger.rows("SELECT * FROM jobs")}
    assert acknowledged.keys() <= jobs.keys()
    ledger.check_events()
    repeated = 0
    for job in jobs.values():
        if job.attached:
            assert job.status == "cancelled"
            continue
        assert job.status == "completed"
        finished = ledger.events(job.id, "segment.completed")
        indices = sorted(event.data["index"] for event in finished)
        assert indices == list(range(job.segments_total)), "each segment is finished exactly once"
        spoken = sum(not event.data["cached"] for event in finished)  # a body sent again finds its takes
        repeated += len(ledger.events(job.id, "segment.started")) - spoken
        assert all(segment.failures == 0 for segment in ledger.segments(job.id)), "a lost server charges nobody"
        assert not ledger.events(job.id, "segment.lost", "segment.failed")
    assert 0 < repeated <= KILLS * SLOTS
    assert any(job.attached for job in jobs.values())


@pytest.mark.timeout(120)
async def test_twenty_kills_lose_nothing_and_repeat_only_what_was_in_flight(tmp_path: Path) -> None:
    chance = random.Random(20)
    server = ServerProcess(tmp_path / "killed")
    ledger = LedgerFile(server.data_dir / "ledger.db")
    watcher = Watcher()
    acknowledged: dict[str, dict[str, Any]] = {}
    bodies = [*SLOW, *(quick(number) for number in range(30))]
    try:
        for kill in range(KILLS):
            await server.spawn()
            if kill % 4 == 3:
                await asyncio.sleep(chance.uniform(0.0, 1.5))  # the random moment, before or after it answers
                await server.kill()
                continue
            await server.answering()
            async with server.client() as client, watched(watcher, client), asyncio.TaskGroup() as group:
                group.create_task(submit_until_gone(client, bodies, acknowledged))
                if kill % 4 == 1:
                    group.create_task(attached_until_gone(client))
                await asyncio.sleep(chance.uniform(0.0, 0.4))  # the random moment
                watcher.shown |= {job_id: watcher.shown.get(job_id, 0) for job_id in acknowledged}
                await server.kill()
        async with server.running() as client:
            for job_id in acknowledged:
                assert (await client.ended(job_id))["current_chunk"] >= watcher.shown.get(job_id, 0)
            killed = {job_id: await client.result(job_id) for job_id in acknowledged}
            for job in ledger.rows("SELECT id FROM jobs WHERE NOT attached"):
                await client.ended(job.id)
    finally:
        await server.put_down()
    check_ledger(ledger, acknowledged)
    assert watcher.seen > KILLS
    assert set(SLOW[0].items()) <= set(next(iter(acknowledged.values())).items())

    await sweep_all(server)
    takes = {path.name for path in (server.data_dir / "takes").rglob("*") if path.is_file()}
    assert takes == {row.digest for row in ledger.rows("SELECT digest FROM takes")}
    results = {path.name for path in server.outputs.iterdir()}
    assert results == {
        row.result_name for row in ledger.rows("SELECT result_name FROM jobs WHERE status = 'completed'")
    }

    undisturbed = ServerProcess(tmp_path / "undisturbed", {"fleet": {"bulk_slots": 4}})
    async with undisturbed.running() as client:
        expected = await client.speak_all(list(acknowledged.values()))
    for (job_id, body), data in zip(acknowledged.items(), expected, strict=True):
        assert killed[job_id] == data, f"{body['output_format']} of seed {body['seed']} differs"
