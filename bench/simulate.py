"""How a cluster would behave: the real scheduler against simulated workers on a virtual clock.

    python bench/simulate.py                      # 1 … 10,000 workers, up to a million segments (minutes)
    python bench/simulate.py --workers 100        # one size
    python bench/simulate.py --postgres           # with the ledger in PostgreSQL

Real are ``jobs/scheduler.py``, ``order.py``, ``runner.py`` and ``attempts.py`` with everything they import, and the processor time that
they take: the clock counts it, and skips only the time in which nothing happens. Simulated are workers, ledger, store and joining. Their
times are measured here first (a ledger on this disk, committing in groups) or given (``--driver-us``: what one segment costs the
Ray driver process, see ``bench/run.py ray``). A simulated million segments is no proof that a cluster of that size runs; it shows what
scheduling itself can bear, and which part gives out first.
"""

import argparse
import asyncio
import random
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # so that this file runs as a script

import rhapsode.jobs.runner as runner_module
from bench._simulated import (
    CHARS,
    EPOCH,
    REQUEST,
    TAKE,
    TEXT,
    Costs,
    SimFleet,
    SimJoiner,
    SimLedger,
    SimStore,
    VirtualLoop,
)
from rhapsode.jobs.events import EventHub
from rhapsode.jobs.scheduler import Scheduler, SchedulerOptions
from rhapsode.jobs.shop import Shop
from rhapsode.ledger.base import NewJob, PlanPart
from rhapsode.ledger.sql import SqlLedger
from rhapsode.model import Boundary, Event, Priority, Segment, new_job_id
from tests.postgres import running_postgres

