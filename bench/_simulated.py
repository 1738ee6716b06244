"""Workers, ledger, store and joining that only take their time, and an event loop that skips it: what ``simulate.py`` simulates."""

import asyncio
import random
import selectors
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

from rhapsode.engines.base import Determinism, EngineInfo
from rhapsode.fleet.base import EngineDescription, Rendered, Slot, SynthesisTask
from rhapsode.jobs.events import EventHub
from rhapsode.jobs.shop import Shop
from rhapsode.ledger.base import Claim
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

CHARS = 120
"""Of a segment."""
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

    def known(self, engine: str) -> EngineDescription:
        return self._described

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
