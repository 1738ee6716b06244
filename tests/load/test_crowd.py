"""Sixty-four clients at once, each of whom queues, asks, listens, fetches and changes his mind."""

import asyncio
import random
import time
from collections import Counter

import pytest

from tests.faults.checker import check_files
from tests.faults.conftest import MakeServer
from tests.faults.harness import Client, ServerProcess
from tests.load.tools import listen, probing, show

CLIENTS = 64
SECONDS = 4.0
LONG_SECONDS = 300.0
SLOWEST_S = 30.0


async def visit(server: ServerProcess, client: Client, chance: random.Random, number: int) -> str:
    """What one client does with one job; what it was."""
    body = {"text": f"Client {number} wants this. And this.", "seed": number + 1, "chunk_size": 50}
    what = chance.choice(["fetch", "fetch", "cancel", "listen", "attach", "leave"])
    if what == "attach":
        assert (await client.http.post("/tts", json=body)).status_code == 200
        return what
    job_id = await client.enqueue(**body, predefined_voice_id=chance.choice(["tone", "tone-chars"]))
    if what == "fetch":
        answer = await client.http.get(f"/tts/{job_id}/result", headers={"Prefer": "wait=60"})
        assert answer.status_code == 200
        assert len(answer.content) > 1_000
    elif what == "cancel":
        assert (await client.http.delete(f"/tts/{job_id}")).status_code in (200, 409)
    elif what == "listen":
        seen: list[int] = []
        await listen(server, job_id, seen)
        assert seen == list(range(1, len(seen) + 1))
    return what


@pytest.mark.timeout(120)
async def test_sixty_four_clients_at_once(make_server: MakeServer, long: bool) -> None:
    server = make_server()
    done: Counter[str] = Counter()
    async with server.running() as client, probing(server) as probe:
        begun = time.monotonic()

        async def come_and_go(number: int) -> None:
            chance = random.Random(number)
            while time.monotonic() - begun < (LONG_SECONDS if long else SECONDS):
                done[await visit(server, client, chance, number * 100_000 + done.total())] += 1

        await asyncio.gather(*(come_and_go(number) for number in range(CLIENTS)))
        seconds = time.monotonic() - begun
        for row in server.ledger.rows("SELECT id FROM jobs WHERE status IN ('queued', 'running')"):
            await client.ended(row.id)
    assert set(done) == {"fetch", "cancel", "listen", "attach", "leave"}
    assert not [one for one in server.record.exchanges if one.status is None or one.status >= 500]
    assert {row.status for row in server.ledger.rows("SELECT DISTINCT status FROM jobs")} <= {"completed", "cancelled"}
    await check_files(server)
    assert probe.quantile(0.99) < SLOWEST_S
    waits = sorted(one.seconds for one in server.record.exchanges if one.path.endswith("/enqueue"))
    show(
        "64 clients",
        [
            f"{done.total() / seconds:.0f} jobs/s for {seconds:.0f} s, {len(server.record.exchanges):,} requests, no 5xx",
            f"enqueue {waits[len(waits) // 2] * 1e3:.0f} ms, p99 {waits[int(len(waits) * 0.99)] * 1e3:.0f} ms",
            f"/livez meanwhile {probe}",
        ],
    )
