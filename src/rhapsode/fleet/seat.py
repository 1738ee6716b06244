"""A slot of a local fleet and what stands behind it: at most one worker process of each engine, one of them busy at a time."""

import asyncio
from dataclasses import dataclass, field
from enum import Enum, auto

from rhapsode.fleet.base import Rendered, Slot
from rhapsode.fleet.process import WorkerProcess


class State(Enum):
    """What one seat is."""

    COLD = auto()  # no process; one starts on demand
    READY = auto()
    BUSY = auto()
    RESTARTING = auto()  # coming up, or pausing before that


@dataclass(slots=True)
class Seat:
    """The place of one engine's process in a slot."""

    place: "Place"
    engine: str
    state: State = State.COLD
    process: WorkerProcess | None = None
    deaths: int = 0
    """In a row, without an answer between them."""
    cause: str = ""
    """Of the last death."""
    idle_since: float = 0.0
    timer: asyncio.TimerHandle | None = None
    """Runs while it pauses before a restart."""
    outdated: bool = False
    """The process is to be replaced after what it has in hand …"""
    spare: WorkerProcess | None = None
    """… by this one, if there is one."""

    def __str__(self) -> str:
        return f"{self.place.id}/{self.engine}"


@dataclass(slots=True)
class Place:
    """A slot: one segment at a time, whichever engine speaks it."""

    id: str
    threads: int
    express: bool
    seats: dict[str, Seat] = field(default_factory=dict)
    """By engine, of those that were wanted here."""
    speaking: asyncio.Task[Rendered] | None = None
    """The segment in hand."""

    @property
    def busy(self) -> bool:
        """Whether it has a segment in hand."""
        return any(seat.state is State.BUSY for seat in self.seats.values())

    def seat(self, engine: str) -> Seat:
        """The place of that engine's process."""
        found = self.seats.get(engine)
        if found is None:
            found = self.seats[engine] = Seat(self, engine)
        return found

    def slot(self, engines: frozenset[str]) -> Slot:
        """As the scheduler sees it; ``engines`` may speak here, of which those that restart cannot now."""
        restarting = {name for name, seat in self.seats.items() if seat.state is State.RESTARTING}
        warm = {
            (name, voice)
            for name, seat in self.seats.items()
            if seat.process is not None
            for voice in seat.process.warm
        }
        return Slot(self.id, self.express, engines - restarting, frozenset(warm))
