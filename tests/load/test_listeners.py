"""Five hundred listeners, who all lose their connection in the same moment and come back."""

import asyncio

import pytest

from tests.faults.conftest import MakeServer
from tests.load.tools import LAZY_FILES, listen, many_files, probing, show, usage

LISTENERS = 500
SEGMENTS = 12
"""Spoken between two storms, at least."""
STORMS = 1
LONG_STORMS = 20
SLOWEST_S = 30.0
"""Bound for a busy test machine; the figure of a quiet one stands in docs/reliability.md."""


@pytest.mark.timeout(120)
async def test_five_hundred_listeners_and_storms_of_reconnects(make_server: MakeServer, long: bool) -> None:
    many_files(3 * LISTENERS)
    storms = LONG_STORMS if long else STORMS
    segments = SEGMENTS * storms
    server = make_server()
    text = "".join(f"Paragraph number {n} of a long book is spoken slowly.\n\n" for n in range(segments))
    async with server.running() as client:
        idle = usage(server)
        job_id = await client.enqueue(text=text, predefined_voice_id="tone-slow", chunk_size=50, seed=8)
        seen: list[list[int]] = [[] for _ in range(LISTENERS)]
        async with probing(server) as probe:
            for storm in range(1, storms + 1):
                at = storm * SEGMENTS  # somewhere in the first half of the events that there will be
                await asyncio.gather(*(listen(server, job_id, one, at) for one in seen))
            crowded = usage(server)
            while not all(await asyncio.gather(*(listen(server, job_id, one) for one in seen))):
                pass
        last = server.ledger.job(job_id).event_seq
        for one in seen:
            assert one == list(range(1, last + 1)), "every event once, in order"
        status = await client.status(job_id)
        assert status["status"] == "completed"
    assert probe.quantile(0.99) < SLOWEST_S
    assert crowded.files <= idle.files + LISTENERS + LAZY_FILES
    show(
        "500 listeners",
        [
            f"{storms} storms of reconnects, {LISTENERS * last:,} events delivered",
            f"/livez meanwhile {probe}",
            f"memory {(crowded.memory - idle.memory) / LISTENERS / 1e3:.0f} kB per listener",
        ],
    )
