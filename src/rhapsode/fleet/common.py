"""What the fleets of one machine and of many have in common: whether they are up, who is told of changes, work in the background."""

import asyncio
import logging
from collections.abc import Callable, Coroutine
from contextvars import Context
from enum import Enum
from typing import Any, TypeVar

from rhapsode.errors import EngineUnloaded, RhapsodeError, Unavailable

_log = logging.getLogger(__name__)

T = TypeVar("T")

EXPRESS_NICE = 3
"""Behind the server's event loop, which must answer while this worker has all cores, and far ahead of the bulk processes."""


class Phase(Enum):
    """What a fleet as a whole is; the value is what work waits for meanwhile."""

    NEW = "engine starting"
    UP = None
    UNLOADED = "engine unloaded"
    STOPPED = "server stopping"


class FleetLife:
    """Base of the fleets. Used from one event loop."""

    def __init__(self) -> None:
        self._phase = Phase.NEW
        self._callbacks: list[Callable[[], None]] = []
        self._tasks: set[asyncio.Task[Any]] = set()

    def on_change(self, callback: Callable[[], None]) -> None:
        """See the contract."""
        self._callbacks.append(callback)

    def _require_up(self) -> None:
        if self._phase is Phase.UNLOADED:
            raise EngineUnloaded("the engine is unloaded")
        if self._phase is not Phase.UP:
            raise Unavailable(str(self._phase.value))

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
