"""A real server in a process of its own, to be killed, stopped and started again; and what its ledger says afterwards."""

import asyncio
import json
import os
import signal
import sqlite3
import sys
from asyncio.subprocess import Process
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psutil

from rhapsode.datadir import read_holder, running_url
from tests.faults.record import Record, Recorder
from tests.faults.shim import Shim, with_shim

STARTED_S = 60.0
ENDED_S = 30.0
ORPHANS_S = 2.0
_LOOK_S = 0.005

QUICK: Mapping[str, Any] = {
    "engine": {"name": "tone", "also": ""},
    "server": {"port": 0},
    "fleet": {"bulk_slots": 2, "express_threads": -1},
    "limits": {"min_free_disk_mb": 0},
}
"""Two workers with the deterministic engine."""


def merged(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """``base`` with the sections of ``changes`` laid over its own."""
    return dict(base) | {
        name: merged(base.get(name, {}), value) if isinstance(value, Mapping) else value
        for name, value in changes.items()
    }


def is_dead(process: psutil.Process) -> bool:
    """Whether a process has ended, reaped or not."""
    with suppress(psutil.NoSuchProcess):
        return process.status() == psutil.STATUS_ZOMBIE
    return True


class ServerProcess:
    """``rhapsode serve`` over one data directory; may be started again and again.

    Args:
        folder: Holds configuration, log and data directory.
        changes: Laid over :data:`QUICK`.
        data_dir: Instead of one in ``folder``.
        library: The compiled shim (see :mod:`tests.faults.shim`), to be steered by ``shim``.
    """

    def __init__(
        self,
        folder: Path,
        changes: Mapping[str, Any] | None = None,
        data_dir: Path | None = None,
        library: Path | None = None,
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.data_dir = data_dir or folder / "data"
        self.record = Record()
        self.unchecked = False
        """Whether its ledger is made up, so that it is not checked behind the test."""
        self._shim = Shim(library, folder / "shim", self.data_dir) if library else None
        self.outputs = self.data_dir / "outputs"
        self.url = ""
        self.process: Process | None = None
        self.configure(changes or {})

    def configure(self, changes: Mapping[str, Any]) -> None:
        """Use these settings from the next start on."""
        paths = {"output": str(self.outputs), "model_cache": str(self.folder / "cache")}
        self.config = merged(merged(QUICK, {"paths": paths}), changes)
        (self.folder / "config.yaml").write_text(json.dumps(self.config))

    @property
    def log(self) -> str:
        """What it has logged, all starts together."""
        return (self.folder / "log").read_text()

    @property
    def ledger(self) -> "LedgerFile":
        """Its ledger's file."""
        return LedgerFile(self.data_dir / "ledger.db")

    @property
    def shim(self) -> Shim:
        """What steers its writes and its clock."""
        assert self._shim is not None
        return self._shim

    async def spawn(self, failpoint: str = "") -> Process:
        """Start the process; it does not answer yet. ``failpoint``: see :mod:`rhapsode.failpoints`."""
        environment = with_shim(self._shim) | ({"RHAPSODE_FAILPOINT": failpoint} if failpoint else {})
        with (self.folder / "log").open("ab") as log:
            self.process = await asyncio.create_subprocess_exec(
                sys.executable, "-c", "from rhapsode.cli import entry; entry()",
                "--config", str(self.folder / "config.yaml"), "--data-dir", str(self.data_dir), "serve",
                stdout=log, stderr=log, env=environment,
            )  # fmt: skip
        return self.process

    async def start(self, failpoint: str = "") -> None:
        """Start the process and wait until it answers."""
        await self.spawn(failpoint)
        await self.answering()

    async def died(self, timeout_s: float = 30.0) -> int:
        """Wait until the process has ended by itself; its exit code, negative for a signal."""
        assert self.process is not None
        async with asyncio.timeout(timeout_s):
            return await self.process.wait()

    @property
    def alive(self) -> bool:
        """Whether the process runs."""
        return self.process is not None and self.process.returncode is None

    async def answering(self) -> None:
        """Wait until it has published its address."""
        assert self.process is not None
        async with asyncio.timeout(STARTED_S):
            while not (url := running_url(self.data_dir)) or read_holder(self.data_dir).get("pid") != self.process.pid:
                assert self.process.returncode is None, self.log[-3000:]
                await asyncio.sleep(_LOOK_S)
        self.url = url

    def children(self) -> Sequence[psutil.Process]:
        """Its workers and its planner."""
        assert self.process is not None
        return psutil.Process(self.process.pid).children(recursive=True)

    def workers(self) -> Sequence[psutil.Process]:
        """Its worker processes."""
        found = []
        for child in self.children():
            with suppress(psutil.NoSuchProcess, psutil.ZombieProcess):
                if "rhapsode.fleet.worker" in child.cmdline():
                    found.append(child)
        return found

    async def kill(self, orphans_s: float = ORPHANS_S) -> None:
        """``kill -9``; none of its children lives two seconds later, or so long: one that is just being born must get there."""
        assert self.process is not None
        self.process.send_signal(signal.SIGSTOP)  # so that no child is born unseen
        children = self.children()
        self.process.kill()
        assert await self.process.wait() == -signal.SIGKILL
        async with asyncio.timeout(orphans_s):
            while not all(map(is_dead, children)):
                await asyncio.sleep(_LOOK_S)

    async def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """End it with a signal; its exit code."""
        assert self.process is not None
        if self.process.returncode is None:
            self.process.send_signal(number)
        async with asyncio.timeout(ENDED_S):
            return await self.process.wait()

    @asynccontextmanager
    async def client(self) -> AsyncIterator["Client"]:
        """A client of the server that answers now."""
        async with httpx.AsyncClient(base_url=self.url, timeout=60, transport=Recorder(self.record)) as http:
            yield Client(http)

    @asynccontextmanager
    async def running(self) -> AsyncIterator["Client"]:
        """Start it, talk to it, end it."""
        await self.start()
        try:
            async with self.client() as client:
                yield client
        finally:
            await self.stop()

    async def put_down(self) -> None:
        """Leave nothing behind, whatever the test did."""
        if self.process is not None and self.process.returncode is None:
            children = self.children()
            self.process.kill()
            await self.process.wait()
            for child in children:
                with suppress(psutil.NoSuchProcess):
                    child.kill()


@dataclass(frozen=True, slots=True)
class Client:
    """Talks to a server."""

    http: httpx.AsyncClient

    async def enqueue(self, **body: Any) -> str:
        """Queue a job; its id."""
        answer = await self.http.post("/tts/enqueue", json=body)
        assert answer.status_code == 202, answer.text
        return str(answer.json()["job_id"])

    async def status(self, job_id: str) -> dict[str, Any]:
        """A job's status."""
        answer = await self.http.get(f"/tts/{job_id}/status")
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    async def until(
        self, job_id: str, condition: Callable[[dict[str, Any]], bool], timeout_s: float = 60.0
    ) -> dict[str, Any]:
        """Poll the job's status until ``condition`` holds."""
        async with asyncio.timeout(timeout_s):
            while not condition(found := await self.status(job_id)):
                await asyncio.sleep(_LOOK_S)
        return found

    async def ended(self, job_id: str, wanted: str = "completed", timeout_s: float = 60.0) -> dict[str, Any]:
        """Wait for the job's end, which must be as ``wanted``."""
        found = await self.until(
            job_id, lambda status: status["status"] in ("completed", "failed", "cancelled"), timeout_s
        )
        assert found["status"] == wanted, found
        return found

    async def until_listed(self, status: str) -> str:
        """Wait until some job has this status; its id."""
        async with asyncio.timeout(30):
            while not (found := (await self.http.get("/tts", params={"status": status})).json()["jobs"]):
                await asyncio.sleep(_LOOK_S)
        return str(found[0]["job_id"])

    async def result(self, job_id: str) -> bytes:
        """The finished file."""
        answer = await self.http.get(f"/tts/{job_id}/result")
        assert answer.status_code == 200, answer.text
        return answer.content

    async def speak_all(self, bodies: Sequence[Mapping[str, Any]]) -> list[bytes]:
        """Queue all, wait for all; their files."""
        ids = [await self.enqueue(**body) for body in bodies]
        for job_id in ids:
            await self.ended(job_id)
        return [await self.result(job_id) for job_id in ids]


@dataclass(frozen=True, slots=True)
class Row:
    """A row of the ledger with its columns as attributes."""

    values: Mapping[str, Any]

    def __getattr__(self, name: str) -> Any:
        try:
            return self.values[name]
        except KeyError:
            raise AttributeError(name) from None


@dataclass(frozen=True, slots=True)
class LedgerFile:
    """Reads a ledger's file without writing to it, whether a server runs or not."""

    path: Path
    connection: sqlite3.Connection | None = None

    @contextmanager
    def snapshot(self) -> Iterator["LedgerFile"]:
        """The same, as it is at one moment, while a server goes on writing."""
        with closing(self._connect()) as connection:
            connection.execute("BEGIN")
            yield LedgerFile(self.path, connection)

    def rows(self, query: str, *parameters: object) -> list[Row]:
        """What an SQL query gives."""
        if self.connection is not None:
            return [Row(dict(row)) for row in self.connection.execute(query, parameters)]
        with closing(self._connect()) as connection:
            return [Row(dict(row)) for row in connection.execute(query, parameters)]

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(f"file:{self.path}?mode=ro", uri=True, timeout=10)
        connection.row_factory = sqlite3.Row
        return connection

    def job(self, job_id: str) -> Row:
        """A job's row."""
        (row,) = self.rows("SELECT * FROM jobs WHERE id = ?", job_id)
        return row

    def segments(self, job_id: str) -> list[Row]:
        """A job's segments, in order."""
        return self.rows("SELECT * FROM segments WHERE job_id = ? ORDER BY idx", job_id)

    def events(self, job_id: str, *types: str) -> list[Row]:
        """A job's events in order, ``data`` as an object; all, or those of these types."""
        found = self.rows("SELECT * FROM events WHERE job_id = ? ORDER BY seq", job_id)
        events = [Row(dict(row.values) | {"data": json.loads(row.data)}) for row in found]
        return [event for event in events if not types or event.type in types]

    def check_events(self) -> None:
        """Each job's events are numbered without gaps and end with at most one end per run."""
        with self.snapshot() as moment:
            jobs = [(job, moment.events(job.id)) for job in moment.rows("SELECT * FROM jobs WHERE NOT deleted")]
        for job, events in jobs:
            assert [event.seq for event in events] == list(range(1, job.event_seq + 1)), (job, events)
            ends = [e for e in events if e.type in ("job.completed", "job.failed", "job.cancelled")]
            assert len(ends) == job.run - (job.status in ("queued", "running")), [e.type for e in ends]
            if job.status in ("completed", "failed", "cancelled"):
                assert ends[-1].type == f"job.{job.status}"


def take_path(data_dir: Path, digest: str) -> Path:
    """Where a take's bytes lie."""
    return data_dir / "takes" / digest[:2] / digest


def flip_byte(path: Path) -> None:
    """Damage a file in its middle; its size stays."""
    with path.open("r+b") as file:
        file.seek(path.stat().st_size // 2)
        (byte,) = file.read(1)
        file.seek(-1, os.SEEK_CUR)
        file.write(bytes([byte ^ 1]))
