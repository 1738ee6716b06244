"""Give segments to workers, one at a time, as late as possible. An in-memory index that the ledger can rebuild.

A segment is chosen when a slot is free, never ahead, so that priority, fairness and cancel act within one segment.
Express slots serve interactive work and the first segments of fresh jobs; bulk slots serve normal and batch work first
and interactive work only when there is nothing else (it is the express process's, which runs at normal priority).
"""

import asyncio
import logging
from collections import deque
from collections.abc import Collection, Coroutine, Iterable, Sequence
from contextlib import ExitStack
from contextvars import Context
from dataclasses import dataclass
from functools import partial
from itertools import islice

from rhapsode.errors import NotFound, SynthesisError, Unavailable
from rhapsode.fleet.base import Slot
from rhapsode.jobs.attempts import Attempts
from rhapsode.jobs.events import END_EVENTS
from rhapsode.jobs.order import FairOrder
from rhapsode.jobs.overview import Overview
from rhapsode.jobs.runner import NO_HEAD, Head, JobRun
from rhapsode.jobs.shop import Shop
from rhapsode.ledger.base import Waiting
from rhapsode.model import Event, Job, JobStatus, Priority, SegmentState, SegmentStatus

log = logging.getLogger(__name__)

_MIN_RUNS, _MAX_RUNS = 64, 2048
"""Jobs held activated at once, one for each slot between these bounds; one that gives way loses only what the ledger can rebuild."""
_AT_ONCE = 64
"""Slots that are filled in one go; then others have a turn."""
_EXPECT_S = 0.2
"""How often the fleet is told how much waits."""
_MAX_ACTIVATING = 8
_FRESH_S = 5.0
"""A job this young gets its first segment from the express process: somebody may be waiting for the first sound."""
_DISK_POLL_S = 1.0
_AGAIN_S = 1.0
"""How long after something went wrong with a job it is brought up again."""
_ENGINE_AGAIN_S = 5.0
"""How long after its engine could not be had; how often an engine that jobs wait for is asked again."""
_SETTLE_S = 5.0
"""What takes that are spoken get to be stored when the server stops."""

_EXPRESS = (Priority.INTERACTIVE,)
_BULK = (Priority.NORMAL, Priority.BATCH)


@dataclass(frozen=True, slots=True)
class SchedulerOptions:
    """Bounds of scheduling."""

    segment_failures: int = 3
    """Failed attempts after which a segment is quarantined and its job fails."""
    max_retries: int = 0
    """Whole-job retries after that."""
    interactive_chars: int = 1000
    normal_delay_s: float = 1800.0
    batch_delay_s: float = 43200.0
    min_free_bytes: int = 0
    """Below this much free disk nothing is started."""


def as_waiting(job: Job) -> Waiting:
    """What the scheduler keeps of a job."""
    return Waiting(
        job.id,
        job.owner,
        job.priority,
        job.created_at,
        job.text_chars,
        job.chars_done,
        job.status,
        job.request.engine,
        job.event_seq,
    )


def _engines(slots: Iterable[Slot]) -> frozenset[str]:
    """What can be spoken with in one of these."""
    return frozenset().union(*(slot.engines for slot in slots))


def _best(slots: Sequence[Slot], engine: str, voice: str) -> Slot:
    """Of these slots one that can speak with the engine: one that holds the voice, else the engine, else the first."""
    able = [slot for slot in slots if engine in slot.engines]
    for slot in able:
        if (engine, voice) in slot.warm:
            return slot
    return next((slot for slot in able if any(held == engine for held, _ in slot.warm)), able[0])


