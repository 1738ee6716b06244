"""The ledger in PostgreSQL, with its syncs: what batches of claims and completions come to, and whole jobs from enqueue to file."""

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor

from bench._rows import Outcome, Row, median, spread
from bench._servers import TONE, rhapsode
from bench._setup import Setup
from bench._text import text_of_segments
from bench._zero_cost import fsync_rate
from bench.ledger import pairs
from rhapsode.ledger.sql import SqlLedger
from tests.postgres import Postgres, running_postgres

PAIRS_S = 1000
SEGMENTS_S = 300
JOBS = 50
CLIENTS = 10
"""That queue them at once."""


async def _pairs(postgres: Postgres, count: int) -> float:
    ledger = SqlLedger(postgres.url(postgres.create()), ttl_s=3600)
    await ledger.open()
    try:
        return await pairs(ledger, count, JOBS)
    finally:
        await ledger.close()


def _end_to_end(setup: Setup, postgres: Postgres, segments: int, number: int) -> float:
    settings = dict(TONE) | {"ledger": {"url": postgres.url(postgres.create())}}
    with rhapsode(setup.folder, settings) as server:
        client = server.client()
        texts = [text_of_segments(segments, 1000 * number + job) for job in range(JOBS)]
        begun = time.perf_counter()
        with ThreadPoolExecutor(CLIENTS) as clients:
            ids = list(clients.map(lambda text: server.client().enqueue(text), texts))
        for job_id in ids:
            client.done(job_id, 0.1)
        return JOBS * segments / (time.perf_counter() - begun)


def measure(setup: Setup) -> Outcome:
    """A server of its own on the measured disk; it awaits each commit, as it does for users."""
    found: dict[str, list[float]] = {"pairs": [], "segments": [], "syncs": []}
    with running_postgres(durable=True, parent=setup.folder.parent) as postgres:
        for number in range(setup.runs):
            found["syncs"].append(fsync_rate(setup.folder))
            found["pairs"].append(asyncio.run(_pairs(postgres, setup.size(6000, 2000))))
            found["segments"].append(_end_to_end(setup, postgres, setup.size(60, 20), number))
    syncs, beside = median(found["syncs"]), "fsyncs of this disk, one after another"
    rows = [
        Row(f"claims with their completions, {JOBS} jobs at once", median(found["pairs"]), "/s", PAIRS_S, True, beside,
            syncs, spread(found["pairs"])),
        Row(f"zero-cost engine, {JOBS} jobs, enqueue to file", median(found["segments"]), "/s", SEGMENTS_S, True, beside,
            syncs, spread(found["segments"])),
    ]  # fmt: skip
    return Outcome(rows, found)
