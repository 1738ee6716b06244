"""What the databases behind the ledger share."""

from collections.abc import Mapping
from enum import Enum
from typing import Any

import sqlalchemy as sa
from sqlalchemy.sql.compiler import SQLCompiler

from rhapsode.errors import LedgerUnavailable
from rhapsode.ledger.schema import nodes

Values = Mapping[str, Any]
READERS = 4
"""Connections that read."""

BEGIN_EPOCH = (
    nodes.insert()
    .values(opened_at=sa.bindparam("now"), name=sa.bindparam("node"), seen_at=sa.bindparam("now"), ended_at=None)
    .returning(nodes.c.epoch)
)
"""A node's first command; its number is the epoch."""


class ConnectionStale(LedgerUnavailable):
    """A connection for reading that was kept had gone; another one may be had."""


class Trouble(Enum):
    """Whom an error concerns."""

    COMMAND = "only the command that raised it"
    GROUP = "the whole transaction; the next one may succeed"
    AGAIN = "the whole transaction, which was undone for the sake of another one; doing it again is safe"
    LOST = "the connection; what is stored can be found out"
    FULL = "the whole transaction; the disk is full"
    FATAL = "the ledger: what is on disk is no longer known"


def compile_for(dialect: sa.Dialect, statement: sa.Executable) -> tuple[str, Values]:
    """The SQL of a Core statement with named parameters, and the values of its constants."""
    assert isinstance(statement, sa.ClauseElement)  # noqa: S101 - true of all Core statements; tells the type checker
    compiled = statement.compile(dialect=dialect)
    assert isinstance(compiled, SQLCompiler)  # noqa: S101 - as above
    return str(compiled), {name: bind.value for name, bind in compiled.binds.items() if not bind.required}
