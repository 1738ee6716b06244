"""What the ledger needs of a database: one session that writes, in one thread, and a few connections that read.

What is special about a database stands in its own file: :mod:`rhapsode.ledger.sqlite`, :mod:`rhapsode.ledger.postgres`.
"""

import importlib
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Protocol

import sqlalchemy as sa
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from rhapsode.errors import ConfigError, LedgerError, LedgerUnavailable
from rhapsode.ledger.backend import Trouble, Values
from rhapsode.ledger.schema import LIVE, jobs
from rhapsode.ledger.sqlite import SqliteDatabase


class Database(Protocol):
    """An open database. Only :meth:`reader` and what is told apart there is for other threads than the writer's."""

    @property
    def name(self) -> str:
        """The file, or the address without its password: for messages."""
        ...

    @property
    def shared(self) -> bool:
        """Whether other nodes may write to it, too."""
        ...

    @property
    def available(self) -> bool:
        """Whether it could be reached when it was last tried. For any thread."""
        ...

    @property
    def settling(self) -> bool:
        """Whether the writer waits until it is known how a transaction ended. For any thread."""
        ...

    def close(self) -> None:
        """Close all connections."""
        ...

    def begin_epoch(self, now: float, node: str) -> int:
        """Begin a new epoch for this node; larger than all before it, and durable."""
        ...

    def reader(self) -> AbstractContextManager[sa.Connection]:
        """A read-only connection that sees what is committed. For any thread.

        Raises:
            LedgerUnavailable: The database cannot be reached, or went away.
        """
        ...

    def listen(self, epoch: int, wake: Callable[[], None]) -> Callable[[], None]:
        """Call ``wake``, from any thread, when other nodes than ``epoch`` have committed events, and about once a second.

        Returns:
            What ends it.
        """
        ...

    def stop_waiting(self) -> None:
        """Wait for nothing any more that is out of reach."""
        ...

    # -- the writer's session -----------------------------------------------------------------------------------

    def compile(self, statement: sa.Executable) -> tuple[str, Values]:
        """The SQL of a Core statement with named parameters, and the values of its constants."""
        ...

    def now(self) -> float | None:
        """The time of the database's own clock, seconds since the epoch; None when this machine's serves."""
        ...

    def begin(self, lasting: bool, epoch: int) -> None:
        """Begin a transaction, alone among all writers; ``lasting`` as in :meth:`rhapsode.ledger.writer.Writer.call`.

        Raises:
            LedgerUnavailable: The database cannot be reached.
            LeaseLost: The other nodes have given this one up.
        """
        ...

    def query(self, sql: str, values: Values) -> Sequence[Sequence[Any]]:
        """The rows that a statement gives."""
        ...

    def query_all(self, statements: Sequence[tuple[str, Values]]) -> Sequence[Sequence[Sequence[Any]]]:
        """The rows that each of these statements gives, run one after another, with one wait for all."""
        ...

    def run(self, sql: str, values: Values) -> None:
        """Run a statement; an error may show with the next one, at :meth:`keep` at the latest."""
        ...

    def count(self, sql: str, values: Values) -> int:
        """Run a statement; how many rows it changed."""
        ...

    def insert(self, table: sa.Table, rows: Sequence[Values]) -> None:
        """Insert rows that name every column; errors as for :meth:`run`."""
        ...

    def savepoint(self) -> None:
        """Begin a part of the transaction that can be undone on its own."""
        ...

    def keep(self, *, savepoint: bool) -> None:
        """The command ends well, and so does its savepoint if there was one; raises what :meth:`run` has held back."""
        ...

    def undo(self) -> None:
        """Undo all since the savepoint, and end it."""
        ...

    def commit(self, told: bool) -> None:
        """Make the transaction durable; ``told``: it has events, so other nodes are woken."""
        ...

    def rollback(self) -> None:
        """Undo the transaction."""
        ...

    def in_transaction(self) -> bool:
        """Whether there is something to commit or to roll back; some errors roll back on their own."""
        ...

    def was_committed(self) -> bool:
        """Whether the transaction whose connection was lost is durable all the same; waits until that can be known."""
        ...

    def trouble(self, error: Exception) -> Trouble:
        """Whom an error of the writer's session concerns."""
        ...

    def explain(self, error: Exception) -> Exception:
        """What the author of a refused command is told: the driver's errors as the ledger's, others as they are."""
        ...


def open_database(url_or_path: str | Path) -> Database:
    """Open the database of a ledger, migrated.

    Args:
        url_or_path: A file's path, ``sqlite:///path`` or ``postgresql://…``.

    Raises:
        LedgerError: It cannot be used; the message says why and what to do.
        ConfigError: The driver is not installed.
    """
    if isinstance(url_or_path, Path) or "://" not in url_or_path:
        return SqliteDatabase(Path(url_or_path))
    try:
        url = make_url(url_or_path)
    except ArgumentError as error:
        raise LedgerError(f"The ledger URL {url_or_path!r} cannot be read: {error}") from error
    if url.get_backend_name() == "sqlite" and url.database and url.database != ":memory:":
        return SqliteDatabase(Path(url.database))
    if url.get_backend_name() != "postgresql":
        raise LedgerError(
            f"The ledger URL {url.render_as_string()} must be a path, sqlite:///path of a file, or postgresql://…"
        )
    try:
        module = importlib.import_module("rhapsode.ledger.postgres")
    except ImportError as error:
        raise _driver_missing(error) from error
    database: Database = module.PostgresDatabase(url)
    return database


def count_jobs(url: str) -> Mapping[str, int] | None:
    """Jobs by status in a PostgreSQL ledger, without tombstones; None when there is no ledger in it. Only looks.

    Raises:
        LedgerUnavailable: It cannot be reached.
        ConfigError: The driver is not installed.
    """
    known = make_url(url)
    try:
        engine = sa.create_engine(
            known.set(drivername="postgresql+psycopg"), poolclass=sa.NullPool, connect_args={"connect_timeout": 5}
        )
        with engine.connect() as connection:
            if not sa.inspect(connection).has_table(jobs.name):
                return None
            counted = connection.execute(sa.select(jobs.c.status, sa.func.count()).where(LIVE).group_by(jobs.c.status))
            return {str(row[0]): int(row[1]) for row in counted}
    except ImportError as error:
        raise _driver_missing(error) from error
    except sa.exc.OperationalError as error:
        name = known.render_as_string(hide_password=True)
        raise LedgerUnavailable(f"The database {name} cannot be reached: {error.orig}") from error


def _driver_missing(error: ImportError) -> ConfigError:
    return ConfigError(
        f"ledger.url: PostgreSQL needs a driver ({error}); install it with: pip install rhapsode[postgres]"
    )
