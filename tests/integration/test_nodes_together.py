"""What a node's scheduler makes of news that come late, and of a lease that was lost: real ledgers in PostgreSQL, the tone engine."""

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest

from rhapsode.jobs.service import JobService
from rhapsode.ledger.news import News
from rhapsode.ledger.sql import SqlLedger
from rhapsode.ledger.store import Store
from rhapsode.model import Job, JobStatus
from tests.contract.ledger_values import TTL_S, new_job
from tests.integration.test_never_hangs import body, service_in
from tests.postgres import Postgres, running_postgres

LONG = "Slow words of a long text. " * 20
SLOW = {"predefined_voice_id": "tone-slow"}


@pytest.fixture(scope="module")
def postgres() -> Iterator[Postgres]:
    with running_postgres(durable=False) as server:
        yield server


@pytest.fixture
def url(postgres: Postgres) -> str:
    return postgres.url(postgres.create())


async def status_of(service: JobService, job_id: str, wanted: JobStatus) -> None:
    """Wait until the ledger says so, whatever was told of it."""
    async with asyncio.timeout(20):
        while (await service.job(job_id)).status is not wanted:
            await asyncio.sleep(0.02)


async def test_an_end_that_is_told_late_does_not_end_the_run_behind_it(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate, catch_up = asyncio.Event(), News._catch_up

    async def late(news: News) -> None:
        await gate.wait()
        await catch_up(news)

    other = SqlLedger(url, ttl_s=TTL_S, node="other")
    await other.open()
    monkeypatch.setattr(News, "_catch_up", late)
    try:
        async with service_in(tmp_path, ledger__url=url) as service:
            job = await service.submit(body(LONG, **SLOW))
            await status_of(service, job.id, JobStatus.RUNNING)
            await other.submit(new_job())  # from now on what this node does is told late
            await service.cancel(job.id)
            before = service.scheduler._runs[job.id]
            await service.retry(job.id)
            assert before.closed
            told: list[str] = []
            service.shop.hub.listen(lambda event: told.append(event.type))
            await status_of(service, job.id, JobStatus.RUNNING)
            assert not told
            gate.set()
            await status_of(service, job.id, JobStatus.COMPLETED)
            assert told.index("job.cancelled") < told.index("job.retried")
    finally:
        gate.set()
        await other.close()


async def test_jobs_that_are_stored_while_a_node_begins_anew_are_not_forgotten(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin_again, new = Store.begin_again, list[Job]()
    other = SqlLedger(url, ttl_s=TTL_S, node="other")
    try:
        async with service_in(tmp_path, ledger__url=url) as service:
            lost = await service.submit(body(LONG, **SLOW))
            await status_of(service, lost.id, JobStatus.RUNNING)

            async def meanwhile(
                store: Store,
            ) -> None:  # as what waits in the writer is stored before the next heartbeat
                await begin_again(store)
                new.append(await service.submit(body(LONG, **SLOW)))
                await status_of(service, new[0].id, JobStatus.RUNNING)
                new.append((await service.shop.ledger.submit(replace(new_job(LONG), request=lost.request)))[0])

            monkeypatch.setattr(Store, "begin_again", meanwhile)
            await other.open()
            adopted: list[str] = []
            async with asyncio.timeout(20):
                while not adopted:
                    with psycopg.connect(url, autocommit=True) as connection:
                        connection.execute("UPDATE nodes SET seen_at = seen_at - 60 WHERE epoch = %s", [lost.epoch])
                    adopted = [job.id for job in (await other.beat(judge=True)).adopted]
            assert adopted == [lost.id]
            async with asyncio.timeout(20):
                while len(new) < 2:
                    await asyncio.sleep(0.02)
            for job in new:
                await status_of(service, job.id, JobStatus.COMPLETED)
                states = await service.shop.ledger.segments(job.id)
                assert {state.attempt for state in states} == {1}, "what it spoke meanwhile is kept"
            assert lost.id not in service.scheduler.overview
    finally:
        await other.close()
