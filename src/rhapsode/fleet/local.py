"""The fleet of one machine: slots with worker processes, one segment at a time in each.

Because a process holds one segment only, a death is charged to exactly that segment. A process that ends before it was given
one charges nobody: its engine is out of service in that slot until a new one is up, with growing pauses between tries.

A slot can have a process of each engine, of which one speaks at a time, so that the cores are never shared by more than was measured
to be good. Those of the active engine come up by themselves; others start on demand and end when they are idle, or when room is needed.
"""

import asyncio
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields, replace

from rhapsode.errors import EngineError, EngineUnloaded, NotFound, RhapsodeError, SynthesisError, Unavailable
from rhapsode.fleet.base import EngineChoice, EngineDescription, Rendered, Slot, SynthesisTask
from rhapsode.fleet.common import FleetLife, Phase
from rhapsode.fleet.crew import Member, crew, described, load_default, to_end
from rhapsode.fleet.layout import LocalFleetOptions, process_options
from rhapsode.fleet.process import WorkerProcess
from rhapsode.fleet.seat import Place, Seat, State

_log = logging.getLogger(__name__)


_STOP_S = 2.0
"""How long an idle worker may take to exit before it is killed."""
_ASIDE_NICE = 19
_ASK_AGAIN_S = 30.0
"""How long an engine that could not be asked is not asked again."""


