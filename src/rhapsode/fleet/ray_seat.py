"""A slot of a Ray fleet, what stands behind it, and how many of them there should be."""

import asyncio
import math
from dataclasses import dataclass
from enum import Enum, auto

from rhapsode.fleet.base import Rendered, Slot
from rhapsode.fleet.ray_hired import HiredWorker

SEGMENTS_PER_WORKER = 4
"""Waiting segments that are worth one more worker: with fewer it would be up when they are spoken."""


class State(Enum):
    """What one seat is."""

    COMING = auto()  # a worker is being placed or loads its engine, or it pauses before that
    READY = auto()
    BUSY = auto()


@dataclass(slots=True)
class Seat:
    """A slot and the worker behind it."""

    id: str
    express: bool
    slot: Slot
    """As the scheduler sees it."""
    state: State = State.COMING
    worker: HiredWorker | None = None
    deaths: int = 0
    """In a row, without an answer between them."""
    cause: str = ""
    """Of the last death, or why it is still coming."""
    idle_since: float = 0.0
    speaking: asyncio.Task[Rendered] | None = None
    coming: asyncio.Task[None] | None = None
    timer: asyncio.TimerHandle | None = None
    outdated: bool = False
    """The worker is to be replaced after the segment in hand …"""
    spare: HiredWorker | None = None
    """… by this one, if there is one."""


def new_seat(name: str, express: bool) -> Seat:
    """A seat without a worker."""
    return Seat(name, express, Slot(name, express, frozenset(), frozenset()))


def wanted_workers(busy: int, waiting: int, least: int, most: int) -> int:
    """How many bulk workers there should be.

    Args:
        busy: Those that speak now.
        waiting: Segments that wait for a slot.
        least: Bound of the settings.
        most: Bound of the settings.
    """
    return min(max(busy + math.ceil(waiting / SEGMENTS_PER_WORKER), least), most)
