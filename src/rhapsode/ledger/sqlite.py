"""The ledger in an SQLite file: what is special about SQLite stands here and nowhere else.

A file that is truncated, damaged, foreign or of a newer Rhapsode is refused and left untouched. A new file is built
under another name and renamed, so that an empty file in its place always means damage.
"""

import errno
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from rhapsode.durable import sync_folder
from rhapsode.errors import LedgerError, StorageFull
from rhapsode.ledger import migrate
from rhapsode.ledger.backend import BEGIN_EPOCH, READERS, Trouble, Values, compile_for

_MAGIC = b"SQLite format 3\x00"
_FULL_CHECK_LIMIT = 64 << 20
"""Files up to this size (bytes) are checked in full at start: at most about 0.3 s."""
_BUSY_S = 10
"""How long to wait for another process that holds the write lock."""
_PRAGMAS = {
    "busy_timeout": _BUSY_S * 1000,
    "foreign_keys": "ON",
    "synchronous": "FULL",
    "temp_store": "MEMORY",
    "journal_size_limit": 64 << 20,
    "wal_autocheckpoint": 4000,
}
_WRITER_PRAGMAS = {**_PRAGMAS, "cache_size": -16_000, "secure_delete": "ON"}  # what was purged is gone from the file
_READER_PRAGMAS = {**_PRAGMAS, "cache_size": -4_000, "query_only": "ON"}

_TROUBLE = {
    sqlite3.SQLITE_FULL: Trouble.FULL,
    sqlite3.SQLITE_IOERR: Trouble.FATAL,
    sqlite3.SQLITE_CORRUPT: Trouble.FATAL,
    sqlite3.SQLITE_NOTADB: Trouble.FATAL,
    sqlite3.SQLITE_BUSY: Trouble.GROUP,
    sqlite3.SQLITE_LOCKED: Trouble.GROUP,
    sqlite3.SQLITE_NOMEM: Trouble.GROUP,
    sqlite3.SQLITE_READONLY: Trouble.GROUP,
    sqlite3.SQLITE_CANTOPEN: Trouble.GROUP,
    sqlite3.SQLITE_PROTOCOL: Trouble.GROUP,
}


