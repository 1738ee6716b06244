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
import selectors
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # so that this file runs as a script

import rhapsode.jobs.runner as runner_module
from rhapsode.engines.base import Determinism, EngineInfo
from rhapsode.fleet.base import EngineDescription, Rendered, Slot, SynthesisTask
from rhapsode.jobs.events import EventHub
from rhapsode.jobs.scheduler import Scheduler, SchedulerOptions
from rhapsode.jobs.shop import Shop
from rhapsode.ledger.base import Claim, NewJob, PlanPart
from rhapsode.ledger.sql import SqlLedger
from rhapsode.model import (
    Boundary,
    Event,
    Fence,
    Job,
    JobStatus,
    Priority,
    Segment,
    SegmentState,
    SegmentStatus,
    SpeechRequest,
    Take,
    new_job_id,
)
from tests.postgres import running_postgres

CHARS = 120
"""Of a segment."""
OWNERS = 10
REQUEST = SpeechRequest(engine="sim", voice="voice")
TEXT = "x" * CHARS
EPOCH = 1_700_000_000.0
TAKE = Take("0" * 64, 22_050 * 8, 22_050, 352_844, 1.0)
INFO = EngineInfo("sim", "1", Determinism.NONE, 300, can_clone=False)


class Deadlock(Exception):
    """Everybody waits, and nothing will happen."""


class _Skipping(selectors.SelectSelector):
    """Does not wait: skips the time that it would have."""

    def __init__(self) -> None:
        super().__init__()
        self._skipped = 0.0
        self.now = 0.0

    def select(self, timeout: float | None = None) -> Any:
        ready = super().select(0)
        if not ready and timeout is None:
            raise Deadlock
        if not ready and timeout:
            self._skipped += timeout
        self.now = time.process_time() + self._skipped
        return ready


class VirtualLoop(asyncio.SelectorEventLoop):
    """Its time is the processor time of this process, and the time that it would have slept."""

    def __init__(self) -> None:
        self._clock = _Skipping()
        super().__init__(self._clock)

    def time(self) -> float:
        return self._clock.now


@dataclass(frozen=True, slots=True)
class Costs:
    """What the simulated parts take, seconds."""

    commit: float
    """A group commit, whatever is in it."""
    command: float
    """Each command of it."""
    driver: float
    """Of the Ray driver process, per segment."""
    network: float
    """There and back again."""
    store: float
    """Putting a take."""
    speak: float
    """A segment on a worker, on average."""


class Server:
    """Something that does one thing after another: a ledger's writer, a driver process."""

    def __init__(self) -> None:
        self.busy = 0.0
        self._free_at = 0.0

    async def serve(self, seconds: float) -> None:
        now = asyncio.get_running_loop().time()
        self._free_at = max(self._free_at, now) + seconds
        self.busy += seconds
        await asyncio.sleep(self._free_at - now)


class Writer(Server):
    """Commits in groups what was asked for meanwhile, as the ledgers do."""

    def __init__(self, costs: Costs) -> None:
        super().__init__()
        self._costs = costs
        self._queue: list[asyncio.Future[None]] = []
        self._writing: asyncio.Task[None] | None = None

    def commit(self) -> asyncio.Future[None]:
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._queue.append(done)
        if self._writing is None or self._writing.done():
            self._writing = asyncio.ensure_future(self._write())
        return done

    def stop(self) -> None:
        """Commit nothing more."""
        if self._writing:
            self._writing.cancel()

    async def _write(self) -> None:
        while self._queue:
            group, self._queue = self._queue, []
            await self.serve(self._costs.commit + len(group) * self._costs.command)
            for done in group:
                if not done.done():
                    done.set_result(None)


