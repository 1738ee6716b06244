"""A copy of a ledger's file at one moment, while a server writes to it; and what stands in such a copy. SQLite only."""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from rhapsode.errors import LedgerError

_BUSY_S = 30


@dataclass(frozen=True, slots=True)
class Needed:
    """The bytes that the rows of a ledger refer to."""

    takes: frozenset[str]
    """Digests."""
    results: dict[str, tuple[int, str]]
    """Size and SHA-256 of the finished files, by name."""


@dataclass(frozen=True, slots=True)
class Summary:
    """A look at a ledger."""

    jobs: dict[str, int]
    """By status, without tombstones."""
    newest: float
    """When it was last opened or a job last submitted, seconds since the epoch."""


def copy_ledger(source: Path, target: Path) -> None:
    """Copy a ledger as it stands at one moment between two commits; durable on return. Its writer does not wait.

    Args:
        source: The ledger; a server may have it open.
        target: Must not exist.

    Raises:
        LedgerError: It cannot be read, or the copy is not whole.
    """
    with _reading(source) as old, closing(sqlite3.connect(target)) as new:
        old.backup(new)  # all pages in one step: a copy in several would begin anew with each commit
        new.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    check_ledger(target, alone=True)
    with target.open("rb") as file:
        os.fsync(file.fileno())


def check_ledger(path: Path, alone: bool = False) -> None:
    """Look at every page and index of a ledger. Takes a second per few hundred megabytes.

    Args:
        path: Of the file.
        alone: Nobody has it open; nothing is written beside it then.

    Raises:
        LedgerError: It is damaged, or no ledger; names the file.
    """
    with _reading(path, alone) as ledger:
        found = [row for (row,) in ledger.execute("PRAGMA integrity_check(5)")]
        found += [
            f"a row of {table} refers to none of {parent}"
            for table, _, parent, _ in ledger.execute("PRAGMA foreign_key_check")
        ]
        if found != ["ok"]:
            raise LedgerError(f"{path} is damaged: {'; '.join(found[:5])}")


def needed_by(path: Path) -> Needed:
    """What the rows of a ledger refer to that nobody has open.

    Raises:
        LedgerError: It cannot be read.
    """
    with _reading(path, alone=True) as ledger:
        takes = frozenset(digest for (digest,) in ledger.execute("SELECT digest FROM takes"))
        query = "SELECT result_name, result_size, result_digest FROM jobs WHERE NOT deleted AND result_name IS NOT NULL"
        return Needed(takes, {name: (size, digest) for name, size, digest in ledger.execute(query)})


def summary_of(path: Path) -> Summary:
    """A look at a ledger; a server may have it open.

    Raises:
        LedgerError: It cannot be read.
    """
    with _reading(path) as ledger:
        jobs = dict(ledger.execute("SELECT status, COUNT(*) FROM jobs WHERE NOT deleted GROUP BY status"))
        query = "SELECT MAX((SELECT COALESCE(MAX(opened_at), 0) FROM nodes), (SELECT COALESCE(MAX(created_at), 0) FROM jobs))"
        return Summary(jobs, float(ledger.execute(query).fetchone()[0]))


@contextmanager
def _reading(path: Path, alone: bool = False) -> Iterator[sqlite3.Connection]:
    try:
        with closing(
            sqlite3.connect(f"{path.as_uri()}?{'immutable=1' if alone else 'mode=ro'}", uri=True, timeout=_BUSY_S)
        ) as connection:
            yield connection
    except sqlite3.Error as error:
        raise LedgerError(f"{path} cannot be read: {error}") from error
