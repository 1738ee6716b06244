"""The ledger's file: what is refused at the start, and what a full or failing disk does. SQLite only."""

import asyncio
import hashlib
import resource
import sqlite3
import subprocess
import sys
import textwrap
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from rhapsode.errors import LedgerError, Refused, StorageFull
from rhapsode.ledger import retention
from rhapsode.ledger.schema import metadata
from rhapsode.ledger.sql import SqlLedger
from rhapsode.ledger.sqlite import SqliteDatabase
from rhapsode.ledger.transaction import Transaction
from rhapsode.ledger.writer import EXIT_CODE, GROUP_LIMIT
from tests.contract.ledger_values import TTL_S, begin, listed, new_job, speak


@asynccontextmanager
async def opened(path: Path, on_fatal: Callable[[LedgerError], None] | None = None) -> AsyncIterator[SqlLedger]:
    ledger = SqlLedger(path, ttl_s=TTL_S) if on_fatal is None else SqlLedger(path, ttl_s=TTL_S, on_fatal=on_fatal)
    await ledger.open()
    try:
        yield ledger
    finally:
        await ledger.close()


@pytest.fixture
async def path(tmp_path: Path) -> Path:
    """A closed ledger with some jobs in it."""
    path = tmp_path / "some % folder" / "ledger.db"
    async with opened(path) as ledger:
        for _ in range(20):
            await ledger.submit(new_job("x" * 10_000))
    return path


async def test_who_has_the_file_has_its_jobs_whatever_its_name(tmp_path: Path) -> None:
    """A restored backup, a folder that was moved, a machine with a new name."""
    path = tmp_path / "ledger.db"
    ledgers = [SqlLedger(path, ttl_s=TTL_S, node=name) for name in ("dead", "new")]
    try:
        for ledger in ledgers:
            await ledger.open()
        job = await begin(ledgers[0])
        await ledgers[0].claim(job.fence, 0, "key", shared=False)
        assert [waiting.id for waiting in await ledgers[1].adopt()] == [job.id]
        (adopted,) = await listed(ledgers[1])
        await speak(ledgers[1], adopted, 0)
    finally:
        for ledger in reversed(ledgers):
            await ledger.close()


def contents(path: Path) -> dict[str, str]:
    return {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in path.parent.iterdir()}


def cut_in_half(path: Path) -> None:
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])


def cut_the_last_page(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-4096])


def empty(path: Path) -> None:
    path.write_bytes(b"")


def cut_in_the_header(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:60])


def overwrite_with_text(path: Path) -> None:
    path.write_text("This is a shopping list.\n" * 1000)


