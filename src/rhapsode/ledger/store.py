"""An open database with one writer that commits in groups and a few readers: what the ledger's parts share."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Concatenate, ParamSpec, TypeVar

import sqlalchemy as sa

from rhapsode.errors import LedgerError
from rhapsode.ledger.backend import READERS, ConnectionStale
from rhapsode.ledger.database import Database, open_database
from rhapsode.ledger.news import News
from rhapsode.ledger.transaction import Transaction
from rhapsode.ledger.writer import Writer
from rhapsode.model import Event

P = ParamSpec("P")
T = TypeVar("T")

log = logging.getLogger(__name__)


class Store:
    """Runs commands and queries. Used from one event loop.

    Args:
        url_or_path: See :func:`rhapsode.ledger.database.open_database`.
        clock: Seconds since the epoch.
        on_fatal: Called (in the writer's thread) when a write could not be made durable.
        node: Name of this node among those that share the database; no two that live have the same.
    """

    def __init__(
        self,
        url_or_path: str | Path,
        clock: Callable[[], float],
        on_fatal: Callable[[LedgerError], None],
        node: str = "",
    ) -> None:
        self.node = node
        self.leads = True
        """Whether this node does what one must do for all."""
        self.on_lead: list[Callable[[], None]] = []
        """Called when it begins to."""
        self._url_or_path = url_or_path
        self._clock = clock
        self._on_fatal = on_fatal
        self._callbacks: list[Callable[[Sequence[Event]], None]] = []
        self._on_commit: Callable[[float], None] = lambda _: None
        self._database: Database | None = None
        self._writer: Writer | None = None
        self._readers: ThreadPoolExecutor | None = None
        self._news: News | None = None

    async def open(self) -> int:
        """Open, migrate when needed, and begin a new epoch; its number.

        Raises:
            LedgerError: Corrupt, out of reach, or of a newer schema.
            ConfigError: The database's driver is not installed.
        """
        database = await asyncio.to_thread(open_database, self._url_or_path)
        epoch = await asyncio.to_thread(database.begin_epoch, self._clock(), self.node)
        self._database = database
        self.leads = not database.shared
        self._readers = ThreadPoolExecutor(READERS, "ledger-reader")
        if database.shared:
            self._news = News(self.read, self._publish)
            await self._news.start(lambda wake: database.listen(epoch, wake))
        publish = self._news.own if self._news else self._publish
        self._writer = Writer(database, epoch, self._clock, publish, self._on_fatal, self._on_commit)
        return epoch

    async def close(self, last_shared: Callable[[Transaction], object]) -> None:
        """Finish what was called and close; ``last_shared`` is a last command where other nodes may go on."""
        if self._database is None or self._writer is None or self._readers is None:
            return
        if self._news is not None:
            await self._news.stop()
        self._database.stop_waiting()
        await self._writer.close(last_shared if self._database.shared else None)
        await asyncio.to_thread(self._readers.shutdown)
        await asyncio.to_thread(self._database.close)
        self._database = self._writer = self._readers = self._news = None

    async def begin_again(self) -> None:
        """Begin a new epoch; what belonged to the one before is no longer this node's."""
        if self._database is None or self._writer is None:
            raise LedgerError("The ledger is not open.")
        self._writer.epoch = await asyncio.to_thread(self._database.begin_epoch, self._clock(), self.node)

    @property
    def epoch(self) -> int:
        """Of this node."""
        return self._writer.epoch if self._writer else 0

    @property
    def shared(self) -> bool:
        """Whether other nodes may work with the database, too."""
        return self._database is not None and self._database.shared

    @property
    def available(self) -> bool:
        """Whether the database could be reached when it was last tried."""
        return self._database is None or self._database.available

    def on_event(self, callback: Callable[[Sequence[Event]], None]) -> None:
        """Call ``callback`` on the event loop with the events of each commit, after it is durable, in order.

        Those of other nodes come, too, at most about a second late.
        """
        self._callbacks.append(callback)

    def on_commit(self, callback: Callable[[float], None]) -> None:
        """Call ``callback`` in the writer's thread with the seconds that each transaction took until it was durable. Before :meth:`open`."""
        self._on_commit = callback

    async def write(self, command: Callable[Concatenate[Transaction, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run ``command(transaction, …)``; its result once it is durable."""
        if self._writer is None:
            raise LedgerError("The ledger is not open.")
        return await self._writer.call(command, *args, **kwargs)

    async def write_fleeting(
        self, command: Callable[Concatenate[Transaction, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """The same for what a loss of power may undo."""
        if self._writer is None:
            raise LedgerError("The ledger is not open.")
        return await self._writer.call_fleeting(command, *args, **kwargs)

    async def read(self, query: Callable[Concatenate[sa.Connection, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run ``query(connection, …)`` on what is committed.

        Raises:
            LedgerUnavailable: The database cannot be reached.
        """
        if self._database is None or self._readers is None:
            raise LedgerError("The ledger is not open.")
        database = self._database

        def once() -> T:
            with database.reader() as connection:
                return query(connection, *args, **kwargs)

        def run() -> T:
            try:
                return once()
            except ConnectionStale:  # reading twice harms nobody
                return once()
            except sa.exc.OperationalError as error:  # a disk that failed for a moment; one that is broken fails again
                name = getattr(error.orig, "sqlite_errorname", type(error.orig).__name__)
                log.warning("The ledger could not be read (%s: %s); reading again", name, error.orig)
                return once()

        return await asyncio.get_running_loop().run_in_executor(self._readers, run)

    def _publish(self, events: Sequence[Event]) -> None:
        for callback in self._callbacks:
            try:
                callback(events)
            except Exception:  # a listener's mistake must not hold up the answers of this commit
                log.exception("A listener of ledger events failed")