class SqliteDatabase:
    """An open SQLite file: one connection that writes, a few that read. See :class:`rhapsode.ledger.database.Database`.

    Args:
        path: The file; its folder is made when it is missing.

    Raises:
        LedgerError: The file cannot be used; it names the file and the way out, and nothing was changed.
    """

    shared = False
    available = True
    settling = False

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()
        self.name = str(self.path)
        with _as_ledger_error(self.path):
            if _is_new(self.path):
                _create(self.path)
            else:
                _check(self.path)
            self._engine = _engine(self.path, _WRITER_PRAGMAS, 1)
            self._syncs = True
            self._inserts: dict[sa.Table, str] = {}
            self._readers = _engine(self.path, _READER_PRAGMAS, READERS)
            try:
                _migrate(self._engine)
                self._writer = self._engine.raw_connection()
            except BaseException:
                self._engine.dispose()
                raise
        self._cursor = self.writer_cursor()

    def close(self) -> None:
        """Close all connections; the last one empties the write-ahead log."""
        self._cursor.close()
        self._readers.dispose()
        self._writer.close()
        self._engine.dispose()

    def begin_epoch(self, now: float, node: str) -> int:
        """Begin a new epoch for this node; larger than all before it, and durable."""
        with _as_ledger_error(self.path):
            sql, constants = self.compile(BEGIN_EPOCH)
            ((epoch,),) = self.query(sql, {**constants, "now": now, "node": node})
            return int(epoch)

    def reader(self) -> sa.Connection:
        """A read-only connection that sees what is committed; close it to give it back. For any thread."""
        return self._readers.connect()

    def writer_cursor(self) -> sqlite3.Cursor:
        """A cursor of the one connection that writes, which leaves BEGIN and COMMIT to its user."""
        return self._driver.cursor()

    def listen(self, epoch: int, wake: Callable[[], None]) -> Callable[[], None]:
        """Nobody else writes."""
        return lambda: None

    def stop_waiting(self) -> None:
        """A file is never out of reach."""

    # -- the writer's session: see the protocol -----------------------------------------------------------------

    def compile(self, statement: sa.Executable) -> tuple[str, Values]:  # noqa: D102
        return compile_for(self._engine.dialect, statement)

    def now(self) -> float | None:  # noqa: D102
        return None

    def begin(self, lasting: bool, epoch: int) -> None:  # noqa: D102 - no other node can have taken over
        if lasting != self._syncs:
            # In WAL mode a commit that is not synced is kept whole by its checksum, and synced with the next that is.
            self._cursor.execute(f"PRAGMA synchronous = {'FULL' if lasting else 'NORMAL'}")
            self._syncs = lasting
        self._cursor.execute("BEGIN IMMEDIATE")

    def query(self, sql: str, values: Values) -> Sequence[Sequence[Any]]:  # noqa: D102
        rows: list[Sequence[Any]] = self._cursor.execute(sql, values).fetchall()
        return rows

    def query_all(self, statements: Sequence[tuple[str, Values]]) -> Sequence[Sequence[Sequence[Any]]]:  # noqa: D102
        return [self.query(sql, values) for sql, values in statements]

    def run(self, sql: str, values: Values) -> None:  # noqa: D102
        self._cursor.execute(sql, values)

    def count(self, sql: str, values: Values) -> int:  # noqa: D102
        return self._cursor.execute(sql, values).rowcount

    def insert(self, table: sa.Table, rows: Sequence[Values]) -> None:  # noqa: D102
        sql = self._inserts.get(table)
        if sql is None:
            sql = self._inserts[table] = self.compile(table.insert())[0]
        self._cursor.executemany(sql, rows)

    def savepoint(self) -> None:  # noqa: D102
        self._cursor.execute("SAVEPOINT command")

    def keep(self, *, savepoint: bool) -> None:  # noqa: D102
        if savepoint:
            self._cursor.execute("RELEASE command")

    def undo(self) -> None:  # noqa: D102
        self._cursor.execute("ROLLBACK TO command")
        self._cursor.execute("RELEASE command")

    def commit(self, told: bool) -> None:  # noqa: D102 - nobody else listens
        self._cursor.execute("COMMIT")

    def rollback(self) -> None:  # noqa: D102
        self._cursor.execute("ROLLBACK")

    def in_transaction(self) -> bool:  # noqa: D102
        return self._driver.in_transaction

    def was_committed(self) -> bool:  # noqa: D102
        return False

    def trouble(self, error: Exception) -> Trouble:  # noqa: D102
        code = getattr(error, "sqlite_errorcode", None)
        return Trouble.COMMAND if code is None else _TROUBLE.get(code & 0xFF, Trouble.COMMAND)

    def explain(self, error: Exception) -> Exception:  # noqa: D102
        if not isinstance(error, sqlite3.Error):
            return error
        explained = LedgerError(f"The ledger {self.path} refused a write: {error}.")
        explained.__cause__ = error
        return explained

    @property
    def _driver(self) -> sqlite3.Connection:
        connection = self._writer.driver_connection
        assert isinstance(connection, sqlite3.Connection)  # noqa: S101 - tells the type checker
        return connection


@contextmanager
def _as_ledger_error(path: Path) -> Iterator[None]:
    """Turn what the driver raises while opening into an error that names the file and the way out."""
    try:
        yield
    except (sqlite3.Error, sa.exc.DBAPIError, OSError) as error:
        cause = error.orig if isinstance(error, sa.exc.DBAPIError) else error
        code = getattr(cause, "sqlite_errorcode", 0) & 0xFF
        if code == sqlite3.SQLITE_FULL:
            raise StorageFull(f"No space left for the ledger {path}: free some, then start again.") from error
        if code in {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}:
            raise _damaged(path, str(cause)) from error
        raise LedgerError(
            f"The ledger {path} cannot be opened: {cause}. Check its disk, folder and permissions."
        ) from error


def _damaged(path: Path, why: str) -> LedgerError:
    return LedgerError(
        f"The ledger {path} is damaged ({why}). Nothing was changed. Restore it from a backup, or move it away together "
        f"with {path.name}-wal and {path.name}-shm to start with an empty one."
    )


