"""Faults out of a seed against a server under work; whoever uses it checks afterwards what became of it all."""

import asyncio
import errno
import os
import random
import signal
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx

from tests.faults.harness import Client, ServerProcess, flip_byte, take_path
from tests.faults.shim import KILL

DAY_S = 86_400
BUSY = 5
"""Unfinished jobs that clients keep the server with."""
ORPHANS_S = 30.0
"""Workers are being born all the time, on a machine with no time for them."""
POINTS = ("ledger.written", "ledger.committed", "plan.made", "take.rendered", "take.stored")
ENDS = ("result.joined", "result.adopted", "job.stored")
SETTINGS: Mapping[str, Any] = {
    "fleet": {"heartbeat_timeout_sec": 2},
    "scheduler": {"segment_failures": 100},
    "job_queue": {"job_ttl_hours": 240},
}
"""Workers that are paused are given up soon; jobs fail from no number of faults, and expire behind no clock."""
UNFINISHED = "SELECT id FROM jobs WHERE status IN ('queued', 'running') AND NOT deleted"


def body(number: int) -> dict[str, Any]:
    """One of many jobs: most are quick, some are spoken for seconds."""
    slow = number % 5 == 0
    return {
        "text": " ".join(f"Sentence {n} of job {number} is spoken." for n in range(1, 25)),
        "predefined_voice_id": "tone-slow" if slow else "tone-chars",
        "chunk_size": 50,
        "seed": 100 + number,
        "output_format": ("wav", "flac", "opus", "mp3")[number % 4],
    }


