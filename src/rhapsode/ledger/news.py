"""The events of all nodes that share a ledger, in one order: each exactly once, without gaps.

Own events are at hand when they are committed; those of others are read. All are numbered without gaps (``pos``), so own ones that
follow what was published last go out at once, and any others wait until what lies between was read. A notification of the database only
says that it is worth looking; without one it is looked about once a second.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Any

import sqlalchemy as sa
from sqlalchemy import bindparam

from rhapsode.errors import LedgerError
from rhapsode.ledger.rows import to_event
from rhapsode.ledger.schema import events, marks
from rhapsode.model import Event

log = logging.getLogger(__name__)

_PAGE = 500
_NEWEST = sa.select(marks.c.newest_pos)
_BETWEEN = (
    sa.select(events)
    .where(events.c.pos > bindparam("after"), events.c.pos <= bindparam("last"))
    .order_by(events.c.pos)
    .limit(_PAGE)
)

Read = Callable[..., Awaitable[Any]]
Listening = Callable[[Callable[[], None]], Callable[[], None]]
"""Begins to listen, calls its argument from any thread when there may be news, and gives what ends that."""


class News:
    """Used from one event loop.

    Args:
        read: Runs a query (see :meth:`rhapsode.ledger.store.Store.read`).
        publish: Gets events, in order.
    """

    def __init__(self, read: Read, publish: Callable[[Sequence[Event]], None]) -> None:
        self._read = read
        self._publish = publish
        self._published = 0
        self._own: dict[int, Event] = {}
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._stop_listening: Callable[[], None] = lambda: None

    async def start(self, listen: Listening) -> None:
        """Publish what happens from now on."""
        self._published = await self._read(_newest)
        loop = asyncio.get_running_loop()

        def wake() -> None:
            with suppress(RuntimeError):  # the event loop was closed
                loop.call_soon_threadsafe(self._wake.set)

        self._stop_listening = listen(wake)
        self._task = asyncio.create_task(self._follow())

    async def stop(self) -> None:
        """Publish nothing more of others."""
        self._stop_listening()
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task

    def own(self, committed: Sequence[Event]) -> None:
        """Events that this node has just committed."""
        fresh = [event for event in committed if event.pos > self._published]
        if fresh and fresh[0].pos == self._published + 1:
            self._published = fresh[-1].pos
            self._publish(fresh)
        elif fresh:
            self._own |= {event.pos: event for event in fresh}
            self._wake.set()

    async def _follow(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            try:
                await self._catch_up()
            except LedgerError as error:
                log.debug("events of other nodes cannot be read: %s", error)
            except Exception:  # whatever it was, the next look must come
                log.exception("events of other nodes cannot be read")

    async def _catch_up(self) -> None:
        newest = await self._read(_newest)
        while self._published < newest:
            page = await self._read(_between, self._published, newest)
            # own ones may have gone out meanwhile; what was deleted is missing and leaves no gap that could be filled
            fresh = [self._own.get(event.pos, event) for event in page if event.pos > self._published]
            self._published = max(self._published, page[-1].pos if len(page) == _PAGE else newest)
            self._own = {pos: event for pos, event in self._own.items() if pos > self._published}
            if fresh:
                self._publish(fresh)


def _newest(connection: sa.Connection) -> int:
    return int(connection.execute(_NEWEST).scalar_one())


def _between(connection: sa.Connection, after: int, last: int) -> Sequence[Event]:
    return [to_event(tuple(row)) for row in connection.execute(_BETWEEN, {"after": after, "last": last})]
