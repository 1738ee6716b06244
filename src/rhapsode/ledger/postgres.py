"""The ledger in PostgreSQL, shared by several nodes: what is special about it stands here and nowhere else.

All transactions that write are one after another, over all nodes, by an advisory lock: what a command reads stays true until
it has written, and events are numbered in the order of their commits. Within a transaction statements are sent without waiting for
the answers that nobody needs (pipelining). Why, and what a lost connection means: ``docs/decisions/postgres-ledger.md``.
"""

import logging
import threading
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from typing import Any

import psycopg
import sqlalchemy as sa
from psycopg.adapt import Loader
from psycopg.waiting import Ready, Wait

from rhapsode.errors import LeaseLost, LedgerError, LedgerUnavailable
from rhapsode.ledger import migrate
from rhapsode.ledger.backend import BEGIN_EPOCH, READERS, ConnectionStale, Trouble, Values, compile_for

log = logging.getLogger(__name__)

_LOCK = 0x7268_6170
"""Of all writers of one database ("rhap")."""
_CHANNEL = "rhapsode"
_POLL_S = 1.0
"""Notifications are hints: how long at most nobody looks."""
_CONNECT: Mapping[str, object] = {
    "connect_timeout": 5,
    "application_name": "rhapsode",
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 3,
    "tcp_user_timeout": 10_000,
}
"""A host that is gone is noticed within about ten seconds. What the URL says goes before."""
_HANGING_S = 5
"""A node that is stopped in a transaction must not stop the others for longer."""
_READER_OPTIONS = "-c default_transaction_read_only=on"
_WAIT_S = (0.1, 2.0)
"""Shortest and longest time between two attempts to connect."""

_NOW = "SELECT extract(epoch FROM clock_timestamp())::float8"
_LEASE = """
    SELECT pg_current_xact_id()::text, EXISTS (SELECT FROM nodes WHERE epoch = %(epoch)s AND ended_at IS NULL)
"""

_FULL = "53100"
_UNDONE = frozenset({"40001", "40P01"})  # serialization failure, deadlock
_STANDBY = "25006"  # what was the primary has become a standby
_GROUP_CLASSES = frozenset({"53", "54", "55", "57", "58", "XX"})


class _IntLoader(Loader):
    """Sums of 64-bit numbers come as ``numeric``; all of ours are whole."""

    def load(self, data: bytes | bytearray | memoryview) -> int:
        """The number."""
        return int(bytes(data))


def _flushed(pgconn: "psycopg.pq.abc.PGconn") -> Generator[Wait, Ready | int, None]:
    """Send all that is buffered, for ``Connection.wait``.

    A pipeline (psycopg 3.3) waits for answers although the socket took only a part of what it wrote; the server then waits, too, for
    the rest: for ever.
    """
    while pgconn.flush():
        if (yield Wait.RW) & Ready.R:
            pgconn.consume_input()


def _adapt(connection: "psycopg.Connection[Any]") -> None:
    connection.adapters.register_loader("numeric", _IntLoader)


