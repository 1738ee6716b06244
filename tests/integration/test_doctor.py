"""What ``rhapsode doctor`` finds wrong with a data directory, one thing at a time."""

import asyncio
import os
import sqlite3
import time
from contextlib import closing
from pathlib import Path

import pytest

from rhapsode.cli.checks import examine
from rhapsode.cli.checks_data import check_data
from rhapsode.cli.finding import Finding, Verdict
from rhapsode.datadir import DataDirLock
from rhapsode.settings import Settings
from tests.serving import loaded_for, serving, settings_for


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Of a data directory that a server has used."""

    async def use() -> None:
        async with serving(settings_for(tmp_path)) as server:
            await server.until(await server.enqueue("Hello."), "completed")
            assert [one.verdict for one in await asyncio.to_thread(found, server.settings)] == [Verdict.OK] * 3

    asyncio.run(use())
    return settings_for(tmp_path)


def found(settings: Settings) -> list[Finding]:
    return list(check_data(settings))


def wrong(settings: Settings) -> Finding:
    """The one thing that is not well."""
    (finding,) = [one for one in found(settings) if one.verdict is not Verdict.OK]
    assert finding.mend
    return finding


def ledger(settings: Settings) -> Path:
    return settings.data_dir / "ledger.db"


def test_nothing_is_wrong(settings: Settings) -> None:
    names = {one.name: one for one in found(settings)}
    assert {name: one.verdict for name, one in names.items()} == dict.fromkeys(
        ("permissions", "ledger", "clock"), Verdict.OK
    )
    assert "1 completed" in names["ledger"].found


def test_a_key_that_others_can_read(settings: Settings) -> None:
    (settings.data_dir / "webhook.key").chmod(0o644)
    finding = wrong(settings)
    assert (finding.name, finding.verdict) == ("permissions", Verdict.FAIL)
    os.system(finding.mend)  # what it says mends it
    assert found(settings)[0].verdict is Verdict.OK


@pytest.mark.parametrize("damage", ["flipped", "cut", "foreign", "newer", "dangling"])
def test_a_ledger_that_is_not_whole(settings: Settings, damage: str) -> None:
    path = ledger(settings)
    match damage:
        case "flipped":
            size = path.stat().st_size
            with path.open("r+b") as file:
                file.seek(size // 2)
                file.write(os.urandom(8_192))
        case "cut":
            os.truncate(path, path.stat().st_size // 2)
        case "foreign":
            path.write_bytes(b"not a database at all" * 100)
        case "newer":
            with closing(sqlite3.connect(path)) as connection, connection:
                connection.execute("UPDATE alembic_version SET version_num = '9999'")
        case "dangling":
            with closing(sqlite3.connect(path)) as connection, connection:
                connection.execute("DELETE FROM takes")
    before = path.read_bytes()
    finding = wrong(settings)
    assert (finding.name, finding.verdict) == ("ledger", Verdict.FAIL)
    assert str(path) in finding.found
    assert path.read_bytes() == before, "doctor changes nothing"


def test_a_clock_that_was_set_back(settings: Settings) -> None:
    with closing(sqlite3.connect(ledger(settings))) as connection, connection:
        connection.execute("UPDATE jobs SET created_at = ?", (time.time() + 90_000,))
    assert (wrong(settings).name, "25:00:00" in wrong(settings).found) == ("clock", True)


def test_a_lock_that_was_left_behind_a_missing_page_and_a_full_disk(tmp_path: Path) -> None:
    loaded = loaded_for(tmp_path, ui__directory=tmp_path / "none", limits__min_free_disk_mb=10**9)
    lock = DataDirLock(loaded.settings.data_dir)
    os.close(lock._file)  # as the kernel does for a process that is killed
    findings = {one.name: one for one in examine(loaded)}
    assert "was killed" in findings["server"].found
    assert (findings["page"].verdict, findings["page"].mend) == (Verdict.FAIL, "correct ui.directory")
    assert findings["free space"].verdict is Verdict.FAIL
    assert findings["engine"].verdict is Verdict.OK
