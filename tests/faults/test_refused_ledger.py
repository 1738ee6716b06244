"""A ledger that cannot be used is refused by name, with the way out, and left exactly as it is."""

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
import pytest_asyncio

from tests.faults.conftest import MakeServer
from tests.faults.harness import ServerProcess

PAGE = 4096


def garbage(path: Path) -> None:
    path.write_bytes(b"this is no database, and never was one\n" * 500)


def empty(path: Path) -> None:
    path.write_bytes(b"")


def cut_off(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def overwritten(path: Path) -> None:
    """Pages in the middle are of something else."""
    with path.open("r+b") as file:
        file.seek(3 * PAGE)
        file.write(b"\xa5" * PAGE * 6)


def newer(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
        connection.commit()
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def another_programs(path: Path) -> None:
    path.unlink()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE recipes (name TEXT)")
        connection.commit()


@pytest_asyncio.fixture
async def used(make_server: MakeServer) -> ServerProcess:
    """A server that has spoken and ended."""
    server = make_server()
    async with server.running() as client:
        await client.ended(await client.enqueue(text="Hello there."))
    return server


@pytest.mark.timeout(120)
async def test_a_ledger_that_is_not_whole_is_refused_and_left_alone(used: ServerProcess) -> None:
    path = used.ledger.path
    whole = path.read_bytes()
    damages: list[tuple[Callable[[Path], None], str, str]] = [
        (garbage, "not an SQLite file", "Name another file"),
        (empty, "damaged", "backup"),
        (cut_off, "damaged", "backup"),
        (overwritten, "damaged", "backup"),
        (newer, "newer Rhapsode", "Install that version again"),
        (another_programs, "another program", "Name another file"),
    ]
    for damage, what, way_out in damages:
        damage(path)
        before, said = path.read_bytes(), len(used.log)
        await used.spawn()
        assert await used.died() == 1, damage.__name__
        words = used.log[said:]
        assert str(path) in words, words
        assert what in words, words
        assert way_out in words, words
        assert "Traceback" not in words, words
        assert path.read_bytes() == before, f"{damage.__name__}: nothing may be changed"
        path.write_bytes(whole)
    async with used.running() as client:  # restored, as from a backup
        (job,) = (await client.http.get("/tts")).json()["jobs"]
        await client.result(job["job_id"])
