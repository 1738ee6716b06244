"""The backends that the contract suites of ledgers and blobs run against."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from rhapsode.blobs.base import BlobStore
from rhapsode.blobs.local import LocalBlobs
from rhapsode.blobs.s3 import S3Blobs, S3Options
from rhapsode.ledger.base import Ledger
from rhapsode.ledger.sql import SqlLedger
from tests.buckets import Buckets
from tests.contract.ledger_values import TTL_S, Clock, OpenLedger


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(params=["sqlite"])
async def open_ledger(tmp_path: Path, clock: Clock) -> AsyncIterator[OpenLedger]:
    """Opens the same ledger, anew each time, as a server does at its start."""
    opened: list[Ledger] = []

    async def open_() -> Ledger:
        ledger = SqlLedger(tmp_path / "ledger.db", clock=clock, ttl_s=TTL_S)
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
