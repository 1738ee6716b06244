"""The clock is set a day ahead and a day back while work goes on: nothing expires, hangs or is made twice."""

from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.faults.checker import check_undisturbed
from tests.faults.conftest import MakeServer

DAY_S = 86_400
SEGMENTS = 30
BODY = {
    "text": " ".join(f"Slow sentence number {n} of a long book." for n in range(1, SEGMENTS + 1)),
    "predefined_voice_id": "tone-slow",
    "chunk_size": 50,
    "seed": 17,
}


def done(segments: int, status: dict[str, Any]) -> bool:
    return bool(status["current_chunk"] >= segments)


@pytest.mark.timeout(120)
async def test_a_clock_that_jumps_a_day_both_ways_changes_nothing(make_server: MakeServer, shim_library: Path) -> None:
    server = make_server(changes={"job_queue": {"cleanup_interval_sec": 2}}, library=shim_library)
    async with server.running() as client:
        kept = await client.enqueue(text="Somebody will fetch this later.", seed=5)
        await client.ended(kept)
        job_id = await client.enqueue(**BODY)
        for ahead_s, segments in ((DAY_S + 60, 5), (0, 10), (-DAY_S, 15), (0, 20)):
            await client.until(job_id, partial(done, segments))
            server.shim.set_clock(ahead_s)
            status = await client.status(job_id)
            assert status["elapsed_sec"] >= 0
            assert status["metrics"]["queue_seconds"] >= 0
            await client.ended(await client.enqueue(text=f"Meanwhile, {segments}.", seed=6 + segments))
        await client.ended(job_id)
        await client.result(kept)
        await client.result(job_id)
    assert "the clock has jumped" in server.log
    assert len(server.ledger.events(job_id, "segment.started")) == SEGMENTS
    assert not server.ledger.events(job_id, "segment.failed", "segment.lost")
    assert await check_undisturbed(server, make_server("undisturbed")) == 6