class Storm:
    """One server, its clients, and what happens to them.

    Args:
        server: With a shim and :data:`SETTINGS`, running.
        seed: Of all that is drawn; the moments still depend on the machine.
    """

    def __init__(self, server: ServerProcess, seed: int) -> None:
        self.spoiled: set[str] = set()
        """Takes that were damaged or deleted."""
        self.struck: Counter[str] = Counter()
        self.kills = 0
        self._server = server
        self._chance = random.Random(seed)
        self._jobs = 0
        self._meddled = 0
        self._up = asyncio.Event()

    async def run(self, long: bool) -> None:
        """One fault after another while clients work, each kind as often as below or once; then let every job come to its end."""
        kinds: list[tuple[int, Callable[[], Awaitable[None]]]] = [
            (6, self._kill),
            (2, self._kill_at_start),
            (4, self._kill_at_point),
            (40, self._kill_worker),
            (1, self._pause_worker),
            (1, self._terminate),
            (3, self._fail_write),
            (1, self._fill_disk),
            (1, self._set_clock),
            (2, self._spoil_take),
            (2, self._spoil_result),
        ]
        faults = [kind for count, kind in kinds for _ in range(count if long else 1)]
        self._chance.shuffle(faults)
        self._up.set()
        clients = [asyncio.create_task(self._client(work)) for work in (self._submit, self._watch, self._meddle)]
        try:
            for kind in faults:
                await asyncio.sleep(self._chance.uniform(0.0, 0.4))  # the random moment
                await kind()
                self.struck[kind.__name__.strip("_")] += 1
        finally:
            for client in clients:
                client.cancel()
            await asyncio.gather(*clients, return_exceptions=True)
        await self._settle()

    async def _settle(self) -> None:
        self._server.shim.mend()
        self._server.shim.set_clock(0)
        if self._server.alive:
            await self._server.stop()
        async with self._server.running() as client:
            for row in self._server.ledger.rows(UNFINISHED):
                await client.until(row.id, lambda status: status["status"] in ("completed", "failed", "cancelled"), 120)
            done = "SELECT id FROM jobs WHERE status = 'completed' AND redo_of IS NULL AND NOT deleted"
            for row in self._server.ledger.rows(done):
                await client.result(row.id)

    # -- faults -------------------------------------------------------------------------------------------------

    async def _kill(self) -> None:
        await self._down(self._server.kill(ORPHANS_S))
        self.kills += 1
        await self._restart()

    async def _kill_at_start(self) -> None:
        await self._down(self._server.kill(ORPHANS_S))
        await self._server.spawn()
        await asyncio.sleep(self._chance.uniform(0.0, 1.5))
        await self._server.kill(ORPHANS_S)
        self.kills += 2
        await self._restart()

    async def _kill_at_point(self) -> None:
        await self._down(self._server.stop(signal.SIGKILL))
        point = self._chance.choice(POINTS + ENDS)
        await self._server.spawn(f"{point}:{self._chance.randint(1, 6)}")
        with suppress(AssertionError):  # it may die before it answers
            await self._server.answering()
            self._up.set()
        with suppress(TimeoutError):
            await self._server.died(3)
        await self._down(self._server.stop(signal.SIGKILL))
        self.kills += 2
        await self._restart()

    async def _kill_worker(self) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(5):
                while not (workers := self._server.workers()):
                    await asyncio.sleep(0.01)
            with suppress(ProcessLookupError):
                os.kill(self._chance.choice(workers).pid, signal.SIGKILL)
                self.kills += 1

    async def _pause_worker(self) -> None:
        """Stopped for longer than a worker may be silent, then woken, if it is still there."""
        if workers := self._server.workers():
            pid = self._chance.choice(workers).pid
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGSTOP)
                await asyncio.sleep(2.5)
                os.kill(pid, signal.SIGCONT)

    async def _terminate(self) -> None:
        await self._down(self._server.stop())
        await self._restart()

    async def _fail_write(self) -> None:
        error = self._chance.choice((errno.EIO, errno.ENOSPC, KILL))
        self._server.shim.fail(self._chance.randint(1, 60), error)
        with suppress(TimeoutError):
            async with asyncio.timeout(3):
                while not self._server.shim.fired:
                    await asyncio.sleep(0.01)
        self.kills += bool(self._server.shim.mend()) and error == KILL
        await self._revive()

    async def _fill_disk(self) -> None:
        self._server.shim.fail(1, errno.ENOSPC, lasting=True)
        await asyncio.sleep(self._chance.uniform(0.1, 1.0))
        self._server.shim.mend()
        await self._revive()

    async def _set_clock(self) -> None:
        self._server.shim.set_clock(self._chance.choice((DAY_S, -DAY_S)))

    async def _spoil_take(self) -> None:
        """A take of an unfinished job is deleted, or one of its bits is flipped."""
        takes = self._server.ledger.rows(
            "SELECT take_digest FROM segments JOIN jobs ON jobs.id = job_id "
            "WHERE take_digest IS NOT NULL AND jobs.status = 'running'"
        )
        if takes:
            digest = self._chance.choice(takes).take_digest
            self._spoil(take_path(self._server.data_dir, digest))
            self.spoiled.add(digest)

    async def _spoil_result(self) -> None:
        """A result whose takes are all there is deleted, or one of its bits is flipped."""
        done = "SELECT id, result_name FROM jobs WHERE status = 'completed' AND result_name IS NOT NULL AND NOT deleted"
        rows = self._server.ledger.rows(done)
        if rows:
            row = self._chance.choice(rows)
            if not self.spoiled & {segment.take_digest for segment in self._server.ledger.segments(row.id)}:
                self._spoil(self._server.outputs / row.result_name)

    def _spoil(self, path: Path) -> None:
        with suppress(FileNotFoundError):  # gone in this moment
            if self._chance.random() < 0.5:
                path.unlink()
            else:
                flip_byte(path)

    async def _revive(self) -> None:
        """Start the server again if it has died of the fault; one that is about to is waited for."""
        try:
            async with self._server.client() as client:
                await client.http.post("/tts/enqueue", json={"text": "Does it write?", "seed": 1})
        except httpx.TransportError:
            await self._down(self._server.died())
            await self._restart()

    async def _down(self, ending: Awaitable[object]) -> None:
        self._up.clear()
        await ending

    async def _restart(self) -> None:
        await self._server.start()
        self._up.set()

    # -- clients ------------------------------------------------------------------------------------------------

    async def _client(self, work: Callable[[Client], Awaitable[None]]) -> None:
        """Work again and again, whatever becomes of the server."""
        while True:
            await self._up.wait()
            with suppress(httpx.TransportError):
                async with self._server.client() as client:
                    while True:
                        await work(client)
                        await asyncio.sleep(0.02)
            await asyncio.sleep(0.05)

    async def _submit(self, client: Client) -> None:
        if len(self._server.ledger.rows(UNFINISHED)) < BUSY:
            self._jobs += 1
            await client.http.post("/tts/enqueue", json=body(self._jobs))

    async def _watch(self, client: Client) -> None:
        for job_id in list(self._server.record.acknowledged())[-20:]:
            await client.http.get(f"/tts/{job_id}/status")

    async def _meddle(self, client: Client) -> None:
        """Do to some job what clients do."""
        await asyncio.sleep(0.1)
        jobs = list(self._server.record.acknowledged())[-15:]
        if not jobs:
            return
        self._meddled += 1
        base = f"/tts/{self._chance.choice(jobs)}"
        match self._meddled % 8:
            case 0 | 4:
                await client.http.get(f"{base}/result")
            case 1:
                await client.http.delete(base)
            case 2:
                await client.http.post(f"{base}/retry")
            case 3:
                await client.http.post(f"{base}/segments/1/redo")
            case 5:
                await client.http.get(f"{base}/result?format=opus")
            case 6:
                await client.http.delete(f"{base}?purge=true")
            case _:  # somebody who does not wait for what he asked for
                with suppress(httpx.ReadTimeout):
                    await client.http.post("/tts", json=body(0) | {"seed": self._meddled}, timeout=0.2)