class PostgresDatabase:
    """A PostgreSQL database. See :class:`rhapsode.ledger.database.Database`.

    Args:
        url: ``postgresql://user:password@host:port/database?…``; parameters as of libpq.

    Raises:
        LedgerUnavailable: It cannot be reached.
        LedgerError: It is another program's, or of a newer Rhapsode; nothing was changed.
    """

    shared = True

    def __init__(self, url: sa.URL) -> None:
        self.name = url.render_as_string(hide_password=True)
        self.available = True
        self.settling = False
        self._engine = sa.create_engine(
            url.set(drivername="postgresql+psycopg"),
            isolation_level="AUTOCOMMIT",
            pool_size=READERS,
            max_overflow=0,
            pool_use_lifo=True,
            connect_args={**_CONNECT, **_options(url, _READER_OPTIONS)},
        )
        sa.event.listen(self._engine, "connect", lambda connection, _: _adapt(connection))
        arguments, parameters = self._engine.dialect.create_connect_args(url)
        self._parameters: dict[str, Any] = {
            **_CONNECT,
            **parameters,
            **_options(url, f"-c idle_in_transaction_session_timeout={_HANGING_S}s"),
        }
        assert not arguments  # noqa: S101 - of this driver
        self._connection: psycopg.Connection[Any] | None = None
        self._pipeline: psycopg.Pipeline | None = None
        self._session = ExitStack()
        self._unanswered = False
        self._open = False
        self._committing = False
        self._transaction_id = ""
        self._epoch = 0
        self._inserts: dict[sa.Table, str] = {}
        self._wait_s = _WAIT_S[0]
        self._connect_at = 0.0
        self._stopped = threading.Event()
        self._migrate(url)

    def close(self) -> None:
        """Close all connections."""
        self._engine.dispose()
        self._drop()

    def begin_epoch(self, now: float, node: str) -> int:
        """Begin a new epoch for this node; larger than all before it, and durable."""
        sql, constants = self.compile(BEGIN_EPOCH)
        with self._as_unavailable(), self._connect() as connection, connection.transaction():
            connection.execute("SELECT pg_advisory_xact_lock(%s)", [_LOCK])
            ((now,),) = connection.execute(_NOW).fetchall()
            ((epoch,),) = connection.execute(sql, {**constants, "now": now, "node": node}).fetchall()
            return int(epoch)

    @contextmanager
    def reader(self) -> Iterator[sa.Connection]:
        """A read-only connection that sees what is committed. For any thread.

        Raises:
            LedgerUnavailable: The database cannot be reached, or went away (then :class:`ConnectionStale`).
        """
        try:
            with self._engine.connect() as connection:
                yield connection
        except sa.exc.DBAPIError as error:
            message = f"The database {self.name} cannot be read just now: {error.orig}"
            if error.connection_invalidated:
                raise ConnectionStale(message) from error
            if isinstance(error, sa.exc.OperationalError | sa.exc.InterfaceError):
                raise LedgerUnavailable(message) from error
            raise

    def listen(self, epoch: int, wake: Callable[[], None]) -> Callable[[], None]:
        """Call ``wake`` when others have committed events, and about once a second; gives what ends it."""
        done = threading.Event()
        thread = threading.Thread(target=self._listen, args=(str(epoch), wake, done), name="ledger-news", daemon=True)
        thread.start()
        return done.set

    def _listen(self, own: str, wake: Callable[[], None], done: threading.Event) -> None:
        while not done.is_set():
            try:
                with self._connect() as connection:
                    connection.execute(f"LISTEN {_CHANNEL}")
                    while not done.is_set():
                        wake()
                        deadline = time.monotonic() + _POLL_S
                        while (left := deadline - time.monotonic()) > 0:
                            news = list(connection.notifies(timeout=left, stop_after=1))
                            if any(one.payload != own for one in news):
                                break
            except psycopg.Error as error:
                log.debug("listening broke off: %s", error)
                done.wait(_POLL_S)

    def stop_waiting(self) -> None:
        """Wait for nothing any more that is out of reach."""
        self._stopped.set()

    # -- the writer's session: see the protocol -----------------------------------------------------------------

    def compile(self, statement: sa.Executable) -> tuple[str, Values]:  # noqa: D102
        return compile_for(self._engine.dialect, statement)

    def now(self) -> float | None:  # noqa: D102
        return float(self.query(_NOW, {})[0][0])

    def begin(self, lasting: bool, epoch: int) -> None:  # noqa: D102
        self._reach()
        self._committing = False
        self._epoch = epoch
        self._send("BEGIN")
        self._open = True
        if not lasting:
            self._send("SET LOCAL synchronous_commit = off")
        self._send("SELECT pg_advisory_xact_lock(%(lock)s)", {"lock": _LOCK})
        ((self._transaction_id, holds),) = self.query(_LEASE, {"epoch": epoch})
        if not holds:
            self.rollback()
            raise LeaseLost("This node was silent for too long, and others have taken over its jobs; it begins anew.")

    def query(self, sql: str, values: Values) -> Sequence[Sequence[Any]]:  # noqa: D102
        return self.query_all([(sql, values)])[0]

    def query_all(self, statements: Sequence[tuple[str, Values]]) -> Sequence[Sequence[Sequence[Any]]]:  # noqa: D102
        cursors = [self._send(sql, values) for sql, values in statements]
        self._answers()
        return [cursor.fetchall() for cursor in cursors]

    def run(self, sql: str, values: Values) -> None:  # noqa: D102
        self._send(sql, values)
        self._unanswered = True

    def count(self, sql: str, values: Values) -> int:  # noqa: D102
        cursor = self._send(sql, values)
        self._answers()
        return cursor.rowcount

    def insert(self, table: sa.Table, rows: Sequence[Values]) -> None:  # noqa: D102
        if not rows:
            return
        sql = self._inserts.get(table)
        if sql is None:
            dialect = self._engine.dialect
            names = ", ".join(dialect.identifier_preparer.format_column(column) for column in table.c)
            arrays = ", ".join(f"%({column.name})s::{column.type.compile(dialect)}[]" for column in table.c)
            sql = self._inserts[table] = f"INSERT INTO {table.name} ({names}) SELECT * FROM unnest({arrays})"  # noqa: S608
        self.run(sql, {column.name: [row[column.name] for row in rows] for column in table.c})

    def savepoint(self) -> None:  # noqa: D102
        self._send("SAVEPOINT command")

    def keep(self, *, savepoint: bool) -> None:  # noqa: D102
        if self._unanswered:  # so that an error is known to be this command's
            self._answers()
        if savepoint:
            self._send("RELEASE command")

    def undo(self) -> None:  # noqa: D102
        self._clear()
        self._send("ROLLBACK TO command")
        self._send("RELEASE command")
        self._answers()

    def commit(self, told: bool) -> None:  # noqa: D102
        if told:
            self._send("SELECT pg_notify(%(channel)s, %(own)s)", {"channel": _CHANNEL, "own": str(self._epoch)})
        self._answers()
        self._committing = True
        self._send("COMMIT")
        self._answers()
        self._open = self._committing = False

    def rollback(self) -> None:  # noqa: D102
        self._open = False
        try:
            self._clear()
            self._send("ROLLBACK")
            self._answers()
        except psycopg.Error:
            self._drop()  # which rolls back as well

    def in_transaction(self) -> bool:  # noqa: D102
        return self._open and self._connection is not None and not self._connection.closed

    def was_committed(self) -> bool:  # noqa: D102
        if not self._committing:
            return False  # COMMIT was not sent, and without it everything is undone
        self._committing = False
        return self._outcome(self._transaction_id)

    def trouble(self, error: Exception) -> Trouble:  # noqa: D102
        if isinstance(error, LedgerUnavailable):
            return Trouble.GROUP
        if not isinstance(error, psycopg.Error):
            return Trouble.COMMAND
        if self._connection is None or self._connection.closed:
            return Trouble.LOST
        state = error.sqlstate or ""
        if state == _STANDBY:
            self._drop()
            return Trouble.LOST
        if state == _FULL:
            return Trouble.FULL
        if state in _UNDONE:
            return Trouble.AGAIN
        return Trouble.GROUP if state[:2] in _GROUP_CLASSES else Trouble.COMMAND

    def explain(self, error: Exception) -> Exception:  # noqa: D102
        if not isinstance(error, psycopg.Error):
            return error
        explained = LedgerError(f"The ledger {self.name} refused a write: {error}.")
        explained.__cause__ = error
        return explained

    # -- within -------------------------------------------------------------------------------------------------

    def _send(self, sql: str, values: Values | None = None) -> "psycopg.Cursor[Any]":
        if self._connection is None:
            raise psycopg.OperationalError("the connection is closed")
        cursor = self._connection.cursor()
        try:
            return cursor.execute(sql.encode(), values)
        except psycopg.DataError:
            if values is None or (cleaned := _without_nul(values)) == values:
                raise
            return cursor.execute(sql.encode(), cleaned)

    def _answers(self) -> None:
        """Wait for the answers to all that was sent; raises the first error among them.

        Each wait is a Sync of the protocol, after which the server counts as idle in its transaction and watches the time.
        """
        self._unanswered = False
        if self._pipeline is not None and self._connection is not None:
            self._connection.wait(_flushed(self._connection.pgconn))
            self._pipeline.sync()

    def _clear(self) -> None:
        """Bring the session back to where statements are taken, whatever was sent; an error that shows now is known already."""
        with suppress(psycopg.errors.Error):
            self._answers()
        if self._connection is None or self._connection.closed:
            raise psycopg.OperationalError("the connection is closed")

    def _connect(self) -> "psycopg.Connection[Any]":
        connection = psycopg.connect(**self._parameters, autocommit=True, prepare_threshold=1)
        _adapt(connection)
        return connection

    def _reach(self) -> None:
        """Have a connection.

        Raises:
            LedgerUnavailable: There is none to be had now.
        """
        if self._connection is not None and not self._connection.closed:
            return
        self._drop()
        if not self.available and time.monotonic() < self._connect_at:
            raise LedgerUnavailable(f"The database {self.name} cannot be reached just now.")
        with self._as_unavailable():
            self._connection = self._connect()
            self._pipeline = self._session.enter_context(self._connection.pipeline())
        if not self.available:
            log.warning("the database %s is back", self.name)
        self.available = True
        self._wait_s = _WAIT_S[0]

    @contextmanager
    def _as_unavailable(self) -> Iterator[None]:
        try:
            yield
        except psycopg.OperationalError as error:
            if self.available:
                log.warning("the database %s cannot be reached: %s", self.name, error)
            self.available = False
            self._connect_at = time.monotonic() + self._wait_s
            self._wait_s = min(2 * self._wait_s, _WAIT_S[1])
            raise LedgerUnavailable(f"The database {self.name} cannot be reached just now: {error}") from error

    def _drop(self) -> None:
        connection, self._connection, self._pipeline = self._connection, None, None
        self._open = self._unanswered = False
        if connection is not None:
            connection.close()
        with suppress(psycopg.Error):  # of a connection that is no more
            self._session.close()

    def _outcome(self, transaction_id: str) -> bool:
        """Whether a transaction was committed that was cut off in its COMMIT. The database remembers; who asks must wait for it.

        Raises:
            LedgerUnavailable: This node stops, and nobody knows.
        """
        log.warning("the connection broke off while a transaction was committed; asking the database how it ended")
        self.settling = True
        try:
            while not self._stopped.wait(self._wait_s):
                with suppress(LedgerUnavailable), self._as_unavailable(), self._connect() as connection:
                    ((status,),) = connection.execute("SELECT pg_xact_status(%s::xid8)", [transaction_id]).fetchall()
                    if status != "in progress":
                        self.available = True
                        return bool(status == "committed")
        except psycopg.DataError:  # a database that was put in its place never heard of it
            return False
        finally:
            self.settling = False
        raise LedgerUnavailable(
            f"The database {self.name} cannot be reached: how the last transaction ended is unknown."
        )

    def _migrate(self, url: sa.URL) -> None:
        """Bring the schema up to date in one transaction; nodes that start together do it one after another."""
        engine = sa.create_engine(
            url.set(drivername="postgresql+psycopg"), poolclass=sa.NullPool, connect_args=dict(_CONNECT)
        )
        try:
            with engine.begin() as connection:
                connection.execute(sa.text(f"SELECT pg_advisory_xact_lock({_LOCK})"))
                if self._check(connection) != migrate.head():
                    migrate.upgrade(connection)
        except sa.exc.OperationalError as error:
            raise LedgerUnavailable(
                f"The database {self.name} cannot be reached: {error.orig}. Check ledger.url, and that the server runs."
            ) from error
        except sa.exc.ProgrammingError as error:
            raise LedgerError(f"The database {self.name} cannot be used: {error.orig}") from error
        finally:
            engine.dispose()

    def _check(self, connection: sa.Connection) -> str | None:
        """The schema's revision, or None of an empty database.

        Raises:
            LedgerError: It holds something else.
        """
        tables = set(sa.inspect(connection).get_table_names())
        if "alembic_version" not in tables:
            if "jobs" in tables:
                raise LedgerError(
                    f"{self.name} has tables of another program. Nothing was changed. Name another database."
                )
            return None
        stored = set(connection.execute(sa.text("SELECT version_num FROM alembic_version")).scalars())
        if not stored <= migrate.revisions():
            raise LedgerError(
                f"The ledger {self.name} was written by a newer Rhapsode, or by another program (schema "
                f"{', '.join(sorted(stored))}). Nothing was changed. Install that version again, or name another database."
            )
        return next(iter(stored), None)


def _without_nul(values: Values) -> Values:
    """PostgreSQL cannot hold U+0000 in texts; U+FFFD keeps its place, so that positions stay true. Neither is spoken."""

    def clean(value: object) -> object:
        if isinstance(value, list):
            return [clean(item) for item in value]
        return value.replace("\x00", "\ufffd") if isinstance(value, str) else value

    return {name: clean(value) for name, value in values.items()}


def _options(url: sa.URL, more: str) -> dict[str, str]:
    """What the server is told at the start of a session, behind what the URL says."""
    given = url.query.get("options", "")
    return {"options": f"{given if isinstance(given, str) else ' '.join(given)} {more}".strip()}
