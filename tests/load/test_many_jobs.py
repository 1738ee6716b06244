"""A hundred thousand jobs wait in the ledger: starting, listing and choosing the next segment stay quick."""

import asyncio
import sqlite3
import time
import uuid
from collections.abc import Sequence
from contextlib import closing
from typing import Any

import pytest

from tests.faults.conftest import MakeServer
from tests.faults.harness import Client, ServerProcess
from tests.load.tools import probing, show, usage

JOBS = 100_000
OWNERS = 7
WORKS_S = 3.0
START_S = 120.0
LIST_S = 10.0
SHORT_S = 20.0
"""Bounds for a busy test machine; the figures of a quiet one stand in docs/reliability.md."""


async def fill(server: ServerProcess) -> None:
    """Have one job stored, and copy its rows until there are a hundred thousand."""
    async with server.running() as client:
        await client.http.post("/api/unload")
        job_id = await client.enqueue(text="One of very many short texts.", seed=1)
        await client.until(job_id, lambda status: status["segments"]["planned"])
    ids = [str(uuid.uuid4()) for _ in range(JOBS - 1)]
    with closing(sqlite3.connect(server.ledger.path)) as connection:
        connection.row_factory = sqlite3.Row

        def copy(table: str, changes: Sequence[dict[str, Any]]) -> None:
            for found in connection.execute(f"SELECT * FROM {table}").fetchall():
                row = dict(found)
                row.pop("pos", None)
                names, marks = ", ".join(f'"{name}"' for name in row), ", ".join(f":{name}" for name in row)
                connection.executemany(
                    f"INSERT INTO {table} ({names}) VALUES ({marks})", (row | one for one in changes)
                )

        begun = time.time() - JOBS
        copy(
            "jobs",
            [{"id": one, "owner": f"owner-{n % OWNERS}", "created_at": begun + n} for n, one in enumerate(ids)],
        )
        for table in ("job_texts", "segments", "events"):
            copy(table, [{"job_id": one} for one in ids])
        connection.execute("UPDATE marks SET newest_pos = (SELECT max(pos) FROM events)")
        connection.commit()


async def seconds_of(client: Client, path: str) -> float:
    """How long an answer takes; the median of five."""
    took = []
    for _ in range(5):
        answer = await client.http.get(path)
        assert answer.status_code == 200, answer.text
        took.append(answer.elapsed.total_seconds())
    return sorted(took)[2]


@pytest.mark.timeout(400)
async def test_a_hundred_thousand_waiting_jobs_slow_nothing_down(make_server: MakeServer) -> None:
    server = make_server(changes={"limits": {"max_queued_jobs": 2 * JOBS}})
    server.unchecked = True
    await fill(server)
    begun = time.monotonic()
    await server.start()
    start_s = time.monotonic() - begun
    async with server.client() as client, probing(server) as probe:
        page = (await client.http.get("/tts?limit=50")).json()
        last = page["jobs"][-1]["job_id"]
        listing = {
            path: await seconds_of(client, path)
            for path in ("/tts?limit=50", "/tts?status=queued&limit=50", f"/tts/{last}/status")
        }
        short = []
        for number in range(5):
            answer = await client.http.post("/tts", json={"text": f"Somebody waits for this, {number}.", "seed": 77})
            assert answer.status_code == 200
            short.append(answer.elapsed.total_seconds())
        done = "SELECT count(*) AS n FROM jobs WHERE status = 'completed'"
        before = server.ledger.rows(done)[0].n
        await asyncio.sleep(WORKS_S)  # the span that is measured
        rate = (server.ledger.rows(done)[0].n - before) / WORKS_S
        waiting = await client.status(last)
        memory = usage(server).memory
    stop_s = time.monotonic()
    assert await server.stop() == 0
    stop_s = time.monotonic() - stop_s
    assert waiting["queue_position"] or waiting["status"] != "queued"
    assert rate > 1, "the jobs that wait are worked on"
    assert start_s < START_S
    assert max(listing.values()) < LIST_S
    assert sorted(short)[2] < SHORT_S
    show(
        "100,000 jobs",
        [
            f"start {start_s:.1f} s, stop {stop_s:.1f} s",
            *(f"{path.replace(last, '{id}')} {took * 1e3:.0f} ms" for path, took in listing.items()),
            f"short POST /tts {sorted(short)[2] * 1e3:.0f} ms",
            f"{rate:.0f} jobs/s done of those that wait",
            f"/livez meanwhile {probe}",
            f"memory {memory / 1e6:.0f} MB",
        ],
    )