def _engine(path: Path, pragmas: Mapping[str, object], connections: int) -> sa.Engine:
    engine = sa.create_engine(
        sa.URL.create("sqlite", database=str(path)),
        isolation_level="AUTOCOMMIT",
        paramstyle="named",
        poolclass=sa.QueuePool,
        pool_size=connections,
        max_overflow=0,
        connect_args={"check_same_thread": False, "cached_statements": 256, "timeout": _BUSY_S},
    )

    def prepare(connection: sqlite3.Connection, _record: object) -> None:
        for name, value in pragmas.items():
            connection.execute(f"PRAGMA {name}={value}")

    sa.event.listen(engine, "connect", prepare)
    return engine


def _is_new(path: Path) -> bool:
    if path.exists():
        return False
    if _has_log(path):
        raise _damaged(path, f"the file is missing although its log {path.name}-wal is there")
    return True


def _has_log(path: Path) -> bool:
    """Whether there is a write-ahead log with something in it."""
    log = path.with_name(path.name + "-wal")
    return log.exists() and log.stat().st_size > 0


def require_fit(path: Path) -> None:
    """Look at a file without writing to it.

    Raises:
        LedgerError: It is cut off, damaged, foreign or of a newer Rhapsode; names the file and the way out.
    """
    with _as_ledger_error(path):
        _check(path)


def _check(path: Path) -> None:
    """Refuse a file that is not ours or not whole, without writing to it."""
    with path.open("rb") as file:
        header = file.read(100)
    size = path.stat().st_size
    if len(header) < 100:
        raise _damaged(path, f"it has only {size} bytes")
    if not header.startswith(_MAGIC):
        raise LedgerError(f"{path} is not a ledger: not an SQLite file. Nothing was changed. Name another file.")
    # Without a log nothing but the file counts, and not even an empty log is to be made.
    mode = "mode=ro" if _has_log(path) else "immutable=1"
    with closing(sqlite3.connect(f"{path.as_uri()}?{mode}", uri=True, timeout=_BUSY_S)) as connection:
        tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        expected = _pragma(connection, "page_count") * _pragma(connection, "page_size")
        if size < expected and not _has_log(path):  # pages may live in the log only
            raise _damaged(path, f"it was cut off: {size} of {expected} bytes")
        if not {"alembic_version", "jobs"} <= tables:
            raise LedgerError(
                f"{path} is not a ledger: another program's database. Nothing was changed. Name another file."
            )
        stored = {revision for (revision,) in connection.execute("SELECT version_num FROM alembic_version")}
        if not stored or not stored <= migrate.revisions():
            raise LedgerError(
                f"The ledger {path} was written by a newer Rhapsode (schema {', '.join(sorted(stored)) or 'unknown'}). "
                "Nothing was changed. Install that version again, or name another data directory."
            )
        if size <= _FULL_CHECK_LIMIT:
            (finding,) = connection.execute("PRAGMA quick_check(1)").fetchone()
            if finding != "ok":
                raise _damaged(path, str(finding))


def _pragma(connection: sqlite3.Connection, name: str) -> int:
    (value,) = connection.execute(f"PRAGMA {name}").fetchone()
    return int(value)


def _create(path: Path) -> None:
    """Build an empty ledger under another name, make it durable, and put it in place."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(path.name + ".new")
    for suffix in ("", "-journal", "-wal", "-shm"):
        draft.with_name(draft.name + suffix).unlink(missing_ok=True)
    engine = _engine(draft, _WRITER_PRAGMAS, 1)
    try:
        with engine.connect() as connection:
            connection.exec_driver_sql("PRAGMA journal_mode=WAL")
        _migrate(engine)
        with engine.connect() as connection:  # closing would do it, too, but would not say that it failed
            connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
    finally:
        engine.dispose()
    if _has_log(draft):
        raise OSError(errno.EIO, "its log could not be written into it")
    draft.replace(path)
    sync_folder(path.parent)


def _migrate(engine: sa.Engine) -> None:
    """Bring the schema up to date in one transaction."""
    with engine.connect() as connection:
        with suppress(sa.exc.OperationalError):  # no such table: the schema is still to be built
            if connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar() == migrate.head():
                return
        connection.exec_driver_sql("BEGIN IMMEDIATE")
        try:
            migrate.upgrade(connection)
        except BaseException:
            connection.exec_driver_sql("ROLLBACK")
            raise
        connection.exec_driver_sql("COMMIT")