def overwrite_a_page(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[2 * 4096 : 3 * 4096] = b"\xa5" * 4096
    path.write_bytes(data)


def make_newer(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
        connection.commit()


def replace_by_another_database(path: Path) -> None:
    path.unlink()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE recipes (name TEXT)")
        connection.commit()


def lose_all_but_the_log(path: Path) -> None:
    path.rename(path.with_name("ledger.db-wal"))


@pytest.mark.parametrize(
    ("harm", "says"),
    [
        (cut_in_half, "damaged"),
        (cut_the_last_page, "damaged"),
        (empty, "damaged"),
        (cut_in_the_header, "damaged"),
        (overwrite_with_text, "not a ledger"),
        (overwrite_a_page, "damaged"),
        (make_newer, "newer"),
        (replace_by_another_database, "not a ledger"),
        (lose_all_but_the_log, "damaged"),
    ],
)
async def test_a_file_that_cannot_be_used_is_refused_and_left_as_it_is(
    path: Path, harm: Callable[[Path], None], says: str
) -> None:
    harm(path)
    before = contents(path)
    ledger = SqlLedger(path, ttl_s=TTL_S)
    with pytest.raises(LedgerError, match=says) as caught:
        await ledger.open()
    assert str(path) in str(caught.value)
    assert contents(path) == before
    await ledger.close()


async def test_a_folder_that_cannot_be_made_is_an_error_with_the_way_out(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(LedgerError, match="permissions"):
        await SqlLedger(tmp_path / "file" / "ledger.db", ttl_s=TTL_S).open()


@pytest.mark.parametrize("url", ["sqlite://", "sqlite:///:memory:", "mysql://host/db", "nonsense://"])
async def test_only_files_are_accepted(url: str) -> None:
    with pytest.raises(LedgerError, match="URL"):
        await SqlLedger(url, ttl_s=TTL_S).open()


async def test_a_url_opens_the_same_file(path: Path) -> None:
    ledger = SqlLedger(f"sqlite:///{path}", ttl_s=TTL_S)
    assert await ledger.open() == 2
    assert len(await listed(ledger)) == 20
    await ledger.close()


async def test_a_closed_ledger_says_so(path: Path) -> None:
    async with opened(path) as ledger:
        pass
    for call in (ledger.counts(), ledger.submit(new_job())):
        with pytest.raises(LedgerError, match="not open"):
            await call


async def test_a_first_start_that_was_cut_short_starts_again(tmp_path: Path) -> None:
    for name in ("ledger.db.new", "ledger.db.new-journal", "ledger.db.new-wal"):
        (tmp_path / name).write_bytes(b"half")
    async with opened(tmp_path / "ledger.db") as ledger:
        await ledger.submit(new_job())


async def test_migrations_build_the_schema(path: Path) -> None:
    engine = sa.create_engine(f"sqlite:///{path}")
    with engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []
        found: dict[str, str] = dict(connection.execute(sa.text("SELECT name, sql FROM sqlite_master")).all())
    engine.dispose()
    fresh = sa.create_engine("sqlite://")
    with fresh.connect() as connection:  # compare_metadata does not see partial indexes
        metadata.create_all(connection)
        for name, sql in connection.execute(sa.text("SELECT name, sql FROM sqlite_master WHERE sql LIKE '%WHERE%'")):
            assert found[name] == sql
    fresh.dispose()


async def test_every_commit_is_synced_before_it_is_answered(path: Path) -> None:
    async with opened(path) as ledger:
        database = ledger.store._database
        assert isinstance(database, SqliteDatabase)
        with closing(database.writer_cursor()) as cursor:
            settings = [
                cursor.execute(f"PRAGMA {name}").fetchone()[0]
                for name in ("journal_mode", "synchronous", "foreign_keys")
            ]
        assert settings == ["wal", 2, 1]


async def test_only_the_way_of_an_attached_job_does_not_await_the_disk(path: Path) -> None:
    async with opened(path) as ledger:
        database = ledger.store._database
        assert isinstance(database, SqliteDatabase)

        def syncs() -> bool:
            with closing(database.writer_cursor()) as cursor:
                return bool(cursor.execute("PRAGMA synchronous").fetchone()[0] == 2)

        for attached in (True, False):
            job, _ = await ledger.submit(new_job(attached=attached))
            assert syncs() is not attached
            await ledger.start_job(job.fence)
            assert syncs() is not attached
            await asyncio.gather(ledger.warn_job(job.id, ["one that lasts, beside it"]), ledger.start_job(job.fence))
            assert syncs()
            await ledger.start_job(job.fence)
            await ledger.fail_job(job.fence, "its end")
            assert syncs()


async def test_readers_cannot_write(path: Path) -> None:
    async with opened(path) as ledger:
        assert ledger.store._database is not None
        with (
            ledger.store._database.reader() as connection,
            pytest.raises(sa.exc.OperationalError, match="readonly"),
        ):
            connection.exec_driver_sql("DELETE FROM jobs")


async def test_a_full_disk_refuses_the_group_and_the_process_lives(path: Path) -> None:
    async with opened(path) as ledger:
        job = await begin(ledger)
        assert isinstance(ledger.store._database, SqliteDatabase)
        with closing(ledger.store._database.writer_cursor()) as cursor:
            pages = cursor.execute("PRAGMA page_count").fetchone()[0]
            cursor.execute(f"PRAGMA max_page_count = {pages + 4}").fetchall()
            answers = await asyncio.gather(
                ledger.submit(new_job("x" * 200_000)), ledger.warn_job(job.id, ["beside it"]), return_exceptions=True
            )
            assert [type(answer) for answer in answers] == [StorageFull, StorageFull]
            assert str(path) in str(answers[0])
            assert await ledger.get_job(job.id) == job
            cursor.execute(f"PRAGMA max_page_count = {pages + 1000}").fetchall()
        await ledger.submit(new_job("x" * 200_000))
        await speak(ledger, job, 0)


async def test_another_process_that_writes_is_waited_for(path: Path) -> None:
    async with opened(path) as ledger:
        with closing(sqlite3.connect(path, check_same_thread=False)) as other:
            other.execute("BEGIN IMMEDIATE")
            waiting = asyncio.create_task(ledger.submit(new_job()))
            assert len(await listed(ledger)) == 20  # readers go on
            assert not waiting.done()
            other.rollback()
            await waiting


CHILD = """
    import asyncio, resource, sys
    sys.path.insert(0, sys.argv[2])
    from pathlib import Path
    from tests.contract.ledger_values import TTL_S, listed, new_job
    from rhapsode.errors import RhapsodeError
    from rhapsode.ledger.sql import SqlLedger

    async def main():
        ledger = SqlLedger(Path(sys.argv[1]), ttl_s=TTL_S)
        await ledger.open()
        job, _ = await ledger.submit(new_job("before"))
        print(job.id, flush=True)
        # Writing past this size fails with EFBIG: to SQLite an I/O error like any other.
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
        try:
            await ledger.submit(new_job("x" * 500_000))
        except RhapsodeError:
            await asyncio.Event().wait()

    asyncio.run(main())
"""


async def test_a_write_that_fails_ends_the_process_and_loses_nothing_acknowledged(path: Path) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", textwrap.dedent(CHILD), str(path), str(Path(__file__).parents[2]),
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    out, err = await asyncio.wait_for(process.communicate(), 30)
    assert process.returncode == EXIT_CODE, err.decode()
    assert str(path) in err.decode()
    async with opened(path) as ledger:
        assert await ledger.read_text(out.decode().strip(), 0, 100) == "before"
        assert len(await listed(ledger, limit=100)) == 21


async def test_after_a_failed_write_everything_is_refused(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    fatal: list[LedgerError] = []
    async with opened(path, fatal.append) as ledger:
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, hard))
        try:
            first = await asyncio.gather(
                *(ledger.submit(new_job("x" * 300_000)) for _ in range(3)), return_exceptions=True
            )
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        assert [type(answer) for answer in first] == [LedgerError] * 3
        with pytest.raises(LedgerError):
            await ledger.submit(new_job())
        assert fatal
        assert fatal[0] is first[0]
    assert "failed" in caplog.text


async def test_a_refused_command_publishes_nothing_and_undoes_only_itself(path: Path) -> None:
    def write_then_refuse(tx: Transaction) -> None:
        tx.emit(job.id, 99, "job.started", {})
        raise Refused("after its event")

    async with opened(path) as ledger:
        published: list[str] = []
        ledger.on_event(lambda events: published.extend(event.type for event in events))
        job, _ = await ledger.submit(new_job())
        answers = await asyncio.gather(
            ledger.warn_job(job.id, ["before"]),
            ledger._write(write_then_refuse),
            ledger.warn_job(job.id, ["behind"]),
            return_exceptions=True,
        )
        assert [type(answer) for answer in answers] == [type(None), Refused, type(None)]
        with pytest.raises(Refused):
            await ledger._write(write_then_refuse)  # alone in its group
        assert published == ["job.queued", "job.warning", "job.warning"]
        assert [event.seq for event in await ledger.events(job.id)] == [1, 2, 3]


async def test_commands_of_one_moment_share_a_commit(path: Path) -> None:
    async with opened(path) as ledger:
        assert isinstance(ledger.store._database, SqliteDatabase)
        statements: list[str] = []
        ledger.store._database.writer_cursor().connection.set_trace_callback(statements.append)
        await asyncio.gather(*(ledger.submit(new_job()) for _ in range(2 * GROUP_LIMIT)))
        ledger.store._database.writer_cursor().connection.set_trace_callback(None)
        assert statements.count("COMMIT") == 2


async def test_a_take_that_found_a_reference_meanwhile_is_not_dropped(path: Path) -> None:
    async with opened(path) as ledger:
        job = await begin(ledger)
        await speak(ledger, job, 0, "take")
        assert await ledger._write(retention.drop_takes, ["take", "unknown"]) == []
        assert await ledger.known_takes(["take"]) == {"take"}
