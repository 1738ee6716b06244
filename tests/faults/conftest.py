"""Servers for the tests of this folder: none outlives its test, and none is let go without being checked."""

from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from tests.faults.checker import check
from tests.faults.harness import ServerProcess
from tests.faults.shim import build_shim

MakeServer = Callable[..., ServerProcess]


@pytest.fixture(scope="session")
def shim_library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """See :mod:`tests.faults.shim`."""
    return build_shim(tmp_path_factory.mktemp("shim"))


@pytest_asyncio.fixture
async def make_server(tmp_path: Path) -> AsyncIterator[MakeServer]:
    """Make servers, each in a folder of its own; behind the test, what was said and what is stored must agree."""
    made: list[ServerProcess] = []

    def make(
        name: str = "server",
        changes: Mapping[str, Any] | None = None,
        data_dir: Path | None = None,
        library: Path | None = None,
    ) -> ServerProcess:
        server = ServerProcess(tmp_path / name, changes, data_dir, library)
        made.append(server)
        return server

    yield make
    for server in made:
        await server.put_down()
    for server in made:
        server.record.dump(server.folder / "record.jsonl")
        if server.ledger.path.exists() and not server.unchecked:
            check(server)
