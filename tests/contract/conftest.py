"""The backends that the contract suites of ledgers and blobs run against."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

from rhapsode.blobs.base import BlobStore
from rhapsode.blobs.local import LocalBlobs
from rhapsode.blobs.s3 import S3Blobs, S3Options
from rhapsode.ledger.base import Ledger
from rhapsode.ledger.sql import SqlLedger
from tests.buckets import Buckets
from tests.contract.ledger_values import TTL_S, Clock, OpenLedger
from tests.postgres import Postgres, running_postgres


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """A server that waits for no disk."""
    with running_postgres(durable=False) as server:
        yield server


@pytest.fixture(scope="session")
def template(postgres: Postgres) -> str:
    """A database with the schema in it."""
    name = postgres.create()

    async def migrate() -> None:
        ledger = SqlLedger(postgres.url(name), ttl_s=TTL_S)
        await ledger.open()
        await ledger.close()

    asyncio.run(migrate())
    postgres.execute("TRUNCATE nodes RESTART IDENTITY", database=name)
    return name


@pytest.fixture
def new_database(postgres: Postgres, template: str) -> Iterator[Callable[[], str]]:
    """Makes databases; their addresses."""
    made: list[str] = []

    def make() -> str:
        made.append(postgres.create(template))
        return postgres.url(made[-1])

    yield make
    for name in made:
        postgres.drop(name)


@pytest.fixture(params=["sqlite", "postgres"])
def ledger_url(request: pytest.FixtureRequest, tmp_path: Path) -> str | Path:
    """Where a ledger is, on each kind of database."""
    if request.param == "sqlite":
        return tmp_path / "ledger.db"
    make: Callable[[], str] = request.getfixturevalue("new_database")
    return make()


@pytest.fixture
async def open_ledger(ledger_url: str | Path, clock: Clock) -> AsyncIterator[OpenLedger]:
    """Opens the same ledger, anew each time, as a server does at its start."""
    opened: list[Ledger] = []

    async def open_() -> Ledger:
        ledger = SqlLedger(ledger_url, clock=clock, ttl_s=TTL_S)
        opened.append(ledger)
        await ledger.open()
        return ledger

    yield open_
    for ledger in opened:
        await ledger.close()


@pytest.fixture
async def ledger(open_ledger: OpenLedger) -> Ledger:
    return await open_ledger()


@pytest.fixture(params=["local", "local-flat", "s3"])
def blobs(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[BlobStore]:
    store: BlobStore
    if request.param == "s3":
        buckets: Buckets = request.getfixturevalue("buckets")
        store = S3Blobs(S3Options(f"{buckets.url}/{tmp_path.name}", buckets.endpoint), "takes", tmp_path / "uploads")
    else:
        store = LocalBlobs(tmp_path / "blobs", fan_out=request.param == "local")
    yield store
    store.close()
