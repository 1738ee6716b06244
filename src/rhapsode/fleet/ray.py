"""The fleet of many machines: actors of a Ray cluster, one slot each, one segment at a time in each.

Ray places workers, moves takes and notices deaths; what it costs a segment is decided here. A worker whose process ends is charged
to the segment that it held; a node or a cluster that goes away is charged to nobody. Ray itself lives in a process of its
own (:mod:`rhapsode.fleet.ray_driver`), which is begun anew for as long as there is no cluster.
"""

import asyncio
import logging
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace

from rhapsode.errors import EngineError, EngineUnloaded, NotFound, RhapsodeError, SynthesisError, Unavailable
from rhapsode.fleet.base import EngineChoice, EngineDescription, Rendered, Slot, SynthesisTask
from rhapsode.fleet.common import FleetLife, Phase
from rhapsode.fleet.ray_hired import HiredWorker, RayFleetOptions
from rhapsode.fleet.ray_link import Hands, Link
from rhapsode.fleet.ray_seat import Seat, State, new_seat, wanted_workers

_log = logging.getLogger(__name__)


_TICK_S = 0.5
_LEAVE_S = 2.0
_SPARE_S = 5.0
"""How long a second worker beside those there are is waited for, before one of them makes room."""
_FIRST_S = 10.0
"""How long a full cluster is waited for at the start."""
_PATIENCE_S = 3.0
"""How long a worker may be looked for a place for before that counts as why work waits."""
_NO_ROOM = "the cluster has no room"