class LocalFleet(FleetLife):
    """Worker processes on this machine. Implements :class:`rhapsode.fleet.base.Fleet`."""

    def __init__(self, options: LocalFleetOptions) -> None:
        super().__init__()
        self._options = options
        self._places = [Place(f"bulk-{n}", options.bulk_threads, False) for n in range(options.bulk_slots)]
        if options.express_threads is not None:
            self._places.insert(0, Place("express", options.express_threads, True))
        if not self._places:
            raise ValueError("a fleet needs at least one slot")
        self._crew = crew(options.engine, options.others, options.setups)
        self.deaths = 0
        """Processes that ended without being told to, since the start."""
        self._candidates: set[WorkerProcess] = set()
        self._asking: dict[str, asyncio.Task[EngineDescription]] = {}
        self._monitor: asyncio.Task[None] | None = None
        self._lock = asyncio.Lock()

    # -- looking ------------------------------------------------------------------------------------------------

    def free_slots(self) -> Sequence[Slot]:
        """See the contract."""
        if self._phase is not Phase.UP:
            return []
        free = (self._slot(place) for place in self._places if not place.busy)
        return [slot for slot in free if slot.engines]

    def slots(self) -> Sequence[Slot]:
        """See the contract."""
        return [self._slot(place) for place in self._places]

    def processes(self) -> Mapping[str, int]:
        """Process ids of the workers that run now, by slot id; those of other engines than the active one as ``slot/engine``."""
        return {
            seat.place.id if seat.engine == self._options.engine else str(seat): seat.process.pid
            for seat in self._seats()
            if seat.process is not None
        }

    def engines(self) -> Sequence[str]:
        """See the contract."""
        return list(self._crew)

    def known(self, engine: str) -> EngineDescription | None:
        """See the contract."""
        member = self._crew.get(engine)
        return member.description if member else None

    def express_slots(self) -> Sequence[Slot]:
        """See the contract."""
        return [slot for slot in self.slots() if slot.express]

    def expect(self, segments: int) -> None:
        """See the contract; a machine has the cores that it has."""

    def waiting_for(self, engine: str | None = None) -> str | None:
        """See the contract."""
        member = self._crew.get(engine or self._options.engine)
        if member is None:
            return f"engine {engine}"
        if self._phase is not Phase.UP:
            return str(self._phase.value)
        seats = [place.seats.get(member.name) for place in member.places(self._places)]
        if any(seat is None or seat.state is not State.RESTARTING for seat in seats):
            return f"engine {member.name}: {member.failure}" if member.failure and not member.description else None
        cause = next((seat.cause for seat in seats if seat and seat.cause), None)
        return f"engine restarting: {cause}" if cause else "engine starting"

    def _seats(self, engine: str | None = None) -> Iterator[Seat]:
        """All seats, or those of one engine."""
        for place in self._places:
            yield from (seat for name, seat in place.seats.items() if engine in (None, name))

    def _slot(self, place: Place) -> Slot:
        return place.slot(frozenset(m.name for m in self._crew.values() if place in m.places(self._places)))

    # -- describing ---------------------------------------------------------------------------------------------

    async def describe(self, engine: str | None = None, refresh: bool = False) -> EngineDescription:
        """See the contract. While no worker can be had, the last answer is given again."""
        member = self._crew.get(engine or self._options.engine)
        if member is None:
            raise NotFound(f"there is no engine {engine!r} here; there are {', '.join(self._crew)}", "engine")
        if member.description is not None and (not refresh or self._phase is not Phase.UP):
            return member.description
        if self._phase is not Phase.UP:
            raise Unavailable(self.waiting_for() or "engine starting")
        if member.failure and not refresh and asyncio.get_running_loop().time() < member.retry_at:
            raise EngineError(member.failure)
        try:
            return await self._describe_anew(member)
        except (SynthesisError, Unavailable) as error:
            if member.description is None:
                raise
            _log.warning("engine %s cannot be asked for its voices now: %s", member.name, error)
        return member.description

    async def _describe_anew(self, member: Member, keep: bool = True) -> EngineDescription:
        """Ask a process that is there, or start one to ask it, which is kept, or else in nobody's way."""
        live = [s.process for s in self._seats(member.name) if s.process and s.process.ready and not s.outdated]
        if live:
            member.description = await described(next((process for process in live if process.idle), live[0]))
            return member.description
        asking = self._asking.get(member.name)
        if asking is None:
            asking = self._asking[member.name] = self._spawn(self._introduce(member, keep))
            asking.add_done_callback(lambda _: self._asking.pop(member.name, None))
        member.description = await asyncio.shield(asking)
        return member.description

    async def _introduce(self, member: Member, keep: bool) -> EngineDescription:
        cold = [p for p in member.places(self._places) if p.seat(member.name).state is State.COLD]
        if not cold:
            raise Unavailable(self.waiting_for(member.name) or "engine starting")
        seat = cold[0 if keep else -1].seat(member.name)
        options = self._options if keep else replace(self._options, nice=_ASIDE_NICE)
        try:
            process, description = await self._try_candidate(seat, options, member, load=False)
        except EngineError as error:
            member.failure, member.retry_at = str(error), asyncio.get_running_loop().time() + _ASK_AGAIN_S
            raise
        member.failure = ""
        if keep and self._crew.get(member.name) is member and self._phase is Phase.UP and seat.state is State.COLD:
            seat.process = process
            self._free(seat)
        else:
            self._retire(process)
        return description

    async def _introduce_others(self) -> None:
        """Get to know the engines that may be asked for, one after another."""
        for member in list(self._crew.values()):
            if self._phase is Phase.UP and member.name != self._options.engine:
                try:
                    await self._describe_anew(member, keep=False)
                except (SynthesisError, Unavailable) as error:
                    if self._phase is Phase.UP:
                        _log.warning("engine %s cannot be had: %s", member.name, error)

    # -- speaking -----------------------------------------------------------------------------------------------

    async def synthesise(self, slot_id: str, task: SynthesisTask) -> Rendered:
        """See the contract. When the caller is cancelled, the slot stays busy until the worker has answered."""
        self._require_up()
        place = next((place for place in self._places if place.id == slot_id), None)
        if place is None or place.busy or task.engine not in self._slot(place).engines:
            raise Unavailable(f"slot {slot_id} is not free for engine {task.engine}")
        seat = place.seat(task.engine)
        seat.state = State.BUSY
        place.speaking = self._spawn(self._speak(seat, task))
        return await asyncio.shield(place.speaking)

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
            return rendered
        finally:
            seat.place.speaking = None
            self._settle(seat)

    async def _process_of(self, seat: Seat) -> WorkerProcess:
        """The seat's process, started when there is none.

        Raises:
            Unavailable: It does not start; that is no segment's fault.
        """
        self._require_up()
        if seat.process is not None:
            return seat.process
        member = self._crew.get(seat.engine)
        if member is None:
            raise Unavailable(f"engine {seat.engine} is not served any more")
        self._make_room(member.largest)
        try:
            seat.process = process = self._new_process(seat, self._options, member)
        except EngineError as error:
            self._count_death(seat, str(error))
            raise Unavailable(f"engine restarting: {error}") from error
        try:
            await process.begin()
        except SynthesisError as error:
            raise Unavailable(f"engine restarting: {error}") from error
        return process

    def _settle(self, seat: Seat) -> None:
        """What was in hand is over: make the seat free, or bring up a new process behind it."""
        if self._phase is not Phase.UP:
            seat.state = State.COLD
            return
        cap = self._options.memory_cap_bytes
        if member := self._crew.get(seat.engine):
            member.largest = max(member.largest, seat.process.rss_bytes if seat.process else 0)
            cap = cap if member.setup.memory_cap_bytes is None else member.setup.memory_cap_bytes
        if seat.outdated:
            self._replace(seat, seat.spare)
        elif seat.process is None:
            self._restart(seat)
        elif cap and seat.process.rss_bytes > cap:
            _log.info("worker %s holds %d bytes, more than %d: replaced", seat, seat.process.rss_bytes, cap)
            self._replace(seat, None)
        else:
            self._free(seat)

    # -- life of a seat -----------------------------------------------------------------------------------------

    def _new_process(self, seat: Seat, options: LocalFleetOptions, member: Member) -> WorkerProcess:
        def gone(process: WorkerProcess) -> None:
            if seat.process is process:
                seat.process = None
                self._count_death(seat, process.cause)
                if seat.state is State.READY:
                    self._restart(seat)

        return WorkerProcess(process_options(options, member, seat, self._places), gone)

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
        """Bring up a process behind the seat, or let one come on demand, after a pause when it has died again and again."""
        seat.state = State.RESTARTING
        pause = 0.0
        if seat.deaths > 1:
            pause = min(self._options.backoff_base_s * 2.0 ** min(seat.deaths - 2, 30), self._options.backoff_max_s)
        seat.timer = asyncio.get_running_loop().call_later(pause, self._end_pause, seat)
        self._notify()

    def _end_pause(self, seat: Seat) -> None:
        seat.timer = None
        if seat.engine == self._options.engine:
            self._spawn(self._bring_up(seat))
        else:
            seat.state = State.COLD
            self._notify()

    async def _bring_up(self, seat: Seat, begun: WorkerProcess | None = None) -> None:
        """Make the seat ready with a process that holds the default voice."""
        try:
            process = begun or await self._process_of(seat)
            await load_default(process, self._options.default_voice, await self.describe(seat.engine))
        except EngineError as error:
            _log.warning("worker %s: %s", seat, error)
        except (SynthesisError, Unavailable, NotFound):
            pass  # the process is gone, and the log says why
        if self._phase is not Phase.UP:
            seat.state = State.COLD
        elif seat.outdated:
            self._replace(seat, seat.spare)
        elif seat.process is None:
            self._restart(seat)
        else:
            self._free(seat)

    def _retire(self, process: WorkerProcess) -> None:
        self._spawn(process.stop(_STOP_S, Unavailable("the worker was replaced")))

    def _chill(self, seat: Seat) -> None:
        """End the idle process behind the seat; another starts on demand."""
        if seat.process is not None:
            self._retire(seat.process)
        seat.process, seat.state = None, State.COLD

    def _make_room(self, wanted: int) -> None:
        """End idle processes until ``wanted`` bytes more are within the budget."""
        budget = self._options.memory_budget_bytes
        if budget is not None:
            for seat in to_end(list(self._seats()), budget - wanted, self._options.engine):
                _log.info("worker %s ends: the workers together would hold more than %d bytes", seat, budget)
                self._chill(seat)

    # -- life of the fleet --------------------------------------------------------------------------------------

    async def start(self) -> None:
        """See the contract. The default voice is loaded after this has returned, and the other engines get to be known."""
        async with self._lock:
            member = self._crew[self._options.engine]
            first = member.places(self._places)[0].seat(member.name)
            process, member.description = await self._try_candidate(first, self._options, member, load=False)
            self._go_up()
            self._man(member, first, process)

    async def load(self, choice: EngineChoice | None = None) -> None:
        """See the contract. Loaded already: every process is replaced by a new one, after the segment it holds."""
        async with self._lock:
            options = self._options
            if choice is not None:
                options = replace(options, **{f.name: getattr(choice, f.name) for f in fields(choice)})
            fresh = crew(options.engine, options.others, options.setups)
            for name, known in self._crew.items():
                if name in fresh:
                    fresh[name].description, fresh[name].largest = known.description, known.largest
            member = fresh[options.engine]
            first = member.places(self._places)[0].seat(member.name)
            process, member.description = await self._try_candidate(first, options, member, load=True)
            self._options, self._crew = options, fresh
            self._go_up()
            self._man(member, first, process, anew=True)

    async def _try_candidate(
        self, seat: Seat, options: LocalFleetOptions, member: Member, load: bool
    ) -> tuple[WorkerProcess, EngineDescription]:
        """Start a process that could serve ``seat``, next to what runs; what it says of itself.

        Raises:
            EngineError: It does not start, describe itself, or load the default voice.
            Unavailable: The fleet is going down.
        """
        if self._phase is Phase.STOPPED:
            raise Unavailable("server stopping")
        process = self._new_process(seat, options, member)
        self._candidates.add(process)
        try:
            await process.begin()
            description = await described(process)
            if load:
                await load_default(process, options.default_voice, description)
        except BaseException as error:
            self._spawn(process.end(Unavailable("the worker was given up")))
            if isinstance(error, SynthesisError):
                raise EngineError(str(error)) from error
            raise
        finally:
            self._candidates.discard(process)
        return process, description

    def _go_up(self) -> None:
        self._phase = Phase.UP
        if self._monitor is None:
            self._monitor = asyncio.get_running_loop().create_task(self._watch(), name="fleet monitor")

    def _man(self, member: Member, first: Seat, process: WorkerProcess, anew: bool = False) -> None:
        """Bring up the active engine wherever it may be, with ``process`` on its first seat; what ran before ends after its segment."""
        seats = [place.seat(member.name) for place in member.places(self._places)]
        if first not in seats:  # it said that it wants to be few
            self._retire(process)
        for seat in list(self._seats()):
            if anew:
                self._renew(seat, process if seat is first and first in seats else None)
            elif seat is not first:
                self._restart(seat)
        if anew or first not in seats:
            self._spawn(self._introduce_others())
            return
        first.process, first.state = process, State.RESTARTING
        self._spawn(self._settle_in(first, process))

    async def _settle_in(self, first: Seat, process: WorkerProcess) -> None:
        await self._bring_up(first, process)
        await self._introduce_others()

    def _renew(self, seat: Seat, spare: WorkerProcess | None) -> None:
        """Have a new process behind the seat, ``spare`` if there is one, as soon as what it has in hand is over."""
        seat.deaths, seat.cause = 0, ""
        if seat.state is State.BUSY or (seat.state is State.RESTARTING and seat.timer is None):
            if seat.spare is not None:
                self._retire(seat.spare)
            seat.outdated, seat.spare = True, spare
            return
        if seat.timer is not None:
            seat.timer.cancel()
            seat.timer = None
        if spare is None and seat.engine != self._options.engine:
            self._chill(seat)
        else:
            self._replace(seat, spare)

    async def unload(self) -> None:
        """See the contract."""
        async with self._lock:
            if self._phase is Phase.UP:
                self._phase = Phase.UNLOADED
                await self._end_all(EngineUnloaded("the engine was unloaded"))

    async def stop(self, grace_s: float) -> None:
        """See the contract."""
        self._phase = Phase.STOPPED
        stopping = Unavailable("server stopping")
        for candidate in self._candidates:
            candidate.kill(stopping)
        async with self._lock:
            speaking = [place.speaking for place in self._places if place.speaking is not None]
            if speaking:
                await asyncio.wait(speaking, timeout=grace_s)
            await self._end_all(stopping)
            if self._monitor is not None:
                self._monitor.cancel()
                await asyncio.gather(self._monitor, return_exceptions=True)
                self._monitor = None

    async def _end_all(self, verdict: RhapsodeError) -> None:
        """End every process; what they hold fails with ``verdict``."""
        for candidate in self._candidates:
            candidate.kill(verdict)
        for seat in self._seats():
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
        for seat in self._seats():
            seat.state = State.COLD
            seat.deaths, seat.cause = 0, ""

    async def _watch(self) -> None:
        """Look after heartbeats, idle processes and the memory of all together, for ever."""
        loop = asyncio.get_running_loop()
        idle_s = self._options.idle_unload_s
        tick = min(self._options.heartbeat_s, idle_s or self._options.heartbeat_s) / 2
        while True:
            before = loop.time()
            await asyncio.sleep(tick)
            now = loop.time()
            for seat in list(self._seats()):
                if seat.process is None:
                    continue
                seat.process.check_heartbeat(forgive=now - before > 2 * tick + 0.5)
                if idle_s and seat.state is State.READY and seat.process.idle and now - seat.idle_since >= idle_s:
                    self._chill(seat)
            self._make_room(0)