class Scheduler:
    """All unfinished jobs of this node. Used from one event loop."""

    def __init__(self, shop: Shop, options: SchedulerOptions) -> None:
        self._shop = shop
        self._options = options
        self.order = FairOrder(options.interactive_chars, options.normal_delay_s, options.batch_delay_s)
        self._since: dict[str, int] = {}
        """Newest event of each job when it came here: an end that was told before is that of another run."""
        self._adopted: set[str] = set()
        """Jobs of servers that have died, as long as nobody has looked what they left."""
        self._runs: dict[str, JobRun] = {}
        self._activating: dict[str, asyncio.Task[None]] = {}
        self._asking: set[str] = set()
        """Engines that get to be known, because jobs wait for them."""
        self._fresh: deque[tuple[float, str]] = deque(maxlen=_MIN_RUNS)
        self._busy: set[str] = set()
        self._hungry: dict[str, set[object]] = {}
        self._pulls: dict[str, int] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._speaking: set[asyncio.Task[None]] = set()
        self.attempts = Attempts(shop, options.segment_failures, options.max_retries, self)
        self.overview = Overview(self.attempts.pace)
        self._expecting: asyncio.TimerHandle | None = None
        self._kicking = False
        self._disk_full = False
        self._stopping = False

    # -- life ---------------------------------------------------------------------------------------------------

    async def start(self, adopted: Iterable[Waiting]) -> None:
        """Take over what the ledger says is unfinished and begin to work."""
        self._set_engines()
        self._take_over(adopted)
        await self._look_at_disk()
        self._shop.fleet.on_change(self._kick_soon)
        self._shop.patience.on_over(self.kick)
        self._shop.hub.listen(self._on_event)
        self._spawn(self._watch_disk())
        self.kick()

    async def stop(self) -> None:
        """Begin nothing more, settle what was spoken, drop what is held in memory. Call after the fleet has stopped."""
        self._stopping = True
        if self._expecting is not None:
            self._expecting.cancel()
        if self._speaking:
            await asyncio.wait(self._speaking, timeout=_SETTLE_S)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for run in list(self._runs.values()):
            await run.close()
        self._runs.clear()

    def pause(self) -> None:
        """Begin nothing more; segments in flight go on."""
        self._stopping = True

    async def waiting_for(self, job: Job) -> str | None:
        """Why nothing of the job can run now, or None when its turn will come."""
        if self._disk_full:
            return "disk space"
        return (
            self._shop.ledger.waiting_for()
            or self._shop.patience.waiting_for
            or self._shop.fleet.waiting_for(job.request.engine)
            or (None if self._shop.fleet.known(job.request.engine) else "engine starting")
        )

    @property
    def disk_full(self) -> bool:
        """Whether free space is below the watermark."""
        return self._disk_full

    # -- jobs come and go ---------------------------------------------------------------------------------------

    def submit(self, job: Job, head: Head = NO_HEAD) -> None:
        """A job was queued (or queued again); ``head`` is what is at hand of it."""
        if (held := self.at_hand(job.id)) and held.fence == job.fence:
            return  # it was adopted meanwhile
        if job.id in self.overview:
            self.forget(job.id)  # what is here is of the run before, whose end was not told yet
        self._enrol(as_waiting(job))
        self._fresh.append((self._shop.clock(), job.id))
        fleet, engine = self._shop.fleet, job.request.engine
        if self._active() < self._most_runs() and engine in fleet.engines() and fleet.known(engine):
            self._activate(job.id, job, head)
        self.kick()

    def adopt(self, jobs: Iterable[Waiting]) -> None:
        """Jobs that were another node's are this one's now."""
        self._take_over(jobs)
        self.kick()

    def _take_over(self, jobs: Iterable[Waiting]) -> None:
        for waiting in jobs:
            self._enrol(waiting)
            self._adopted.add(waiting.id)

    def begin_anew(self, own: Iterable[Waiting]) -> None:
        """The node has a new epoch, in which ``own`` are its jobs: go on with those of them that run in it, and forget what was before."""
        for job_id in list(self.overview):
            held = self.at_hand(job_id)
            if held is None or held.epoch != self._shop.ledger.epoch:
                self.forget(job_id)
        self.adopt(waiting for waiting in own if waiting.id not in self.overview)

    def at_hand(self, job_id: str) -> Job | None:
        """The job as it is known here, while it is in work."""
        run = self._runs.get(job_id)
        return run.job if run else None

    @property
    def engines(self) -> Collection[str]:
        """Those that run here."""
        return self._shop.fleet.engines()

    @property
    def spare_slots(self) -> int:
        """How many segments more could be spoken at once by a node that has nothing to do; else 0."""
        return 0 if len(self.overview) or self._disk_full else len(self._shop.fleet.free_slots())

    def forget(self, job_id: str) -> None:
        """The job ended or was cancelled: nothing more of it is given away."""
        self._strike(job_id)
        self._pulls.pop(job_id, None)
        if activating := self._activating.pop(job_id, None):
            activating.cancel()  # what it has read is out of date
        self._drop(job_id)
        self.kick()

    def changed(self, job: Job) -> None:
        """The priority of an unfinished job may be another than before."""
        if job.id not in self.overview:
            return
        if run := self._runs.get(job.id):
            run.newer(job)
        self.overview.put(as_waiting(job))
        self.order.set_priority(job.id, job.priority)
        self.kick()

    async def listen(self, job_id: str, index: int) -> None:
        """Somebody listens from segment ``index`` on: speak from there first."""
        if job_id in self.overview:
            self._pulls[job_id] = index
        if run := self._runs.get(job_id):
            await run.pull(index)

    def set_hungry(self, job_id: str, listener: object, hungry: bool) -> None:
        """``listener`` hears the edge of what is spoken and has little in hand (or no longer so)."""
        listeners = self._hungry.setdefault(job_id, set())
        (listeners.add if hungry else listeners.discard)(listener)
        self.order.set_urgent(job_id, bool(listeners))
        if not listeners:
            del self._hungry[job_id]
        else:
            self.kick()

    def _enrol(self, waiting: Waiting) -> None:
        self._since[waiting.id] = waiting.event_seq
        self.overview.put(waiting)
        self.order.add(
            waiting.id, waiting.owner, waiting.priority, waiting.created_at, waiting.chars_done, waiting.engine
        )
        self.order.set_urgent(waiting.id, waiting.id in self._hungry)

    def _strike(self, job_id: str) -> None:
        self.order.remove(job_id)
        self.overview.remove(job_id)
        self._since.pop(job_id, None)
        self._adopted.discard(job_id)

    # -- activation ---------------------------------------------------------------------------------------------

    def _active(self) -> int:
        return len(self._runs.keys() | self._activating.keys())

    def _activate(self, job_id: str, job: Job | None = None, head: Head = NO_HEAD) -> None:
        self.order.set_eligible(job_id, False)
        if job_id not in self._activating:
            self._activating[job_id] = self._spawn(self._bring_up(job_id, job, head))

    async def _bring_up(self, job_id: str, job: Job | None, head: Head) -> None:
        """Run the job, as it stands in the ledger unless it was just read."""
        run: JobRun | None = None
        try:
            job = job or await self._shop.ledger.get_job(job_id)
            if job is None or job.deleted or job.status.is_terminal or job.epoch != self._shop.ledger.epoch:
                self._strike(job_id)
            elif job.status is JobStatus.RUNNING and (failed := await self._failed_of(job)):
                self._spawn(self.attempts.give_up(job, failed))
            else:
                engine = (await self._shop.fleet.describe(job.request.engine)).info
                run = JobRun(job, self._shop, engine, partial(self._on_ready, job_id), self._on_stale, head)
                self._runs[job_id] = run
                await run.start(self._pulls.get(job_id))
        except (
            NotFound,
            SynthesisError,
            Unavailable,
        ) as error:  # it waits, visibly, until that engine can be had again
            log.warning("job %s waits for its engine: %s", job_id, error)
            self._spawn(self._start_over(job_id, run, _ENGINE_AGAIN_S))
        except Exception:  # the ledger could not be read, perhaps: the job must not be forgotten
            log.exception("job %s could not be brought up; trying again", job_id)
            self._drop(job_id)
            self._spawn(self._start_over(job_id, run))
        finally:
            if self._activating.get(job_id) is asyncio.current_task():
                del self._activating[job_id]
        self.kick()

    async def _failed_of(self, job: Job) -> SegmentState | None:
        """The segment that failed for good before a server died that had not yet said so of the job. Looks once: it is a long look."""
        if job.id not in self._adopted:
            return None
        found = await self._shop.ledger.segments(job.id, 0, 1, SegmentStatus.FAILED)
        self._adopted.discard(job.id)
        return found[0] if found else None

    def _most_runs(self) -> int:
        return min(max(_MIN_RUNS, len(self._shop.fleet.slots())), _MAX_RUNS)

    def _has_room(self) -> bool:
        """Whether one more job can be activated. Of the idle ones that whose turn is furthest away gives way."""
        if self._active() < self._most_runs():
            return True
        idle = [job_id for job_id, run in self._runs.items() if run.has_ready() and not run.in_flight]
        if not idle:
            return False
        job_id = max(idle, key=self.order.rank)
        self._drop(job_id)
        self.order.set_eligible(job_id, True)  # its turn brings it up again
        return True

    def _drop(self, job_id: str) -> None:
        run = self._runs.pop(job_id, None)
        if run:
            run.closed = True
            self._spawn(run.close())

    def _on_stale(self, run: JobRun) -> None:
        if self._runs.get(run.job.id) is run:
            self._drop(run.job.id)
            self.order.set_eligible(run.job.id, False)
            self._spawn(self._start_over(run.job.id, run))

    async def _start_over(self, job_id: str, run: JobRun | None, after_s: float = _AGAIN_S) -> None:
        """Bring the job up again in a moment, once nothing of its old run is in flight and the ledger knows."""
        settled = run is None
        await asyncio.sleep(after_s)
        while not settled and run and job_id in self.overview and self._runs.get(job_id) in (None, run):
            await run.resting.wait()
            try:
                await self._release(run)
                settled = True
            except Exception:  # whatever it was, the job must not be forgotten
                log.exception("job %s could not be settled; trying again", job_id)
                await asyncio.sleep(_AGAIN_S)
        self.order.set_eligible(job_id, True)
        self.kick()

    async def _release(self, run: JobRun) -> None:
        """Give back what the ledger believes to be in flight of a run that is no more."""
        ledger = self._shop.ledger
        for state in await ledger.segments(run.job.id, status=SegmentStatus.RUNNING):
            await ledger.release_segment(run.job.fence, state.segment.index, state.attempt)

    def _on_ready(self, job_id: str) -> None:
        run = self._runs.get(job_id)
        if run and run.has_ready():
            self.order.set_eligible(job_id, True)
            self.kick()

    # -- dispatch -----------------------------------------------------------------------------------------------

    def kick(self) -> None:
        """Fill every free slot that something can be found for."""
        if self._stopping or self._disk_full or self._shop.patience.waiting_for or self._shop.ledger.waiting_for():
            return
        fleet = self._shop.fleet
        self._set_engines()
        free = list(islice((slot for slot in fleet.free_slots() if slot.id not in self._busy), _AT_ONCE))
        some_left = len(free) == _AT_ONCE
        express = [slot for slot in free if slot.express]
        bulk = [slot for slot in free if not slot.express]
        while (engines := _engines(express)) and (found := self._find(_EXPRESS, engines) or self._find_fresh(engines)):
            self._give(express, *found)
        elsewhere = _engines(fleet.express_slots()) if bulk else frozenset[str]()
        while (engines := _engines(bulk)) and (found := self._find_bulk(engines, elsewhere)):
            self._give(bulk, *found)
        if some_left and not bulk:
            self._kick_soon()
        if self._expecting is None:
            self._expecting = asyncio.get_running_loop().call_later(_EXPECT_S, self._expect)

    def _set_engines(self) -> None:
        """Give turns to jobs of engines that are known; one that is not is asked, once for all jobs that wait for it."""
        fleet = self._shop.fleet
        engines = fleet.engines()
        known = frozenset(engine for engine in engines if fleet.known(engine))
        self.order.set_engines(known)
        for engine in engines if len(known) < len(engines) else ():
            if engine not in known and engine not in self._asking and self.order.has_jobs_of(engine):
                self._asking.add(engine)
                self._spawn(self._get_to_know(engine))

    async def _get_to_know(self, engine: str) -> None:
        try:
            await self._shop.fleet.describe(engine)
        except Exception as error:  # noqa: BLE001 - whatever it was, its jobs wait, visibly, until it can be had
            if self._stopping:
                return
            log.warning("jobs wait for engine %s: %s", engine, error)
            await asyncio.sleep(_ENGINE_AGAIN_S)
        finally:
            self._asking.discard(engine)
        self.kick()

    def _kick_soon(self) -> None:
        """Once for all slots that become free in one turn of the loop."""
        if not self._kicking:
            self._kicking = True
            asyncio.get_running_loop().call_soon(self._kick_now)

    def _kick_now(self) -> None:
        self._kicking = False
        self.kick()

    def _expect(self) -> None:
        """Tell the fleet about how much waits."""
        self._expecting = None
        if not self._stopping:
            ready = sum(run.ready for run in self._runs.values())
            self._shop.fleet.expect(ready + max(len(self.order) - len(self._runs), 0))

    def _find_bulk(self, engines: frozenset[str], express: frozenset[str]) -> tuple[JobRun, SegmentState] | None:
        """A segment for a bulk slot: work that somebody waits for comes first where no express slot can take it, else last."""
        here = engines - express
        return (
            (self._find(_EXPRESS, here) if here else None)
            or self._find(_BULK, engines)
            or self._find(_EXPRESS, engines & express)
        )

    def _find(self, lanes: Sequence[Priority], engines: frozenset[str]) -> tuple[JobRun, SegmentState] | None:
        while job_id := self.order.pick(lanes, self._shop.clock(), engines):
            run = self._runs.get(job_id)
            if run is None:
                if len(self._activating) >= _MAX_ACTIVATING or not self._has_room():
                    return None
                self._activate(job_id)
                continue
            state = run.next_ready()
            if state is not None:
                return run, state
            self.order.set_eligible(job_id, False)
        return None

    def _find_fresh(self, engines: frozenset[str]) -> tuple[JobRun, SegmentState] | None:
        now = self._shop.clock()
        for _ in range(len(self._fresh)):
            submitted, job_id = self._fresh[0]
            run = self._runs.get(job_id)
            if run and run.job.status is JobStatus.QUEUED and not run.in_flight and now - submitted < _FRESH_S:
                if run.job.request.engine in engines and (state := run.next_ready()):
                    self._fresh.popleft()
                    return run, state
                self._fresh.rotate(-1)  # still being planned, or its engine is busy
            elif job_id in self._activating and now - submitted < _FRESH_S:
                self._fresh.rotate(-1)
            else:
                self._fresh.popleft()
        return None

    def _give(self, slots: list[Slot], run: JobRun, state: SegmentState) -> None:
        slot = _best(
            slots, run.job.request.engine, state.segment.voice or run.job.request.reference or run.job.request.voice
        )
        slots.remove(slot)
        self._busy.add(slot.id)
        self.order.charge(run.job.id, len(state.segment.text))
        if slot.express and state.segment.index == 0:
            run.hold()
        if not run.has_ready():
            self.order.set_eligible(run.job.id, False)
        task = self._spawn(self._speak(slot, run, state))
        self._speaking.add(task)
        task.add_done_callback(self._speaking.discard)

    async def _speak(self, slot: Slot, run: JobRun, state: SegmentState) -> None:
        with ExitStack() as held:  # closed once, early or late: behind an early close the slot is another segment's
            held.callback(self._free, slot)
            await self.attempts.speak(slot, run, state, held.close)

    def _free(self, slot: Slot) -> None:
        self._busy.discard(slot.id)
        self._kick_soon()

    def _spawn(self, work: Coroutine[object, object, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work, context=Context())  # whoever asked for it, it is about other jobs too
        self._tasks.add(task)
        task.add_done_callback(self._reap)
        return task

    def _reap(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()):
            log.error("a scheduling step failed", exc_info=error)

    # -- news ---------------------------------------------------------------------------------------------------

    def _on_event(self, event: Event) -> None:
        if event.type in END_EVENTS:
            if event.seq > self._since.get(event.job_id, 0):  # events may come late, behind the answer of a retry
                self.forget(event.job_id)
        elif event.type == "job.updated" and event.job_id in self.overview:  # perhaps on another node
            self._spawn(self._look_again(event.job_id))

    async def _look_again(self, job_id: str) -> None:
        job = await self._shop.patiently(self._shop.ledger.get_job, job_id)
        if job and not job.status.is_terminal:
            self.changed(job)

    def updated(self, job: Job) -> None:
        """The ledger holds a newer state of this job."""
        if job.id in self.overview and not job.status.is_terminal:
            self.overview.put(as_waiting(job))

    # -- disk ---------------------------------------------------------------------------------------------------

    async def _watch_disk(self) -> None:
        while True:
            await asyncio.sleep(_DISK_POLL_S)
            try:
                await self._look_at_disk()
            except OSError as error:
                log.warning("free disk space cannot be read: %s", error)

    async def _look_at_disk(self) -> None:
        free = [await store.free_bytes() for store in (self._shop.takes, self._shop.results)]
        full = any(space is not None and space < self._options.min_free_bytes for space in free)
        if full != self._disk_full:
            self._disk_full = full
            log.warning("disk space is %s", "below the watermark: work pauses" if full else "back: work goes on")
            self.kick()
