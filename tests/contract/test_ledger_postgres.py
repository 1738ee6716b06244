"""What only a ledger in PostgreSQL can show: several nodes, lost connections, a database that cannot be used."""

import asyncio
import os
import signal
import socket
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager

import psycopg
import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from rhapsode.errors import LeaseLost, LedgerError, LedgerUnavailable, Refused
from rhapsode.ledger.base import LEASE_S, Beat
from rhapsode.ledger.postgres import PostgresDatabase
from rhapsode.ledger.schema import metadata
from rhapsode.ledger.sql import SqlLedger
from rhapsode.ledger.transaction import Transaction
from rhapsode.model import Event, JobStatus, Priority, SegmentStatus
from tests.contract.ledger_values import RESULT, TTL_S, begin, new_job, speak, take
from tests.postgres import Postgres, running_postgres


@asynccontextmanager
async def node(url: str, name: str) -> AsyncIterator[SqlLedger]:
    """A node that has begun its work."""
    ledger = SqlLedger(url, ttl_s=TTL_S, node=name)
    await ledger.open()
    await ledger.adopt()
    try:
        yield ledger
    finally:
        await ledger.close()


def age(url: str, ledger: SqlLedger, seconds: float) -> None:
    """Let a node's last heartbeat be so long ago."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("UPDATE nodes SET seen_at = seen_at - %s WHERE epoch = %s", [seconds, ledger.epoch])


def session_of(ledger: SqlLedger) -> PostgresDatabase:
    database = ledger.store._database
    assert isinstance(database, PostgresDatabase)
    return database


@pytest.fixture
def url(new_database: Callable[[], str]) -> str:
    return new_database()


# -- the database -------------------------------------------------------------------------------------------------


def test_migrations_build_the_schema(url: str) -> None:
    engine = sa.create_engine(sa.make_url(url).set(drivername="postgresql+psycopg"))
    with engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []
        indexes = "SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = current_schema() AND indexname <> 'x'"
        found: dict[str, str] = dict(connection.execute(sa.text(indexes)).all())
        connection.execute(sa.text("CREATE SCHEMA fresh"))
        connection.execute(sa.text("SET search_path = fresh"))
        metadata.create_all(connection)
        for name, definition in connection.execute(sa.text(indexes)):
            assert found[name] == definition.replace("fresh.", "public.")
    engine.dispose()


async def test_what_the_socket_takes_in_parts_is_sent_whole(url: str) -> None:
    async with node(url, "one") as ledger:
        await begin(ledger)  # the session is there
        connection = session_of(ledger)._connection
        assert connection is not None
        with socket.socket(fileno=os.dup(connection.fileno())) as line:
            line.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        async with asyncio.timeout(30):
            job, _ = await ledger.submit(new_job(text="A long text. " * 400_000))
        assert await ledger.read_text(job.id, job.text_chars - 10, 20) == "long text. "[1:]


async def test_nodes_that_start_together_migrate_once(postgres: Postgres) -> None:
    name = postgres.create()
    ledgers = [SqlLedger(postgres.url(name), ttl_s=TTL_S, node=str(n)) for n in range(3)]
    epochs = await asyncio.gather(*(ledger.open() for ledger in ledgers))
    assert sorted(epochs) == [1, 2, 3]
    for ledger in ledgers:
        await ledger.close()
    postgres.drop(name)


@pytest.mark.parametrize(
    ("harm", "says"),
    [
        ("UPDATE alembic_version SET version_num = '9999'", "newer Rhapsode"),
        ("DROP TABLE alembic_version", "another program"),
    ],
)
async def test_a_database_that_is_not_ours_is_refused(postgres: Postgres, url: str, harm: str, says: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(harm.encode())
    with pytest.raises(LedgerError, match=says):
        await SqlLedger(url, ttl_s=TTL_S).open()


async def test_a_server_that_is_not_there_is_named_without_its_password() -> None:
    url = "postgresql://me:secret@127.0.0.1:1/rhapsode"
    with pytest.raises(LedgerUnavailable, match=r"me:.*@127\.0\.0\.1:1/rhapsode") as caught:
        await SqlLedger(url, ttl_s=TTL_S).open()
    assert "secret" not in str(caught.value)
    assert "ledger.url" in str(caught.value)


async def test_a_statement_that_fails_harms_its_command_alone(url: str) -> None:
    def fail_late(tx: Transaction) -> None:
        tx.run(sa.text("UPDATE jobs SET event_seq = 77"))
        tx.run(sa.text("SELECT 1 / 0"))  # sent, not awaited

    async with node(url, "a") as ledger:
        job = await begin(ledger)
        answers = await asyncio.gather(
            ledger.warn_job(job.id, ["before"]),
            ledger._write(fail_late),
            ledger.warn_job(job.id, ["behind"]),
            return_exceptions=True,
        )
        assert [type(answer) for answer in answers] == [type(None), LedgerError, type(None)]
        with pytest.raises(LedgerError, match="division by zero"):
            await ledger._write(fail_late)  # alone in its group
        stored = await ledger.get_job(job.id)
        assert stored is not None
        assert (stored.warnings, stored.event_seq) == (("before", "behind"), job.event_seq + 2)


async def test_only_the_way_of_an_attached_job_does_not_await_the_disk(url: str) -> None:
    seen: list[str] = []

    def look(tx: Transaction) -> None:
        seen.append(tx.all(sa.text("SELECT current_setting('synchronous_commit')"))[0][0])

    async with node(url, "a") as ledger:
        session_of(ledger)
        await ledger.store.write(look)
        await ledger.store.write_fleeting(look)
        await asyncio.gather(ledger.store.write_fleeting(look), ledger.store.write(look))
    assert seen[1] == "off"
    assert seen[0] == seen[2] == seen[3]


async def test_readers_cannot_write(url: str) -> None:
    async with node(url, "a") as ledger:
        with pytest.raises(sa.exc.InternalError, match="read-only"):
            await ledger.store.read(lambda connection: connection.exec_driver_sql("DELETE FROM jobs"))


# -- several nodes ------------------------------------------------------------------------------------------------


async def test_all_nodes_see_all_events_once_in_one_order(url: str) -> None:
    async with node(url, "a") as first, node(url, "b") as second:
        heard: dict[str, list[Event]] = {"a": [], "b": []}
        first.on_event(heard["a"].extend)
        second.on_event(heard["b"].extend)

        async def work(ledger: SqlLedger) -> None:
            for _ in range(15):
                job = await begin(ledger)
                await asyncio.gather(*(speak(ledger, job, index) for index in range(3)))

        await asyncio.gather(work(first), work(first), work(second), work(second))
        everything, _ = await first.events_of_all(None, 0, 10_000)
        assert [event.pos for event in everything] == list(range(1, len(everything) + 1))
        async with asyncio.timeout(5):
            while min(len(events) for events in heard.values()) < len(everything):
                await asyncio.sleep(0.01)
        for events in heard.values():
            assert [(event.pos, event.job_id, event.seq) for event in events] == [
                (event.pos, event.job_id, event.seq) for event in everything
            ]


async def test_events_cross_nodes_without_notifications_too(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rhapsode.ledger.postgres._CHANNEL", "nobody_listens_here")
    async with node(url, "a") as first:
        monkeypatch.setattr("rhapsode.ledger.postgres._CHANNEL", "nor_tells_here")
        async with node(url, "b") as second:
            heard: list[Event] = []
            second.on_event(heard.extend)
            await first.submit(new_job())
            begun = time.monotonic()
            async with asyncio.timeout(5):
                while not heard:
                    await asyncio.sleep(0.01)
            assert time.monotonic() - begun < 2.5


async def test_a_silent_nodes_jobs_are_adopted_and_it_can_write_nothing_more(url: str) -> None:
    async with node(url, "a") as dead, node(url, "b") as other:
        job = await begin(dead)
        claim = await dead.claim(job.fence, 0, "k", shared=False)
        await speak(dead, job, 1)
        waited_for, _ = await dead.submit(new_job(attached=True))
        age(url, dead, LEASE_S - 2)
        assert (await other.beat(judge=True)).adopted == []
        age(url, dead, 4)
        assert (await other.beat(judge=False)).adopted == []
        beat = await other.beat(judge=True)
        assert [(one.id, one.status) for one in beat.adopted] == [(job.id, JobStatus.RUNNING)]
        assert (beat.nodes, beat.leads) == (1, True)
        cancelled = await other.get_job(waited_for.id)
        assert cancelled is not None
        assert cancelled.status is JobStatus.CANCELLED
        for call in (
            dead.complete_segment(job.fence, 0, claim.attempt, "k", take()),
            dead.submit(new_job()),
            dead.cancel_job(job.id, "late"),
        ):
            with pytest.raises(LeaseLost):
                await call
        again = await dead.beat(judge=True)
        assert (again.lost, again.nodes, again.leads) == (True, 2, False)
        with pytest.raises(Refused):
            await dead.complete_segment(job.fence, 0, claim.attempt, "k", take())
        adopted = await other.get_job(job.id)
        assert adopted is not None
        states = await other.segments(job.id)
        assert [state.status for state in states] == [SegmentStatus.PENDING, SegmentStatus.DONE, SegmentStatus.PENDING]
        assert states[0].failures == 0
        for index in (0, 2):
            await speak(other, adopted, index)
        assert (await other.complete_job(adopted.fence, RESULT)).status is JobStatus.COMPLETED


async def test_a_node_that_is_not_ready_keeps_its_lease(url: str) -> None:
    async with node(url, "a") as starting, node(url, "b") as other:
        job = await begin(starting)
        age(url, starting, LEASE_S + 0.5)
        await starting.hold()
        assert (await other.beat(judge=True)).adopted == []
        await speak(starting, job, 0)
        age(url, starting, LEASE_S + 0.5)
        assert [one.id for one in (await other.beat(judge=True)).adopted] == [job.id]
        await starting.hold()  # it was given up, and begins anew
        assert await starting.adopt() == []
        assert starting.epoch > job.epoch


async def test_a_node_that_leaves_gives_its_jobs_away_at_once(url: str) -> None:
    async with node(url, "b") as other:
        async with node(url, "a") as leaving:
            assert not (await leaving.beat(judge=True)).leads
            job = await begin(leaving)
        beat = await other.beat(judge=False)
        assert [one.id for one in beat.adopted] == [job.id]
        assert await other.beat(judge=False) == Beat(adopted=[])


async def test_a_node_that_comes_back_takes_its_own_jobs_at_once(url: str) -> None:
    async with node(url, "a") as before, node(url, "b") as other:
        mine, _ = await before.submit(new_job())
        theirs, _ = await other.submit(new_job())
        again = SqlLedger(url, ttl_s=TTL_S, node="a")
        await again.open()
        assert [job.id for job in await again.adopt()] == [mine.id]
        assert await other.start_job(theirs.fence)
        with pytest.raises(LeaseLost):
            await before.submit(new_job())
        await again.close()


async def test_an_idle_node_takes_over_half_of_the_longest_queue_from_its_end(url: str) -> None:
    async with node(url, "a") as busy, node(url, "b") as idle, node(url, "c") as short:
        jobs = [
            (await busy.submit(new_job(priority=priority)))[0] for priority in (Priority.BATCH, *5 * [Priority.NORMAL])
        ]
        await busy.submit(new_job(attached=True))
        await busy.start_job(jobs[1].fence)
        await short.submit(new_job())
        assert await idle.take_over(100, ("another",)) == []
        taken = await idle.take_over(100, ("tone",))
        assert {job.id for job in taken} == {jobs[0].id, jobs[5].id}
        with pytest.raises(Refused):
            await busy.start_job(jobs[5].fence)
        assert [len(await idle.take_over(100, ("tone",))) for _ in range(3)] == [1, 1, 0]
        with psycopg.connect(url, autocommit=True) as connection:  # neither's last job has begun for a while
            connection.execute("UPDATE jobs SET created_at = created_at - 10")
        assert [len(await idle.take_over(100, ("tone",))) for _ in range(3)] == [1, 1, 0]


async def test_limits_and_keys_hold_over_all_nodes(url: str) -> None:
    async with node(url, "a") as first, node(url, "b") as second:
        same = [ledger.submit(new_job(idempotency_key="k", fingerprint="f")) for ledger in (first, second) * 4]
        answers = await asyncio.gather(*same)
        assert len({job.id for job, _ in answers}) == 1
        assert sum(is_new for _, is_new in answers) == 1
        assert await first.secret("webhooks", "aa") == await second.secret("webhooks", "bb") == "aa"


async def test_many_nodes_writing_at_once_never_lose_a_count(url: str) -> None:
    """Commands of several nodes that read before they write, on the same rows."""
    async with node(url, "a") as first, node(url, "b") as second:
        job = await begin(first)
        warnings = [f"{ledger.epoch}/{n}" for ledger in (first, second) for n in range(20)]
        await asyncio.gather(
            *(
                (first if warning.startswith(f"{first.epoch}/") else second).warn_job(job.id, [warning])
                for warning in warnings
            )
        )
        stored = await second.get_job(job.id)
        assert stored is not None
        assert sorted(stored.warnings) == sorted(warnings)


# -- lost connections ---------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def own_server() -> Iterator[Postgres]:
    """One that may be stopped, and that awaits its disk."""
    with running_postgres(durable=True) as server:
        yield server


async def test_a_restart_of_the_database_loses_nothing(own_server: Postgres) -> None:
    url = own_server.url(own_server.create())
    async with node(url, "a") as ledger:
        job = await begin(ledger, 40)
        await asyncio.to_thread(own_server.stop, signal.SIGINT)
        for call in (ledger.submit(new_job()), ledger.get_job(job.id), ledger.beat(judge=True)):
            with pytest.raises(LedgerUnavailable):
                await call
        assert ledger.waiting_for() == "database"
        await asyncio.to_thread(own_server.start)
        async with asyncio.timeout(10):
            while ledger.waiting_for():
                try:
                    await ledger.beat(judge=False)
                except LedgerUnavailable:
                    await asyncio.sleep(0.05)
        assert await ledger.get_job(job.id) == job
        await asyncio.gather(*(speak(ledger, job, index) for index in range(40)))
        assert (await ledger.complete_job(job.fence, RESULT)).status is JobStatus.COMPLETED


async def test_what_was_acknowledged_before_a_crash_of_the_database_is_there(own_server: Postgres) -> None:
    url = own_server.url(own_server.create())
    stored: list[str] = []
    stopped = asyncio.Event()

    async def submit(ledger: SqlLedger) -> None:
        while not stopped.is_set():
            try:
                job, _ = await ledger.submit(new_job())
            except LedgerError:
                await asyncio.sleep(0.02)
            else:
                stored.append(job.id)

    async with node(url, "a") as ledger:
        writers = [asyncio.create_task(submit(ledger)) for _ in range(8)]
        for _ in range(2):
            before = len(stored)
            async with asyncio.timeout(20):
                while len(stored) < before + 100:
                    await asyncio.sleep(0.01)
            await asyncio.to_thread(own_server.stop, signal.SIGQUIT)
            await asyncio.to_thread(own_server.start)
        stopped.set()
        await asyncio.gather(*writers)
        for job_id in stored:
            assert await ledger.get_job(job_id) is not None


@pytest.mark.parametrize("committed", [True, False])
async def test_a_connection_lost_in_its_commit_tells_what_became_of_it(
    url: str, committed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The connection breaks off just behind COMMIT, or just before; the answer and the events are what is true."""
    async with node(url, "a") as ledger:
        database = session_of(ledger)
        send = database._send
        broken: list[str] = []

        def cut(sql: str, values: object = None) -> object:
            if sql != "COMMIT" or broken:
                return send(sql, values)  # type: ignore[arg-type]
            broken.append(sql)
            connection = database._connection
            assert connection is not None
            if committed:
                send(sql)
                database._answers()
            with psycopg.connect(url, autocommit=True) as other:
                other.execute("SELECT pg_terminate_backend(%s)", [connection.info.backend_pid])
            return send(sql)

        monkeypatch.setattr(database, "_send", cut)
        published: list[Event] = []
        ledger.on_event(published.extend)
        job, is_new = await ledger.submit(new_job())
        assert broken
        assert is_new
        assert await ledger.get_job(job.id) == job
        assert [event.seq for event in published] == [event.seq for event in await ledger.events(job.id)] == [1]
        counts = await ledger.counts()
        assert counts.jobs == {JobStatus.QUEUED: 1}


async def test_a_node_that_hangs_in_a_transaction_does_not_stop_the_others(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rhapsode.ledger.postgres._HANGING_S", 1)
    async with node(url, "a") as hanging, node(url, "b") as other:
        begun = asyncio.Event()
        tries: list[int] = []
        loop = asyncio.get_running_loop()

        def hang(tx: Transaction) -> None:
            tx.ledger_now()
            loop.call_soon_threadsafe(begun.set)
            if not tries:
                tries.append(1)
                time.sleep(2)

        stuck = asyncio.create_task(hanging.store.write(hang))
        await begun.wait()
        async with asyncio.timeout(1.8):
            await other.submit(new_job())
        assert not stuck.done()
        await stuck  # its transaction was broken off, so it is run again
