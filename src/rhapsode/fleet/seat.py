"""A slot of a local fleet and what stands behind it."""

import asyncio
from dataclasses import dataclass
from enum import Enum, auto

from rhapsode.fleet.base import Rendered
from rhapsode.fleet.process import WorkerProcess


class State(Enum):
    """What one seat is."""

    COLD = auto()  # no process; one starts on demand
    READY = auto()
    BUSY = auto()
    RESTARTING = auto()  # coming up, or pausing before that


@dataclass(slots=True)
class Seat:
    """A slot and the process behind it."""

    id: str
    threads: int
    express: bool
    state: State = State.COLD
    process: WorkerProcess | None = None
    deaths: int = 0
    """In a row, without an answer between them."""
    cause: str = ""
    """Of the last death."""
    idle_since: float = 0.0
    speaking: asyncio.Task[Rendered] | None = None
    """The segment in hand."""
    timer: asyncio.TimerHandle | None = None
    """Runs while it pauses before a restart."""
    outdated: bool = False
    """The process is to be replaced after the segment in hand …"""
    spare: WorkerProcess | None = None
    """… by this one, if there is one."""
