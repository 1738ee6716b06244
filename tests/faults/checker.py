"""What must be true of a server's record, ledger and files, whatever happened to it."""

import hashlib
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from pathlib import Path
from typing import Any

import httpx

from rhapsode.compose import open_shop
from rhapsode.config import load_settings
from rhapsode.datadir import DataDirLock
from rhapsode.jobs.sweeper import Sweeper
from tests.faults.harness import LedgerFile, Row, ServerProcess
from tests.faults.record import Record

LONG_AGO_S = 7 * 86_400
TERMINAL = frozenset({"completed", "failed", "cancelled"})
FAULTLESS_5XX = frozenset({500, 503, 507})
"""A job that failed, a server that is not ready, a disk that is full: said on purpose. Anything else is a defect."""
DRAFTS = (".tmp-*", "*.tmp", "*.new", "*-journal")
"""Names of what is being written, which nobody is behind the end."""


def check(server: ServerProcess) -> None:
    """All that can be said of a server that has ended, without what it left on the disk."""
    check_replies(server.record, server.ledger)
    check_ledger(server.ledger)
    stored = {row.id for row in server.ledger.rows("SELECT id FROM jobs")}
    missing = server.record.acknowledged().keys() - stored
    assert not missing, f"acknowledged and not stored: {missing}"


# -- the record -------------------------------------------------------------------------------------------------


def check_replies(record: Record, ledger: LedgerFile) -> None:
    """Nobody was shown something that was taken back later, and nobody was answered with a defect."""
    lost = {row.job_id for row in ledger.rows("SELECT DISTINCT job_id FROM events WHERE type = 'segment.lost'")}
    for job_id, shown in record.statuses().items():
        _check_shown(job_id, shown, may_fall=job_id in lost)
    files: dict[str, str] = {}
    for one in record.exchanges:
        assert one.status is None or one.status < 500 or one.status in FAULTLESS_5XX, one
        if one.status == httpx.codes.OK and one.whole and "/result" in one.path and one.method == "GET" and one.etag:
            assert files.setdefault(f"{one.path} {one.etag}", one.digest) == one.digest, f"{one.path}: other bytes"
            if "?" not in one.path:
                assert one.etag.startswith(f'"{one.digest[:32]}'), f"{one.path}: not what its ETag says"


def _check_shown(job_id: str, shown: list[dict[str, Any]], may_fall: bool) -> None:
    ended: dict[int, str] = {}
    done = 0
    for status in shown:
        assert may_fall or status["current_chunk"] >= done, f"{job_id}: {done} segments were done, then {status}"
        done = status["current_chunk"]
        if status["run"] in ended:
            assert status["status"] == ended[status["run"]], f"{job_id} ended, then {status}"
        elif status["status"] in TERMINAL:
            ended[status["run"]] = status["status"]


# -- the ledger -------------------------------------------------------------------------------------------------


def check_ledger(ledger: LedgerFile) -> None:
    """The file is whole, its rows agree with each other, events have no gaps, nothing finished was begun again."""
    ledger.check_events()
    with ledger.snapshot() as moment:
        _check_moment(moment)


def _check_moment(ledger: LedgerFile) -> None:
    assert [row.integrity_check for row in ledger.rows("PRAGMA integrity_check")] == ["ok"]
    assert not ledger.rows("PRAGMA foreign_key_check")
    for job in ledger.rows("SELECT * FROM jobs WHERE NOT deleted"):
        segments = ledger.segments(job.id)
        done = [segment for segment in segments if segment.status == "done"]
        assert (len(segments), len(done)) == (job.segments_total, job.segments_done), job
        assert all(segment.take_digest for segment in done)
        if job.status == "completed":
            assert len(done) == len(segments) > 0
            assert job.result_name or job.redo_of
        check_finished_once(job.id, ledger.events(job.id))


def check_finished_once(job_id: str, events: Sequence[Row]) -> None:
    """A segment with a take is begun again only when that take was lost."""
    finished: set[int] = set()
    begun: Counter[int] = Counter()
    for event in events:
        index = event.data.get("index")
        if event.type == "segment.started":
            begun[index] += 1
            assert index not in finished, f"segment {index} of {job_id} was spoken again"
        elif event.type == "segment.completed":
            assert index not in finished, f"segment {index} of {job_id} was finished twice"
            assert begun[index] or event.data.get("cached"), f"segment {index} of {job_id} was never begun"
            finished.add(index)
        elif event.type == "segment.lost":
            finished.discard(index)


# -- the disk ---------------------------------------------------------------------------------------------------


async def sweep(server: ServerProcess) -> None:
    """One sweep over what has lain untouched for a week."""
    for folder in (server.data_dir / "takes", server.data_dir / "renditions", server.outputs):
        for path in folder.rglob("*"):
            found = path.stat()
            os.utime(path, (found.st_atime - LONG_AGO_S, found.st_mtime - LONG_AGO_S))
    settings = load_settings(server.folder / "config.yaml", server.data_dir, env={}).settings
    with DataDirLock(settings.data_dir):
        async with open_shop(settings) as shop:
            await Sweeper(shop, 3600).sweep()


async def check_files(server: ServerProcess, spoiled: AbstractSet[str] = frozenset()) -> None:
    """After one sweep every file has a row and every row its file, with the bytes that it promises; takes that were ``spoiled``
    on purpose may still be what they were made.
    """
    await sweep(server)
    takes = {path.name: path for path in (server.data_dir / "takes").rglob("*") if path.is_file()}
    rows = {row.digest for row in server.ledger.rows("SELECT digest FROM takes")}
    assert takes.keys() <= rows
    assert rows - takes.keys() <= spoiled
    for digest in takes.keys() - spoiled:
        path = takes[digest]
        assert hashlib.sha256(path.read_bytes()).hexdigest() == digest
    kept = "SELECT result_name, result_digest FROM jobs WHERE status = 'completed' AND redo_of IS NULL AND NOT deleted"
    results = {row.result_name: row.result_digest for row in server.ledger.rows(kept)}
    assert results == {path.name: _digest(path) for path in server.outputs.iterdir()}
    drafts = [path for pattern in DRAFTS for path in server.data_dir.rglob(pattern)]
    assert not drafts, f"left half-written: {drafts}"


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


async def check_undisturbed(server: ServerProcess, undisturbed: ServerProcess) -> int:
    """Every completed job has the bytes that it gets when nothing goes wrong; how many jobs that were."""
    done = {
        row.id: row.result_digest
        for row in server.ledger.rows(
            "SELECT id, result_digest FROM jobs WHERE status = 'completed' AND result_revision = 1 AND NOT deleted"
        )
    }
    asked = {job_id: body for job_id, body in server.record.acknowledged().items() if job_id in done and body}
    kinds: dict[str, str] = {}
    async with undisturbed.running() as client:
        for body in asked.values():
            if _key(body) not in kinds:
                kinds[_key(body)] = await client.enqueue(**body)
        for job_id in kinds.values():
            await client.ended(job_id)
    for job_id, body in asked.items():
        expected = undisturbed.ledger.job(kinds[_key(body)]).result_digest
        assert done[job_id] == expected, f"{job_id} differs from an undisturbed run: {body}"
    return len(asked)


def _key(body: Mapping[str, Any]) -> str:
    return repr(sorted(body.items()))
