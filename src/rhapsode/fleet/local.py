"""The fleet of one machine: worker processes, one slot each, one segment at a time in each.

Because a process holds one segment only, a death is charged to exactly that segment. A process that ends before it was given
one charges nobody: its slot is out of service until a new one is up, with growing pauses between tries.
"""

import asyncio
import logging
import sys
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextvars import Context
from dataclasses import dataclass, field, fields, replace
from enum import Enum, auto
from pathlib import Path
from typing import Any, TypeVar

from rhapsode.errors import EngineError, EngineUnloaded, NotFound, RhapsodeError, SynthesisError, Unavailable
from rhapsode.fleet.base import EngineChoice, EngineDescription, EngineSetup, Rendered, Slot, SynthesisTask
from rhapsode.fleet.process import ProcessOptions, WorkerProcess
from rhapsode.fleet.protocol import Start
from rhapsode.fleet.seat import Seat, State

_log = logging.getLogger(__name__)

T = TypeVar("T")

_EXPRESS_NICE = 3
"""Behind the server's event loop, which must answer while this worker has all cores, and far ahead of the bulk processes."""
_STOP_S = 2.0
"""How long an idle worker may take to exit before it is killed."""


@dataclass(frozen=True, slots=True)
class Layout:
    """How many worker processes of which kind."""

    bulk_slots: int
    """Niced processes for the mass of segments."""
    bulk_threads: int
    """Threads of each."""
    express_threads: int | None
    """Threads of the process at normal priority; None: no such process."""


def default_layout(cpu_count: int) -> Layout:
    """What is fastest on a CPU (FACTS.md): a single-threaded bulk process per core, and an express process that may use all."""
    return Layout(bulk_slots=cpu_count, bulk_threads=1, express_threads=cpu_count)


@dataclass(frozen=True, slots=True)
class LocalFleetOptions:
    """How a local fleet is laid out. Times in seconds."""

    engine: str
    voices_dir: Path
    model_cache: Path
    bulk_slots: int
    bulk_threads: int = 1
    express_threads: int | None = None
    """None: no express process."""
    device: str = "auto"
    default_voice: str | None = None
    """Loaded ahead of need; None: the engine's first."""
    clips_dir: Path | None = None
    others: tuple[str, ...] = ()
    setups: Mapping[str, EngineSetup] = field(default_factory=dict)
    interpreters: Callable[[], Mapping[str, Path]] = dict
    """Interpreters of engines that have an environment of their own, by engine; asked at each start of a worker."""
    nice: int = 10
    """Of the bulk processes."""
    python: str = sys.executable
    """Interpreter of the workers; it must have this package and the engine."""
    start_timeout_s: float = 120.0
    """For importing the engine, and again for loading a voice."""
    deadline_base_s: float = 30.0
    deadline_per_char_s: float = 1.0
    """A segment may take the base and this for each of its characters."""
    heartbeat_s: float = 1.0
    heartbeat_timeout_s: float = 20.0
    memory_cap_bytes: int | None = None
    """A process that is larger after a segment is replaced; None: no cap."""
    idle_unload_s: float | None = None
    """A process without work for so long ends, and starts again on demand; None: never."""
    backoff_base_s: float = 0.5
    backoff_max_s: float = 30.0
    """The pause before a worker is started anew: none after the first death, then from base to max, doubling."""


class _Phase(Enum):
    """What the fleet as a whole is."""

    NEW = auto()
    UP = auto()
    UNLOADED = auto()
    STOPPED = auto()


