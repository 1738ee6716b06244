"""Kill -9 of a process that writes: what was acknowledged is there, whole and without gaps, and nothing is half-done."""

import asyncio
import random
import sys
from asyncio.subprocess import PIPE
from pathlib import Path

import pytest

from rhapsode.blobs.local import LocalBlobs
from rhapsode.ledger.sql import SqlLedger
from rhapsode.model import JobStatus, SegmentStatus
from tests.contract.ledger_values import TTL_S, listed

KILLS = 20
ROOT = Path(__file__).parents[2]

LEDGER_CHILD = """
import asyncio, itertools, sys
from pathlib import Path
from rhapsode.ledger.sql import SqlLedger
from tests.contract.ledger_values import RESULT, TTL_S, begin, take

async def main():
    ledger = SqlLedger(Path(sys.argv[1]), ttl_s=TTL_S)
    await ledger.open()
    await ledger.adopt()
    print("ready", flush=True)

    async def work():
        while True:
            job = await begin(ledger, 3)
            print("job", job.id, flush=True)
            for index in range(3):
                key = f"{job.id}/{index}"
                claim = await ledger.claim(job.fence, index, key, True)
                await ledger.complete_segment(job.fence, index, claim.attempt, key, take(key))
                print("done", job.id, index, flush=True)
            await ledger.complete_job(job.fence, RESULT)
            print("complete", job.id, flush=True)

    await asyncio.gather(*(work() for _ in range(8)))

asyncio.run(main())
"""

BLOB_CHILD = """
import asyncio, itertools, sys
from pathlib import Path
from rhapsode.blobs.local import LocalBlobs

async def main():
    blobs = LocalBlobs(Path(sys.argv[1]))
    print("ready", flush=True)

    async def work(worker):
        for count in itertools.count():
            name = f"{worker}{count % 16:x}-{sys.argv[2]}-{count}"
            await blobs.put(name, name.encode() * 20_000)
            print("put", name, flush=True)

    await asyncio.gather(*(work(worker) for worker in range(8)))

asyncio.run(main())
"""


async def run_and_kill(child: str, *arguments: str, seconds: float) -> list[list[str]]:
    """Run a child, kill it ``seconds`` after it began to write; the complete lines it had printed, in words."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", child, *arguments, stdout=PIPE, stderr=PIPE, cwd=ROOT
    )
    assert process.stdout is not None
    assert process.stderr is not None
    ready = await asyncio.wait_for(process.stdout.readline(), 30)
    assert ready == b"ready\n", (await process.stderr.read()).decode()
    rest = asyncio.create_task(process.stdout.read())
    await asyncio.sleep(seconds)  # the random moment of the kill
    process.kill()
    printed = await rest
    assert await process.wait() == -9, (await process.stderr.read()).decode()
    return [line.split() for line in printed.decode().split("\n")[:-1]]


@pytest.mark.timeout(120)
async def test_the_ledger_holds_all_that_was_acknowledged(tmp_path: Path) -> None:
    moments = random.Random(7)
    path = tmp_path / "ledger.db"
    acknowledged: list[list[str]] = []
    for _ in range(KILLS):
        acknowledged += await run_and_kill(LEDGER_CHILD, str(path), seconds=moments.uniform(0.0, 0.25))
    assert len(acknowledged) > KILLS

    ledger = SqlLedger(path, ttl_s=TTL_S)
    assert await ledger.open() == KILLS + 1
    jobs = {job.id: job for job in await listed(ledger, limit=1_000_000)}
    for what, job_id, *index in acknowledged:
        job = jobs[job_id]
        if what == "complete":
            assert job.status is JobStatus.COMPLETED
        elif what == "done":
            (state,) = await ledger.segments(job_id, int(index[0]), 1)
            assert state.status is SegmentStatus.DONE
    for job in jobs.values():
        events = await ledger.events(job.id)
        assert [event.seq for event in events] == list(range(1, job.event_seq + 1))
        assert await ledger.read_text(job.id, 0, 100) == "aa aa aa "
        done = [state for state in await ledger.segments(job.id) if state.take is not None]
        assert (len(done), sum(state.take.samples for state in done if state.take)) == (
            job.segments_done,
            job.samples_done,
        )
    waiting = await ledger.adopt()
    assert {job.id for job in waiting} == {job.id for job in jobs.values() if not job.status.is_terminal}
    await ledger.close()


@pytest.mark.timeout(120)
async def test_blobs_are_there_whole_or_not_at_all(tmp_path: Path) -> None:
    moments = random.Random(7)
    acknowledged: list[list[str]] = []
    for number in range(KILLS):
        acknowledged += await run_and_kill(BLOB_CHILD, str(tmp_path), str(number), seconds=moments.uniform(0.0, 0.1))
    assert len(acknowledged) > KILLS
    blobs = LocalBlobs(tmp_path)
    names = {name async for name in blobs.names(older_than_s=-60)}
    assert names >= {name for _, name in acknowledged}
    for name in names:
        assert await blobs.get(name) == name.encode() * 20_000
    await blobs.sweep_temp(older_than_s=-60)
    assert await blobs.sweep_temp(older_than_s=-60) == 0
    blobs.close()