OWNERS = 10


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one size showed."""

    workers: int
    jobs: int
    segments: int
    per_s: float
    ideal_per_s: float
    wait_p50: float
    wait_p95: float
    short_p50: float
    short_p95: float
    fairness: float
    """Least ÷ most characters among owners with work, half way."""
    scheduler_us: float
    loads: dict[str, float]
    """How busy each part was, of 1."""

    @property
    def bottleneck(self) -> str:
        return max(self.loads, key=lambda name: self.loads[name])


async def simulate(workers: int, segments: int, per_job: int, costs: Costs, seed: int) -> Outcome:
    """Queue all jobs at once, and short interactive jobs one after another; run until the long ones are done."""
    rng = random.Random(seed)
    hub = EventHub()
    ledger, fleet = SimLedger(costs, hub), SimFleet(workers, costs, rng)
    loop = asyncio.get_running_loop()
    parts: dict[str, Any] = dict.fromkeys(("planner", "access", "outbox", "batches", "renditions", "clips"))
    shop = Shop(
        ledger=cast(Any, ledger),
        takes=cast(Any, SimStore(costs)),
        results=cast(Any, SimStore(costs)),
        fleet=cast(Any, fleet),
        hub=hub,
        clock=lambda: EPOCH + loop.time(),
        **parts,
    )
    scheduler = Scheduler(shop, SchedulerOptions())
    await scheduler.start(())
    submitted: dict[str, float] = {}
    waits: list[float] = []
    short_waits: list[float] = []
    shorts: set[str] = set()
    served: dict[str, int] = defaultdict(int)
    owner_of: dict[str, str] = {}
    half: dict[str, int] = {}
    left = segments
    done = asyncio.Event()

    def began(job_id: str) -> None:
        if at := submitted.pop(job_id, None):
            (short_waits if job_id in shorts else waits).append(loop.time() - at)
        if job_id not in shorts:
            served[owner_of[job_id]] += CHARS

    def on_event(event: Event) -> None:
        nonlocal left
        if event.type == "segment.completed" and event.job_id not in shorts:
            left -= 1
            if left == segments // 2:
                half.update(served)
            if not left:
                done.set()

    fleet.on_begin = began
    hub.listen(on_event)

    def submit(owner: str, count: int, priority: Priority) -> None:
        job = ledger.put(owner, count, priority)
        submitted[job.id], owner_of[job.id] = loop.time(), owner
        if priority is Priority.INTERACTIVE:
            shorts.add(job.id)
        scheduler.submit(job)

    async def keep_asking() -> None:
        while True:
            submit("visitor", 3, Priority.INTERACTIVE)
            await asyncio.sleep(max(1.0, 30 * costs.speak / workers))  # at most a tenth of what the workers can do

    jobs = max(OWNERS, segments // per_job)
    begun, cpu = loop.time(), time.process_time()
    for number in range(jobs):  # the first owner has as many jobs as all others together
        owner = "owner-0" if number % 2 else f"owner-{1 + number // 2 % (OWNERS - 1)}"
        submit(owner, segments // jobs + (number < segments % jobs), Priority.NORMAL)
    asking = asyncio.ensure_future(keep_asking())
    await done.wait()
    seconds, cpu = loop.time() - begun, time.process_time() - cpu
    asking.cancel()
    await scheduler.stop()
    ledger.writer.stop()
    await asyncio.sleep(0)
    shares = [half.get(owner, 0) for owner in {*owner_of.values()} - {"visitor"}]
    loads = {
        "workers": fleet.busy / (workers * seconds),
        "scheduler (one core of the server)": cpu / seconds,
        "ledger's writer": ledger.writer.busy / seconds,
        "Ray driver process": fleet.driver.busy / seconds,
    }
    ideal = workers / (costs.speak)
    return Outcome(
        workers, jobs, segments, segments / seconds, ideal, _part(waits, 0.5), _part(waits, 0.95), _part(short_waits, 0.5),
        _part(short_waits, 0.95), min(shares) / max(*shares, 1), cpu / segments * 1e6, loads,
    )  # fmt: skip


def _part(values: list[float], share: float) -> float:
    return sorted(values)[int(share * (len(values) - 1))] if values else 0.0


async def measure_ledger(url_or_path: str | Path) -> tuple[float, float]:
    """Seconds of a commit, and of each command in a group, of a ledger on this disk."""
    ledger = SqlLedger(url_or_path, ttl_s=3600)
    await ledger.open()
    count, alone = 4_000, 50
    new = NewJob(new_job_id(), "bench", REQUEST, TEXT * (count + alone), Priority.NORMAL)
    job, _ = await ledger.submit(new)
    planned = [Segment(n, n * CHARS, (n + 1) * CHARS, TEXT, TEXT, Boundary.SENTENCE) for n in range(count + alone)]
    job = await ledger.extend_plan(job.fence, PlanPart(tuple(planned), len(new.text), "", True, ()))
    await ledger.start_job(job.fence)

    async def speak(index: int) -> None:
        claim = await ledger.claim(job.fence, index, f"key {index}", False)
        take = replace(TAKE, digest=f"{index:064x}")
        await ledger.complete_segment(job.fence, index, claim.attempt, f"key {index}", take)

    begun = time.perf_counter()
    await asyncio.gather(*(speak(index) for index in range(count)))
    command = (time.perf_counter() - begun) / (2 * count)
    singles: list[float] = []
    for index in range(count, count + alone):
        begun = time.perf_counter()
        await speak(index)
        singles.append((time.perf_counter() - begun) / 2)
    await ledger.close()
    return max(statistics.median(singles) - command, 0.0001), command


def table(rows: Sequence[Outcome]) -> str:
    """As Markdown."""
    lines = [
        "| workers | segments | jobs | segments/s | of what the workers could | wait of a long job, p50 / p95 | of a short one, "
        "p50 / p95 | least ÷ most served owner | scheduler per segment | busiest part |",
        "|---:|---:|---:|---:|---:|---:|---:|---:|---:|---|",
    ]
    for row in rows:
        busiest = row.bottleneck
        lines.append(
            f"| {row.workers:,} | {row.segments:,} | {row.jobs:,} | {row.per_s:,.0f} | {row.per_s / row.ideal_per_s:.0%} "
            f"| {row.wait_p50:.1f} s / {row.wait_p95:.1f} s | {row.short_p50:.2f} s / {row.short_p95:.2f} s "
            f"| {row.fairness:.2f} | {row.scheduler_us:.0f} µs | {busiest}, {row.loads[busiest]:.0%} |"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workers", type=int, nargs="*", default=[1, 10, 100, 1_000, 10_000])
    parser.add_argument("--segments", type=int, help="default: 100 for each worker, at least 1,000, at most a million")
    parser.add_argument("--per-job", type=int, default=250, help="segments of a job")
    parser.add_argument("--speak", type=float, default=2.0, help="seconds that a worker takes for a segment")
    parser.add_argument("--postgres", action="store_true", help="measure a ledger in PostgreSQL instead of SQLite")
    parser.add_argument("--commit-us", type=float, help="a group commit; default: measured here")
    parser.add_argument("--command-us", type=float, help="a command in a group; default: measured here")
    parser.add_argument("--driver-us", type=float, default=700, help="CPU of the Ray driver process for a segment")
    parser.add_argument("--network-us", type=float, default=2_400, help="to a worker and back, with a take")
    parser.add_argument("--store-us", type=float, default=10_000, help="putting a take into a bucket")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    commit, command = (options.commit_us or 0) / 1e6, (options.command_us or 0) / 1e6
    if not (commit and command):
        with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
            where: str | Path = Path(folder) / "ledger.db"
            if options.postgres:
                server = stack.enter_context(running_postgres(durable=True))
                where = server.url(server.create())
            measured = asyncio.run(measure_ledger(where))
        commit, command = commit or measured[0], command or measured[1]
    costs = Costs(
        commit, command, options.driver_us / 1e6, options.network_us / 1e6, options.store_us / 1e6, options.speak
    )
    print(f"commit {commit * 1e6:.0f} µs, command {command * 1e6:.0f} µs, {costs}", flush=True)
    setattr(runner_module, "Joiner", SimJoiner)  # noqa: B010 - not a name that the module gives away
    rows: list[Outcome] = []
    for workers in options.workers:
        segments = options.segments or min(max(100 * workers, 1_000), 1_000_000)
        loop = VirtualLoop()
        row = loop.run_until_complete(simulate(workers, segments, options.per_job, costs, options.seed))
        rows.append(row)
        shown = ", ".join(f"{name} {load:.0%}" for name, load in row.loads.items())
        print(f"{workers} workers: {row.per_s:,.0f} segments/s of {row.ideal_per_s:,.0f}; {shown}", flush=True)
    print(table(rows))


if __name__ == "__main__":
    main()