class SimLedger:
    """The transitions that scheduling needs, in memory."""

    def __init__(self, costs: Costs, hub: EventHub) -> None:
        self.writer = Writer(costs)
        self._hub = hub
        self._jobs: dict[str, Job] = {}
        self._status: dict[str, bytearray] = {}
        self._read = costs.network or 0.0002
        self.ended: dict[str, asyncio.Event] = {}
        self.on_end: Callable[[Job], None] = lambda job: None

    def put(self, owner: str, segments: int, priority: Priority) -> Job:
        loop = asyncio.get_running_loop()
        job = Job(
            new_job_id(),
            owner,
            JobStatus.QUEUED,
            REQUEST,
            priority,
            EPOCH + loop.time(),
            text_chars=segments * CHARS,
            planned_chars=segments * CHARS,
            plan_done=True,
            segments_total=segments,
        )
        self._jobs[job.id] = job
        self._status[job.id] = bytearray(segments)
        self.ended[job.id] = asyncio.Event()
        return job

    epoch = 0
    """Of all jobs."""

    def waiting_for(self) -> None:
        pass

    async def get_job(self, job_id: str) -> Job | None:
        await asyncio.sleep(self._read)
        return self._jobs.get(job_id)

    async def segments(
        self, job_id: str, start: int = 0, limit: int = 500, status: SegmentStatus | None = None
    ) -> Sequence[SegmentState]:
        await asyncio.sleep(self._read)
        made = self._status[job_id]
        found: list[SegmentState] = []
        index = start
        while index < len(made) and len(found) < limit:
            if not made[index] or status is None:
                found.append(SegmentState(Segment(index, 0, CHARS, TEXT, TEXT, Boundary.SENTENCE)))
            index += 1
        return found

    def _change(self, job_id: str, event: str, **changes: Any) -> Job:
        job = self._jobs[job_id]
        job = self._jobs[job_id] = replace(job, event_seq=job.event_seq + 1, **changes)
        self._hub.publish([Event(job_id, job.event_seq, event, EPOCH, {}, job=job)])
        return job

    async def start_job(self, fence: Fence) -> Job:
        await self.writer.commit()
        if self._jobs[fence.job_id].status is JobStatus.QUEUED:
            return self._change(fence.job_id, "job.started", status=JobStatus.RUNNING)
        return self._jobs[fence.job_id]

    async def claim(self, fence: Fence, index: int, input_key: str, shared: bool) -> Claim:
        self._status[fence.job_id][index] = 1
        await self.writer.commit()
        return Claim(1)

    async def complete_segment(self, fence: Fence, index: int, attempt: int, input_key: str, take: Take) -> Job:
        await self.writer.commit()
        job = self._jobs[fence.job_id]
        done = job.segments_done + 1
        job = self._change(job.id, "segment.completed", segments_done=done, chars_done=job.chars_done + CHARS)
        if done == job.segments_total:
            self.ended[job.id].set()
        return job

    async def finish(self, job_id: str) -> None:
        """What joining does at the end."""
        await self.writer.commit()
        job = self._change(job_id, "job.completed", status=JobStatus.COMPLETED)
        self.on_end(job)
        del self._jobs[job_id], self._status[job_id], self.ended[job_id]


class SimJoiner:
    """Stands in for joining, which is another process's work in a cluster: waits for the last take."""

    def __init__(self, shop: Shop, job: Job, *_: object) -> None:
        self._ledger = cast(SimLedger, shop.ledger)
        self._id = job.id

    async def run(self) -> None:
        await self._ledger.ended[self._id].wait()
        await self._ledger.finish(self._id)


class SimStore:
    def __init__(self, costs: Costs) -> None:
        self._put = costs.store

    async def put(self, name: str, data: bytes) -> None:
        await asyncio.sleep(self._put)

    async def free_bytes(self) -> None:
        return None


class SimFleet:
    """Workers that take their time, behind one driver process; every worker holds the voice."""

    def __init__(self, workers: int, costs: Costs, rng: random.Random) -> None:
        warm = frozenset({("sim", "voice")})
        names = [f"bulk-{n}" for n in range(workers)]
        self._slots = {name: Slot(name, False, frozenset({"sim"}), warm) for name in names}
        self._free = dict(self._slots)
        self._costs = costs
        self._rng = rng
        self._changed: Callable[[], None] = lambda: None
        self._described = EngineDescription(INFO, ())
        self.driver = Server()
        self.busy = 0.0
        self.chars: dict[str, int] = defaultdict(int)
        self.on_begin: Callable[[str], None] = lambda job_id: None

    def on_change(self, callback: Callable[[], None]) -> None:
        self._changed = callback

    def free_slots(self) -> Sequence[Slot]:
        return list(self._free.values())

    def slots(self) -> Sequence[Slot]:
        return list(self._slots.values())

    def express_slots(self) -> Sequence[Slot]:
        return ()

    def size(self) -> int:
        return len(self._slots)

    def engines(self) -> Sequence[str]:
        return ["sim"]

    def waiting_for(self, engine: str | None = None) -> None:
        return None

    def expect(self, segments: int) -> None:
        pass

    async def describe(self, engine: str | None = None, refresh: bool = False) -> EngineDescription:
        return self._described

    async def synthesise(self, slot_id: str, task: SynthesisTask) -> Rendered:
        slot = self._free.pop(slot_id)
        self.on_begin(task.job_id)
        spoken = self._rng.lognormvariate(0, 0.4) / 1.083 * self._costs.speak
        await self.driver.serve(self._costs.driver)
        await asyncio.sleep(self._costs.network + spoken)
        self.busy += spoken
        self._free[slot_id] = slot
        self._changed()
        return Rendered(TAKE, b"")


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