class RayFleet(FleetLife):
    """Workers of a Ray cluster. Implements :class:`rhapsode.fleet.base.Fleet`."""

    def __init__(self, options: RayFleetOptions) -> None:
        super().__init__()
        self._options = options
        self._seats: dict[str, Seat] = {}
        self._ready: dict[str, Seat] = {}
        self._known: dict[str, EngineDescription] = {}
        self._failed: dict[str, str] = {}
        """Why an engine could not be had when it was last asked for."""
        self.deaths = 0
        self._files = 1
        self._waiting = 0
        self._link: Link | None = None
        self._away = ""
        self._monitor: asyncio.Task[None] | None = None
        self._joining: asyncio.Task[None] | None = None
        self._lock = asyncio.Lock()

    # -- looking ------------------------------------------------------------------------------------------------

    def free_slots(self) -> Sequence[Slot]:
        """See the contract."""
        if self._phase is not Phase.UP:
            return []
        return [*self._express_among(self._ready), *(seat.slot for seat in self._ready.values() if not seat.express)]

    def slots(self) -> Sequence[Slot]:
        """See the contract."""
        return [seat.slot for seat in self._seats.values()]

    def express_slots(self) -> Sequence[Slot]:
        """See the contract."""
        return self._express_among(self._seats)

    def _express_among(self, seats: Mapping[str, Seat]) -> Sequence[Slot]:
        return [seats["express"].slot] if "express" in seats else []

    def _show(self, seat: Seat) -> None:
        """Have the seat's slot say what it is now. Slots are kept, because there may be thousands of them."""
        engines = frozenset(self.engines())
        seat.slot = Slot(seat.id, seat.express, engines, seat.worker.warm if seat.worker else frozenset())

    def _set(self, seat: Seat, state: State) -> None:
        seat.state = state
        if state is State.READY:
            self._show(seat)
            self._ready[seat.id] = seat
        else:
            self._ready.pop(seat.id, None)

    def engines(self) -> Sequence[str]:
        """See the contract."""
        return [self._options.engine, *sorted(set(self._options.others) - {self._options.engine})]

    def known(self, engine: str) -> EngineDescription | None:
        """See the contract."""
        return self._known.get(engine)

    def processes(self) -> Mapping[str, int]:
        """Process ids of the workers, on whatever node, by slot id."""
        return {seat.id: seat.worker.pid for seat in self._seats.values() if seat.worker is not None}

    def expect(self, segments: int) -> None:
        """See the contract."""
        self._waiting = segments
        if self._phase is Phase.UP:
            self._grow()

    def waiting_for(self, engine: str | None = None) -> str | None:
        """See the contract."""
        if engine is not None and engine not in self.engines():
            return f"engine {engine}"
        if self._phase is not Phase.UP:
            return str(self._phase.value)
        if self._away:
            return self._away
        if engine in self._failed:
            return self._failed[engine]
        if self._ready or any(seat.state is not State.COMING for seat in self._seats.values()):
            return None
        cause = next((seat.cause for seat in self._seats.values() if seat.cause), "")
        if cause.startswith(_NO_ROOM):
            return cause
        return f"engine restarting: {cause}" if cause else "engine starting"

    async def describe(self, engine: str | None = None, refresh: bool = False) -> EngineDescription:
        """See the contract. While no worker can be had, the last answer is given again."""
        name = engine or self._options.engine
        if name not in self.engines():
            raise NotFound(f"there is no engine {name!r} here; there are {', '.join(self.engines())}", "engine")
        known = self._known.get(name)
        if known is not None and (not refresh or self._phase is not Phase.UP):
            return known
        try:
            return await self._describe_anew(name)
        except (SynthesisError, Unavailable) as error:
            if known is None:
                raise
            _log.warning("engine %s cannot be asked for its voices now: %s", name, error)
        return known

    async def _describe_anew(self, engine: str) -> EngineDescription:
        live = [seat for seat in self._seats.values() if seat.worker is not None and seat.state is not State.COMING]
        seat = next((seat for seat in live if seat.state is State.READY), live[0] if live else None)
        if self._phase is not Phase.UP or seat is None or seat.worker is None:
            raise Unavailable(self.waiting_for() or "engine starting")
        self._files += 1
        worker, was_ready = seat.worker, seat.state is State.READY
        if was_ready:
            self._set(seat, State.BUSY)

        async def ask() -> EngineDescription:
            try:
                await worker.equip(engine, self._files)
                self._known[engine] = await worker.describe(engine)
                self._failed.pop(engine, None)
                return self._known[engine]
            except EngineError as error:
                self._failed[engine] = str(error)
                raise
            finally:
                if was_ready:
                    self._settle(seat)

        return await asyncio.shield(self._spawn(ask()))

    # -- speaking -----------------------------------------------------------------------------------------------

    async def synthesise(self, slot_id: str, task: SynthesisTask) -> Rendered:
        """See the contract. When the caller is cancelled, the slot stays busy until the worker has answered."""
        self._require_up()
        seat = self._seats.get(slot_id)
        if seat is None or seat.state is not State.READY or seat.worker is None:
            raise Unavailable(f"slot {slot_id} is not free")
        if task.engine not in self.engines():
            raise Unavailable(f"slot {slot_id} cannot have engine {task.engine}")
        self._set(seat, State.BUSY)
        seat.speaking = self._spawn(self._speak(seat, seat.worker, task))
        return await asyncio.shield(seat.speaking)

    async def _speak(self, seat: Seat, worker: HiredWorker, task: SynthesisTask) -> Rendered:
        try:
            if not worker.could_hold(task.engine):
                worker = await self._exchange(seat, task.engine)
            await worker.equip(task.engine, self._files)
            rendered = await worker.speak(task)
        except EngineError:
            seat.deaths = 0
            raise
        except SynthesisError as error:  # the worker was ended, or ended by itself
            self._lose(seat, worker, str(error))
            raise
        except Unavailable as error:
            if self._away or worker is not seat.worker:
                raise
            self._lose(seat, worker, str(error))
            raise
        else:
            seat.deaths = 0
            return Rendered(rendered.take, rendered.data)
        finally:
            self._settle(seat)

    def _settle(self, seat: Seat) -> None:
        """The segment in hand is over: make the seat free, or bring up a new worker behind it."""
        cap = self._options.memory_cap_bytes
        seat.speaking = None
        if self._phase is not Phase.UP or self._seats.get(seat.id) is not seat:
            self._set(seat, State.COMING)
        elif seat.outdated:
            self._replace(seat, seat.spare)
        elif seat.worker is None:
            self._restart(seat)
        elif cap is not None and seat.worker.rss_bytes > cap:
            _log.info("worker %s holds %d bytes, more than %d: replaced", seat.id, seat.worker.rss_bytes, cap)
            self._replace(seat, None)
        else:
            self._free(seat)

    # -- hiring -------------------------------------------------------------------------------------------------

    async def _hire(self, seat: Seat, engine: str, options: RayFleetOptions) -> HiredWorker:
        """A worker for the seat, once the cluster has room for it."""
        if self._link is None:
            raise Unavailable(self._away or "engine starting")
        worker = HiredWorker(self._link, f"{seat.id}-{uuid.uuid4().hex[:8]}", engine, seat.express, options)
        timer = asyncio.get_running_loop().call_later(_PATIENCE_S, self._note_full, seat, worker.needs)
        try:
            await worker.hire()
        finally:
            timer.cancel()
        return worker

    def _note_full(self, seat: Seat, needs: str) -> None:
        seat.cause = f"{_NO_ROOM} for a worker ({needs})"
        self._notify()

    async def _prepare(self, worker: HiredWorker, options: RayFleetOptions) -> EngineDescription:
        """Make a new worker fit for work: the active engine, the same as everywhere, with its default voice.

        Raises:
            EngineError, WorkerDied, DeadlineMissed: It cannot be.
        """
        engine = options.engine
        await worker.equip(engine, self._files)
        description = await worker.describe(engine)
        known = self._known.get(engine) if options is self._options else None
        if known is not None and known.info.revision != description.info.revision:
            raise EngineError(f"{worker.host} has {engine} {description.info.revision}, not {known.info.revision}")
        await worker.load_default(engine, description)
        return description

    # -- life of a seat -----------------------------------------------------------------------------------------

    def _on_gone(self, worker: str, verdict: RhapsodeError) -> None:
        seat = next((s for s in self._seats.values() if s.worker is not None and s.worker.name == worker), None)
        if seat is not None and seat.worker is not None:
            self._lose(seat, seat.worker, str(verdict))
            if seat.state is State.READY:
                self._restart(seat)

    def _lose(self, seat: Seat, worker: HiredWorker, cause: str) -> None:
        if seat.worker is worker:
            _log.warning("worker %s (%s, pid %d): %s", seat.id, worker.host, worker.pid, cause)
            seat.worker = None
            seat.deaths += 1
            self.deaths += 1
            seat.cause = cause

    def _free(self, seat: Seat) -> None:
        self._set(seat, State.READY)
        seat.cause = ""
        seat.idle_since = asyncio.get_running_loop().time()
        self._notify()

    def _dismiss(self, worker: HiredWorker | None, verdict: RhapsodeError) -> None:
        if worker is not None:
            worker.fire(verdict)

    def _replace(self, seat: Seat, by: HiredWorker | None) -> None:
        """Put ``by``, or a new worker, behind the seat; the old one ends."""
        self._dismiss(seat.worker, Unavailable("the worker was replaced"))
        seat.worker, seat.spare, seat.outdated = by, None, False
        if by is not None:
            self._free(seat)
        else:
            self._restart(seat)

    async def _exchange(self, seat: Seat, engine: str) -> HiredWorker:
        """Another worker behind a busy seat, with the interpreter that the engine needs."""
        self._dismiss(seat.worker, Unavailable("the worker was replaced"))
        seat.worker = None
        seat.worker = await self._hire(seat, engine, self._options)
        return seat.worker

    def _restart(self, seat: Seat) -> None:
        """Bring up a worker behind the seat, after a pause when it has died again and again."""
        self._set(seat, State.COMING)
        if self._link is None:
            return  # it comes with the cluster
        pause = 0.0
        if seat.deaths > 1:
            pause = min(self._options.backoff_base_s * 2.0 ** min(seat.deaths - 2, 30), self._options.backoff_max_s)
        seat.timer = asyncio.get_running_loop().call_later(pause, self._end_pause, seat)
        self._notify()

    def _end_pause(self, seat: Seat) -> None:
        seat.timer = None
        seat.coming = self._spawn(self._bring_up(seat))

    async def _bring_up(self, seat: Seat) -> None:
        worker: HiredWorker | None = None
        try:
            worker = seat.worker = await self._hire(seat, self._options.engine, self._options)
            description = await self._prepare(worker, self._options)
            self._known.setdefault(self._options.engine, description)
        except (SynthesisError, Unavailable) as error:
            self._dismiss(worker, Unavailable("the worker was given up"))
            if worker is not None:
                self._lose(seat, worker, str(error))
        finally:
            seat.coming = None
        if self._phase is not Phase.UP or self._seats.get(seat.id) is not seat:
            return
        if seat.worker is None:
            self._restart(seat)
        else:
            self._free(seat)

    # -- size ---------------------------------------------------------------------------------------------------

    def _bulk(self) -> list[Seat]:
        return [seat for seat in self._seats.values() if not seat.express]

    def _wanted(self) -> int:
        busy = sum(seat.state is State.BUSY for seat in self._bulk())
        return wanted_workers(busy, self._waiting, self._options.min_workers, self._options.max_workers)

    def _grow(self) -> None:
        """Add the seats that are wanted and not there."""
        if self._options.express and "express" not in self._seats:
            self._add("express", express=True)
        missing = self._wanted() - len(self._bulk())
        number = 0
        while missing > 0:
            name = f"bulk-{number}"
            number += 1
            if name not in self._seats:
                self._add(name, express=False)
                missing -= 1

    def _add(self, name: str, express: bool) -> None:
        self._seats[name] = seat = new_seat(name, express)
        self._restart(seat)

    def _shrink(self) -> None:
        """Remove one seat that has been idle for long, or that is not up yet and not wanted any more."""
        now = asyncio.get_running_loop().time()
        bulk = self._bulk()
        if len(bulk) <= self._wanted():
            return
        for seat in reversed(bulk):
            if seat.state is State.READY and now - seat.idle_since >= self._options.idle_s:
                del self._seats[seat.id], self._ready[seat.id]
                self._dismiss(seat.worker, Unavailable("the worker was not needed any more"))
                self._notify()
                return
            if seat.state is State.COMING and seat.worker is None:
                del self._seats[seat.id]
                self._calm(seat)
                return

    def _calm(self, seat: Seat) -> None:
        """Have nothing happen to the seat by itself any more."""
        if seat.timer is not None:
            seat.timer.cancel()
            seat.timer = None
        if seat.coming is not None:
            seat.coming.cancel()
            seat.coming = None

    async def _watch(self) -> None:
        """Shrink when there is little to do, for ever."""
        while True:
            await asyncio.sleep(min(_TICK_S, self._options.idle_s / 2 or _TICK_S))
            if self._phase is Phase.UP and self._link is not None:
                self._shrink()

    # -- life of the cluster ------------------------------------------------------------------------------------

    async def _join(self) -> None:
        """Connect to the cluster.

        Raises:
            Unavailable: It is not there.
        """
        link = Link(Hands(self._on_gone, lambda cause: self._on_lost(link, cause)))
        try:
            await link.open(self._options.address, self._options.namespace, self._options.start_timeout_s)
        except Unavailable as error:
            if str(error) != self._away:
                _log.warning("%s", error)
            self._away = str(error)
            raise
        self._link, self._away = link, ""

    def _on_lost(self, link: Link, cause: str) -> None:
        """The cluster is gone, and with it every worker; nobody is charged."""
        if self._link is not link:
            return
        _log.warning("the cluster is away: %s", cause)
        self._link, self._away = None, f"cluster away: {cause}"
        self._spawn(link.close(grace_s=0))
        for seat in self._seats.values():
            self._calm(seat)
            seat.worker = seat.spare = None
            seat.outdated, seat.deaths = False, 0
            if seat.state is State.READY:
                self._set(seat, State.COMING)
        if self._phase is Phase.UP:
            self._come_back()
        self._notify()

    def _come_back(self) -> None:
        if self._joining is None or self._joining.done():
            self._joining = self._spawn(self._rejoin())

    async def _rejoin(self) -> None:
        """Join the cluster, however long it is away, and bring workers up again."""
        pause = self._options.backoff_base_s
        while self._link is None:
            try:
                await self._join()
            except Unavailable:
                await asyncio.sleep(pause)
                pause = min(2 * pause, self._options.backoff_max_s)
        _log.info("part of the cluster")
        self._grow()
        for seat in self._seats.values():
            if seat.state is State.COMING and seat.timer is None and seat.coming is None:
                self._restart(seat)

    # -- life of the fleet --------------------------------------------------------------------------------------

    async def start(self) -> None:
        """See the contract. A cluster that is away, or has no room, is no reason not to start: work waits for it."""
        async with self._lock:
            try:
                await self._join()
                first = new_seat("express" if self._options.express else "bulk-0", self._options.express)
                worker, self._known[self._options.engine] = await self._first(first)
            except (Unavailable, TimeoutError) as error:
                _log.warning("no worker yet: %s", str(error) or "none was ready in time")
            else:
                first.worker = worker
                self._seats[first.id] = first
                self._free(first)
            self._go_up()
            if self._link is None:
                self._come_back()
            self._grow()

    async def _first(self, seat: Seat) -> tuple[HiredWorker, EngineDescription]:
        """A candidate, unless the cluster is full: then the server is wanted all the same, and soon.

        Raises:
            EngineError, Unavailable, TimeoutError: As for a candidate.
        """
        hiring = self._spawn(self._candidate(seat, self._options))
        try:
            async with asyncio.timeout(self._options.start_timeout_s):
                await asyncio.wait([hiring], timeout=_FIRST_S)
                if not hiring.done() and seat.cause:
                    raise Unavailable(seat.cause)
                return await hiring
        finally:
            hiring.cancel()

    def _go_up(self) -> None:
        self._phase = Phase.UP
        if self._monitor is None:
            self._monitor = asyncio.get_running_loop().create_task(self._watch(), name="fleet monitor")

    async def _candidate(self, seat: Seat, options: RayFleetOptions) -> tuple[HiredWorker, EngineDescription]:
        """A worker that could serve ``seat``, next to those there are, and what its engine says of itself.

        Raises:
            EngineError: The engine cannot be loaded.
            Unavailable: There is no cluster.
        """
        if self._phase is Phase.STOPPED:
            raise Unavailable("server stopping")
        worker = await self._hire(seat, options.engine, options)
        try:
            return worker, await self._prepare(worker, options)
        except BaseException as error:
            self._dismiss(worker, Unavailable("the worker was given up"))
            if isinstance(error, SynthesisError):
                raise EngineError(str(error)) from error
            raise

    async def load(self, choice: EngineChoice | None = None) -> None:
        """See the contract. Loaded already: every worker is replaced by a new one, after the segment it holds."""
        async with self._lock:
            if self._phase is Phase.STOPPED:
                raise Unavailable("server stopping")
            options = self._options
            if choice is not None:
                options = replace(options, **{f.name: getattr(choice, f.name) for f in fields(choice)})
            if self._link is None and (self._joining is None or self._joining.done()):
                await self._join()
            seat = next(iter(self._seats.values()), new_seat("bulk-0", express=False))
            worker, description = await self._second(seat, replace(options))
            self._options = options
            self._known = {options.engine: description}
            self._go_up()
            self._seats.setdefault(seat.id, seat)
            for one in self._seats.values():
                self._renew(one, worker if one is seat else None)
            self._grow()

    async def _second(self, seat: Seat, options: RayFleetOptions) -> tuple[HiredWorker, EngineDescription]:
        """A candidate beside what runs; where the cluster has no room for that, in the place of the seat's worker."""
        try:
            if self._phase is not Phase.UP or seat.worker is None:
                async with asyncio.timeout(options.start_timeout_s):
                    return await self._candidate(seat, options)
            hiring = self._spawn(self._candidate(seat, options))
            await asyncio.wait([hiring], timeout=_SPARE_S)
            if not hiring.done() and seat.cause.startswith(_NO_ROOM):
                if seat.speaking is not None:
                    await asyncio.wait([seat.speaking])
                self._dismiss(seat.worker, Unavailable("the worker makes room for a new one"))
                seat.worker = None
                self._set(seat, State.COMING)
            try:
                async with asyncio.timeout(options.start_timeout_s):
                    return await hiring
            except BaseException:
                if seat.worker is None and self._phase is Phase.UP:
                    self._restart(seat)
                raise
        except TimeoutError as error:
            raise EngineError(f"no worker could be had within {options.start_timeout_s:.0f} s") from error

    def _renew(self, seat: Seat, spare: HiredWorker | None) -> None:
        """Have a new worker behind the seat, ``spare`` if there is one, as soon as its segment is over."""
        seat.deaths, seat.cause = 0, ""
        if seat.state is State.BUSY:
            self._dismiss(seat.spare, Unavailable("the worker was replaced"))
            seat.outdated, seat.spare = True, spare
        else:
            self._calm(seat)
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
        if self._joining is not None:
            self._joining.cancel()
        speaking = [seat.speaking for seat in self._seats.values() if seat.speaking is not None]
        if speaking:
            await asyncio.wait(speaking, timeout=grace_s)
        async with self._lock:
            await self._end_all(Unavailable("server stopping"))
            if self._monitor is not None:
                self._monitor.cancel()
                await asyncio.gather(self._monitor, return_exceptions=True)
                self._monitor = None
            if self._link is not None:
                link, self._link = self._link, None
                await link.close(_LEAVE_S)

    async def _end_all(self, verdict: RhapsodeError) -> None:
        """End every worker; what they hold fails with ``verdict``."""
        seats, self._seats, self._ready = self._seats, {}, {}
        for seat in seats.values():
            self._calm(seat)
            for worker in (seat.worker, seat.spare):
                self._dismiss(worker, verdict)
            seat.worker = seat.spare = None
        self._notify()
        if tasks := self._tasks - {self._joining}:
            await asyncio.wait(tasks)
