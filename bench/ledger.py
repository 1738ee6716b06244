"""Measure the ledger beside the disk it stands on: ``python bench/ledger.py [--dir DIR] [--jobs 100000]``.

Every figure is durable: a group is answered after its fsync. The disk's own rate (append 4 KiB, fdatasync, repeat) is
the limit of a ledger that commits one command at a time; the ratio shows what committing in groups is worth.
"""

import argparse
import asyncio
import os
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path

from rhapsode.ledger.base import JobFilter, NewJob, PlanPart
from rhapsode.ledger.sql import SqlLedger
from rhapsode.model import Boundary, Priority, Segment, SpeechRequest, Take, WordTiming, new_job_id

CALLERS = 16
REQUEST = SpeechRequest(engine="tone", voice="tone")
WORDS = tuple(WordTiming("word", 2000 * i, 2000 * i + 1500) for i in range(12))


def fsync_rate(folder: Path, seconds: float = 1.0) -> float:
    """Syncs per second of this disk."""
    with tempfile.NamedTemporaryFile(dir=folder) as file:
        start, count = time.perf_counter(), 0
        while (spent := time.perf_counter() - start) < seconds:
            file.write(b"x" * 4096)
            file.flush()
            os.fdatasync(file.fileno())
            count += 1
    return count / spent


async def rate(count: int, work: Callable[[int], Awaitable[object]], callers: int = CALLERS) -> float:
    """Items per second, worked on by ``callers`` at once."""
    items = iter(range(count))

    async def caller(items: Iterable[int]) -> None:
        for item in items:
            await work(item)

    start = time.perf_counter()
    await asyncio.gather(*(caller(items) for _ in range(callers)))
    return count / (time.perf_counter() - start)


async def seconds(work: Awaitable[object]) -> float:
    """How long it takes."""
    start = time.perf_counter()
    await work
    return time.perf_counter() - start


def new_job(text: str) -> NewJob:
    return NewJob(new_job_id(), "bench", REQUEST, text, Priority.NORMAL)


def plan(count: int) -> PlanPart:
    text = "Twelve words make up this sentence, so it is a common length."
    step = len(text) + 1
    parts = [Segment(i, i * step, i * step + len(text), text, text, Boundary.SENTENCE) for i in range(count)]
    return PlanPart(parts, count * step, "", done=True)


async def pairs(ledger: SqlLedger, count: int, jobs: int = 1) -> float:
    """Claims with their completions per second; with several jobs, a segment of each of them at once."""
    part = plan(count // jobs)
    running = []
    for _ in range(jobs):
        job, _ = await ledger.submit(new_job("x" * part.planned_chars))
        await ledger.start_job(job.fence)
        running.append(await ledger.extend_plan(job.fence, part))

    async def speak(number: int) -> None:
        job, index = running[number % jobs], number // jobs
        key = f"{job.id}/{index}"
        claim = await ledger.claim(job.fence, index, key, shared=True)
        take = Take(key, 24_000, 22_050, 48_044, 0.1, WORDS)
        await ledger.complete_segment(job.fence, index, claim.attempt, key, take)

    return await rate(count // jobs * jobs, speak, max(jobs, CALLERS))


async def main(folder: Path, jobs: int) -> None:
    path = folder / "ledger.db"
    ledger = SqlLedger(path, ttl_s=3600)
    print(f"open, new file        {1000 * await seconds(ledger.open()):10.0f} ms")
    syncs = fsync_rate(folder)
    print(f"fsyncs of the disk    {syncs:10.0f} /s")
    submits = await rate(3000, lambda _: ledger.submit(new_job("A short text to speak. " * 40)))
    print(f"submits, 16 callers   {submits:10.0f} /s   {submits / syncs:6.2f} x fsync rate")
    found = await pairs(ledger, 10_000)
    print(f"claim + complete      {found:10.0f} /s   {2 * found / syncs:6.2f} x fsync rate (two commands each)")
    print(
        f"submit 5 MB           {1000 * await seconds(ledger.submit(new_job('Five megabytes. ' * 312_500))):10.0f} ms"
    )
    big, _ = await ledger.submit(new_job("x" * 2_520_000))
    spent = await seconds(ledger.extend_plan(big.fence, plan(40_000)))
    print(f"plan 40,000 segments  {1000 * spent:10.0f} ms in one part")
    print(f"purge them            {1000 * await seconds(ledger.purge_job(big.id)):10.0f} ms in steps")
    for start in range(0, jobs, 2000):
        await asyncio.gather(*(ledger.submit(new_job("Waiting.")) for _ in range(start, min(jobs, start + 2000))))
    await ledger.close()
    print(f"open, {path.stat().st_size >> 20:4} MB         {1000 * await seconds(ledger.open()):10.0f} ms")
    print(f"adopt {jobs:7,} jobs    {1000 * await seconds(ledger.adopt()):10.0f} ms")
    print(f"counts                {1000 * await seconds(ledger.counts()):10.1f} ms")
    print(f"list 50 jobs          {1000 * await seconds(ledger.list_jobs(JobFilter(owner='bench'))):10.1f} ms")
    await ledger.close()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dir", type=Path, default=None, help="folder on the disk to measure")
    parser.add_argument("--jobs", type=int, default=100_000)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.dir) as name:
        asyncio.run(main(Path(name), arguments.jobs))
