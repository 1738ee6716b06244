"""Several servers on one ledger in PostgreSQL: made, asked, and what the ledger says of them."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import psycopg.rows

from rhapsode.ledger.base import LEASE_S
from tests.faults.checker import check_finished_once
from tests.faults.harness import Client, Row, ServerProcess
from tests.postgres import Postgres

ADOPTED_S = 15.0 + LEASE_S
"""15 s are promised of nodes that get their turns; one that did not judges nobody for the time of a lease."""


def book(seed: int, sentences: int = 60) -> dict[str, Any]:
    """One whose takes no other has; two workers speak ten of its sentences in a second."""
    text = " ".join(f"Slow sentence number {n} of a long book." for n in range(1, sentences + 1))
    return {"text": text, "predefined_voice_id": "tone-slow", "chunk_size": 50, "seed": seed}


@dataclass
class Nodes:
    """Servers, and the database that they share."""

    postgres: Postgres
    database: str
    servers: list[ServerProcess]

    def rows(self, query: str, *parameters: object) -> list[Row]:
        """What an SQL query gives."""
        url = self.postgres.url(self.database)
        with psycopg.connect(url, autocommit=True, row_factory=psycopg.rows.dict_row) as connection:
            return [Row(row) for row in connection.execute(query.encode(), parameters)]

    def events(self, job_id: str) -> list[Row]:
        """A job's events in order, ``data`` as an object."""
        found = self.rows("SELECT * FROM events WHERE job_id = %s ORDER BY seq", job_id)
        return [Row(dict(row.values) | {"data": json.loads(row.data)}) for row in found]

    async def adopted(self, job_id: str, epoch: int) -> None:
        """Wait until the job is another node's than the one that had this epoch."""
        async with asyncio.timeout(60):
            while self.rows("SELECT epoch FROM jobs WHERE id = %s", job_id)[0].epoch == epoch:
                await asyncio.sleep(0.1)

    def check(self, job_id: str, failures: int = 0) -> None:
        """Events are numbered without gaps, nothing finished was begun again, and no more than these failures were charged."""
        (job,) = self.rows("SELECT * FROM jobs WHERE id = %s", job_id)
        events = self.events(job_id)
        assert [event.seq for event in events] == list(range(1, job.event_seq + 1))
        check_finished_once(job_id, events)
        done = [event.data["index"] for event in events if event.type == "segment.completed"]
        assert sorted(done) == list(range(job.segments_total))
        (charged,) = self.rows("SELECT sum(failures) AS failures FROM segments WHERE job_id = %s", job_id)
        assert charged.failures <= failures

    @asynccontextmanager
    async def clients(self) -> AsyncIterator[tuple[Client, Client]]:
        first, second = self.servers
        async with first.client() as one, second.client() as other:
            yield one, other


@asynccontextmanager
async def alone(folder: Path, changes: Mapping[str, Any] | None = None) -> AsyncIterator[Client]:
    """A server with a ledger and audio of its own."""
    server = ServerProcess(folder, changes)
    try:
        async with server.running() as client:
            yield client
    finally:
        await server.put_down()


async def listen(client: Client, job_id: str) -> list[dict[str, Any]]:
    """The events of a job until its end."""
    async with client.http.stream("GET", f"/tts/{job_id}/events") as answer:
        assert answer.status_code == 200
        lines = [line async for line in answer.aiter_lines()]
    return [json.loads(line.removeprefix("data: ")) for line in lines if line.startswith("data: ")]
