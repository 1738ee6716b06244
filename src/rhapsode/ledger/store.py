"""An open database with one writer that commits in groups and a few readers: what the ledger's parts share."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Concatenate, ParamSpec, TypeVar

import sqlalchemy as sa

from rhapsode.errors import LedgerError
from rhapsode.ledger.database import READERS, Database
from rhapsode.ledger.transaction import Transaction
from rhapsode.ledger.writer import Writer
from rhapsode.model import Event

P = ParamSpec("P")
T = TypeVar("T")

log = logging.getLogger(__name__)


class Store:
    """Runs commands and queries. Used from one event loop.

    Args:
        url_or_path: A file's path or ``sqlite:///path``; its folder is made when it is missing.
        clock: Seconds since the epoch.
        on_fatal: Called (in the writer's thread) when a write could not be made durable.
    """

    def __init__(
        self, url_or_path: str | Path, clock: Callable[[], float], on_fatal: Callable[[LedgerError], None]
    ) -> None:
        self._url_or_path = url_or_path
        self._clock = clock
        self._on_fatal = on_fatal
        self._callbacks: list[Callable[[Sequence[Event]], None]] = []
        self._on_commit: Callable[[float], None] = lambda _: None
        self._database: Database | None = None
        self._writer: Writer | None = None
        self._readers: ThreadPoolExecutor | None = None

    async def open(self) -> int:
        """Open, migrate when needed, and begin a new epoch; its number.

        Raises:
            LedgerError: Corrupt, or of a newer schema.
        """
        database = await asyncio.to_thread(Database, self._url_or_path)
        epoch = await asyncio.to_thread(database.begin_epoch, self._clock())
        self._database = database
        self._writer = Writer(database, epoch, self._clock, self._publish, self._on_fatal, self._on_commit)
        self._readers = ThreadPoolExecutor(READERS, "ledger-reader")
        return epoch

    async def close(self) -> None:
        """Finish what was called and close."""
        if self._database is None or self._writer is None or self._readers is None:
            return
        await self._writer.close()
        await asyncio.to_thread(self._readers.shutdown)
        await asyncio.to_thread(self._database.close)
        self._database = self._writer = self._readers = None

    def on_event(self, callback: Callable[[Sequence[Event]], None]) -> None:
        """Call ``callback`` on the event loop with the events of each commit, after it is durable, in order."""
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
        """Run ``query(connection, …)`` on what is committed."""
        if self._database is None or self._readers is None:
            raise LedgerError("The ledger is not open.")
        database = self._database

        def run() -> T:
            with database.reader() as connection:
                return query(connection, *args, **kwargs)

        return await asyncio.get_running_loop().run_in_executor(self._readers, run)

    def _publish(self, events: Sequence[Event]) -> None:
        for callback in self._callbacks:
            try:
                callback(events)
            except Exception:  # a listener's mistake must not hold up the answers of this commit
                log.exception("A listener of ledger events failed")