class LocalFleet:
    """Worker processes on this machine. Implements :class:`rhapsode.fleet.base.Fleet`."""

    def __init__(self, options: LocalFleetOptions) -> None:
        self._options = options
        self._phase = _Phase.NEW
        self._seats = {f"bulk-{n}": Seat(f"bulk-{n}", options.bulk_threads, False) for n in range(options.bulk_slots)}
        if options.express_threads is not None:
            self._seats = {"express": Seat("express", options.express_threads, True)} | self._seats
        if not self._seats:
            raise ValueError("a fleet needs at least one slot")
        self.deaths = 0
        """Processes that ended without being told to, since the start."""
        self._callbacks: list[Callable[[], None]] = []
        self._description: EngineDescription | None = None
        self._candidate: WorkerProcess | None = None
        self._tasks: set[asyncio.Task[Any]] = set()
        self._monitor: asyncio.Task[None] | None = None
        self._lock = asyncio.Lock()

    # -- looking ------------------------------------------------------------------------------------------------

    def on_change(self, callback: Callable[[], None]) -> None:
        """See the contract."""
        self._callbacks.append(callback)

    def free_slots(self) -> Sequence[Slot]:
        """See the contract."""
        if self._phase is not _Phase.UP:
            return []
        return [self._slot(seat) for seat in self._seats.values() if seat.state in {State.COLD, State.READY}]

    def slots(self) -> Sequence[Slot]:
        """See the contract."""
        return [self._slot(seat) for seat in self._seats.values()]

    def _slot(self, seat: Seat) -> Slot:
        engine = self._options.engine
        warm = seat.process.warm if seat.process else frozenset()
        return Slot(seat.id, seat.express, frozenset({engine}), frozenset((engine, voice) for voice in warm))

    def engines(self) -> Sequence[str]:
        """See the contract."""
        return [self._options.engine]

    def known(self, engine: str) -> EngineDescription | None:
        """See the contract."""
        return self._description if engine == self._options.engine else None

    def processes(self) -> Mapping[str, int]:
        """Process ids of the workers that run now, by slot id."""
        return {seat.id: seat.process.pid for seat in self._seats.values() if seat.process is not None}

    def waiting_for(self, engine: str | None = None) -> str | None:
        """See the contract."""
        if engine not in (None, self._options.engine):
            return f"engine {engine}"
        match self._phase:
            case _Phase.NEW:
                return "engine starting"
            case _Phase.UNLOADED:
                return "engine unloaded"
            case _Phase.STOPPED:
                return "server stopping"
        if any(seat.state is not State.RESTARTING for seat in self._seats.values()):
            return None
        cause = next((seat.cause for seat in self._seats.values() if seat.cause), None)
        return f"engine restarting: {cause}" if cause else "engine starting"

    async def describe(self, engine: str | None = None, refresh: bool = False) -> EngineDescription:
        """See the contract. While no worker can be had, the last answer is given again."""
        if engine not in (None, self._options.engine):
            raise NotFound(f"there is no engine {engine!r}; there is {self._options.engine}", "engine")
        if self._description is not None and (not refresh or self._phase is not _Phase.UP):
            return self._description
        if self._phase is not _Phase.UP:
            raise Unavailable(self.waiting_for() or "engine starting")
        try:
            return await self._describe_anew()
        except (SynthesisError, Unavailable) as error:
            if self._description is None:
                raise
            _log.warning("the engine cannot be asked for its voices now: %s", error)
        return self._description

    async def _describe_anew(self) -> EngineDescription:
        live = [s.process for s in self._seats.values() if s.process and s.process.ready and not s.outdated]
        if live:
            return await self._ask_description(next((process for process in live if process.idle), live[0]))
        cold = next((seat for seat in self._seats.values() if seat.state is State.COLD), None)
        if cold is None:
            raise Unavailable(self.waiting_for() or "engine starting")
        cold.state = State.BUSY

        async def start_and_ask() -> EngineDescription:
            try:
                return await self._ask_description(await self._process_of(cold))
            finally:
                self._settle(cold)

        return await asyncio.shield(self._spawn(start_and_ask()))

    async def _ask_description(self, process: WorkerProcess) -> EngineDescription:
        self._description = await _described(process)
        return self._description

    # -- speaking -----------------------------------------------------------------------------------------------

    async def synthesise(self, slot_id: str, task: SynthesisTask) -> Rendered:
        """See the contract. When the caller is cancelled, the slot stays busy until the worker has answered."""
        self._require_up()
        seat = self._seats.get(slot_id)
        if seat is None or seat.state not in {State.COLD, State.READY}:
            raise Unavailable(f"slot {slot_id} is not free")
        seat.state = State.BUSY
        seat.speaking = self._spawn(self._speak(seat, task))
        return await asyncio.shield(seat.speaking)

    async def _speak(self, seat: Seat, task: SynthesisTask) -> Rendered:
        try:
            process = await self._process_of(seat)
            if task.reference is None:
                await process.load(task.voice)
            deadline_s = self._options.deadline_base_s + self._options.deadline_per_char_s * len(task.text)
            rendered = await process.synthesise(task, deadline_s)
        except EngineError:
            seat.deaths = 0
            raise
        else:
            seat.deaths = 0
            return Rendered(rendered.take, rendered.data)
        finally:
            self._settle(seat)

    async def _process_of(self, seat: Seat) -> WorkerProcess:
        """The seat's process, started when there is none.

        Raises:
            Unavailable: It does not start; that is no segment's fault.
        """
        self._require_up()
        if seat.process is not None:
            return seat.process
        try:
            process = self._launch(seat)
            await process.begin()
        except SynthesisError as error:
            raise Unavailable(f"engine restarting: {error}") from error
        return process

    def _settle(self, seat: Seat) -> None:
        """The segment in hand is over: make the seat free, or bring up a new process behind it."""
        cap = self._options.memory_cap_bytes
        seat.speaking = None
        if self._phase is not _Phase.UP:
            seat.state = State.COLD
        elif seat.outdated:
            self._replace(seat, seat.spare)
        elif seat.process is None:
            self._restart(seat)
        elif cap is not None and seat.process.rss_bytes > cap:
            _log.info("worker %s holds %d bytes, more than %d: replaced", seat.id, seat.process.rss_bytes, cap)
            self._replace(seat, None)
        else:
            self._free(seat)

    def _require_up(self) -> None:
        if self._phase is _Phase.UNLOADED:
            raise EngineUnloaded("the engine is unloaded")
        if self._phase is not _Phase.UP:
            raise Unavailable(self.waiting_for() or "engine starting")

    # -- life of a seat -----------------------------------------------------------------------------------------

    def _launch(self, seat: Seat) -> WorkerProcess:
        try:
            seat.process = self._new_process(seat, self._options)
        except EngineError as error:
            self._count_death(seat, str(error))
            raise
        return seat.process

    def _new_process(self, seat: Seat, options: LocalFleetOptions) -> WorkerProcess:
        start = Start(
            id=0,
            engine=options.engine,
            threads=seat.threads,
            voices_dir=str(options.voices_dir),
            model_cache=str(options.model_cache),
            device=options.device,
            nice=min(_EXPRESS_NICE, options.nice) if seat.express else options.nice,
            heartbeat_s=options.heartbeat_s,
            clips_dir=str(options.clips_dir) if options.clips_dir else None,
        )
        python = _interpreter(options, options.engine)
        how = ProcessOptions(seat.id, python, start, options.start_timeout_s, options.heartbeat_timeout_s)

        def gone(process: WorkerProcess) -> None:
            if seat.process is process:
                seat.process = None
                self._count_death(seat, process.cause)
                if seat.state is State.READY:
                    self._restart(seat)

        return WorkerProcess(how, gone)

    def _count_death(self, seat: Seat, cause: str) -> None:
        self.deaths += 1
        seat.deaths += 1
        seat.cause = cause

    def _free(self, seat: Seat) -> None:
        seat.state = State.READY
        seat.idle_since = asyncio.get_running_loop().time()
        self._notify()

    def _replace(self, seat: Seat, by: WorkerProcess | None) -> None:
        """Put ``by``, or a new process, behind the seat; the old one ends."""
        if seat.process is not None:
            self._retire(seat.process)
        seat.process, seat.spare, seat.outdated = None, None, False
        if by is not None and not by.exited.is_set():
            seat.process = by
            self._free(seat)
        else:
            self._restart(seat)

    def _restart(self, seat: Seat) -> None:
        """Bring up a process behind the seat, after a pause when it has died again and again."""
        seat.state = State.RESTARTING
        pause = 0.0
        if seat.deaths > 1:
            pause = min(self._options.backoff_base_s * 2.0 ** min(seat.deaths - 2, 30), self._options.backoff_max_s)
        seat.timer = asyncio.get_running_loop().call_later(pause, self._end_pause, seat)
        self._notify()

    def _end_pause(self, seat: Seat) -> None:
        seat.timer = None
        self._spawn(self._bring_up(seat))

    async def _bring_up(self, seat: Seat, begun: WorkerProcess | None = None) -> None:
        """Make the seat ready with a process that holds the default voice."""
        try:
            process = begun or await self._process_of(seat)
            await self._preload(process)
        except EngineError as error:
            _log.warning("worker %s: %s", seat.id, error)
        except (SynthesisError, Unavailable):
            pass  # the process is gone, and the log says why
        if self._phase is not _Phase.UP:
            seat.state = State.COLD
        elif seat.process is None:
            self._restart(seat)
        else:
            self._free(seat)

    async def _preload(self, process: WorkerProcess) -> None:
        await _load_default(process, self._options.default_voice, await self.describe())

    def _retire(self, process: WorkerProcess) -> None:
        self._spawn(process.stop(_STOP_S, Unavailable("the worker was replaced")))

    # -- life of the fleet --------------------------------------------------------------------------------------

    async def start(self) -> None:
        """See the contract. The default voice is loaded after this has returned."""
        async with self._lock:
            first = next(iter(self._seats.values()))
            process, self._description = await self._try_candidate(first, self._options, load=False)
            first.process = process
            self._go_up()
            first.state = State.RESTARTING
            self._spawn(self._bring_up(first, process))
            for seat in self._seats.values():
                if seat is not first:
                    self._restart(seat)

    async def load(self, choice: EngineChoice | None = None) -> None:
        """See the contract. Loaded already: every process is replaced by a new one, after the segment it holds."""
        async with self._lock:
            first = next(iter(self._seats.values()))
            options = self._options
            if choice is not None:
                options = replace(options, **{f.name: getattr(choice, f.name) for f in fields(choice)})
            process, self._description = await self._try_candidate(first, options, load=True)
            self._options = options
            self._go_up()
            for seat in self._seats.values():
                self._renew(seat, process if seat is first else None)

    async def _try_candidate(
        self, seat: Seat, options: LocalFleetOptions, load: bool
    ) -> tuple[WorkerProcess, EngineDescription]:
        """Start a process that could serve ``seat``, next to what runs; what it says of itself.

        Raises:
            EngineError: It does not start, describe itself, or load the default voice.
            Unavailable: The fleet is going down.
        """
        if self._phase is _Phase.STOPPED:
            raise Unavailable("server stopping")
        process = self._candidate = self._new_process(seat, options)
        try:
            await process.begin()
            description = await _described(process)
            if load:
                await _load_default(process, options.default_voice, description)
        except BaseException as error:
            self._spawn(process.end(Unavailable("the worker was given up")))
            if isinstance(error, SynthesisError):
                raise EngineError(str(error)) from error
            raise
        finally:
            self._candidate = None
        return process, description

    def _go_up(self) -> None:
        self._phase = _Phase.UP
        if self._monitor is None:
            self._monitor = asyncio.get_running_loop().create_task(self._watch(), name="fleet monitor")

    def _renew(self, seat: Seat, spare: WorkerProcess | None) -> None:
        """Have a new process behind the seat, ``spare`` if there is one, as soon as its segment is over."""
        seat.deaths, seat.cause = 0, ""
        if seat.state is State.BUSY:
            if seat.spare is not None:
                self._retire(seat.spare)
            seat.outdated, seat.spare = True, spare
        elif seat.state is State.RESTARTING and seat.timer is None:
            if spare is not None:  # one is coming up just now
                self._retire(spare)
        else:
            if seat.timer is not None:
                seat.timer.cancel()
                seat.timer = None
            self._replace(seat, spare)

    async def unload(self) -> None:
        """See the contract."""
        async with self._lock:
            if self._phase is _Phase.UP:
                self._phase = _Phase.UNLOADED
                await self._end_all(EngineUnloaded("the engine was unloaded"))

    async def stop(self, grace_s: float) -> None:
        """See the contract."""
        self._phase = _Phase.STOPPED
        stopping = Unavailable("server stopping")
        if self._candidate is not None:
            self._candidate.kill(stopping)
        async with self._lock:
            speaking = [seat.speaking for seat in self._seats.values() if seat.speaking is not None]
            if speaking:
                await asyncio.wait(speaking, timeout=grace_s)
            await self._end_all(stopping)
            if self._monitor is not None:
                self._monitor.cancel()
                await asyncio.gather(self._monitor, return_exceptions=True)
                self._monitor = None

    async def _end_all(self, verdict: RhapsodeError) -> None:
        """End every process; what they hold fails with ``verdict``."""
        for seat in self._seats.values():
            if seat.timer is not None:
                seat.timer.cancel()
                seat.timer = None
            for process in (seat.process, seat.spare):
                if process is None:
                    continue
                if process.idle:
                    self._spawn(process.stop(_STOP_S, verdict))
                else:
                    process.kill(verdict)
            seat.process = seat.spare = None
            seat.outdated = False
        self._notify()
        if self._tasks:
            await asyncio.wait(self._tasks)
        for seat in self._seats.values():
            seat.state = State.COLD
            seat.deaths, seat.cause = 0, ""

    async def _watch(self) -> None:
        """Look after heartbeats and idle processes, for ever."""
        loop = asyncio.get_running_loop()
        idle_s = self._options.idle_unload_s
        tick = min(self._options.heartbeat_s, idle_s or self._options.heartbeat_s) / 2
        while True:
            before = loop.time()
            await asyncio.sleep(tick)
            now = loop.time()
            for seat in self._seats.values():
                if seat.process is None:
                    continue
                seat.process.check_heartbeat(forgive=now - before > 2 * tick + 0.5)
                if idle_s and seat.state is State.READY and seat.process.idle and now - seat.idle_since >= idle_s:
                    self._retire(seat.process)
                    seat.process, seat.state = None, State.COLD

    def _notify(self) -> None:
        for callback in self._callbacks:
            callback()

    def _spawn(self, work: Coroutine[object, object, T]) -> asyncio.Task[T]:
        """Run ``work`` to its end, whoever waits for it or not. What it logs is about no job or request."""
        task = asyncio.get_running_loop().create_task(work, context=Context())
        self._tasks.add(task)
        task.add_done_callback(self._task_done)
        return task

    def _task_done(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        error = None if task.cancelled() else task.exception()
        if error is not None and not isinstance(error, RhapsodeError):
            _log.error("the fleet failed", exc_info=error)


def _interpreter(options: LocalFleetOptions, engine: str) -> str:
    """What runs the engine: the interpreter that the configuration names for it, that of its environment, or everybody's."""
    setup = options.setups.get(engine)
    if setup is not None and setup.python:
        return setup.python
    own = options.interpreters().get(engine)
    return str(own) if own else options.python


async def _described(process: WorkerProcess) -> EngineDescription:
    answer = await process.describe()
    return EngineDescription(answer.info, answer.voices)


async def _load_default(process: WorkerProcess, wanted: str | None, description: EngineDescription) -> None:
    """Load the voice that is wanted, or the engine's first when there is no such voice."""
    voices = description.voices
    voice = next((v for v in voices if wanted in (v.id, v.filename)), voices[0] if voices else None)
    if voice is not None:
        await process.load(voice.id)
