"""Servers for the tests of this folder; none outlives its test."""

from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import Any

import pytest_asyncio

from tests.faults.harness import ServerProcess

MakeServer = Callable[..., ServerProcess]


@pytest_asyncio.fixture
async def make_server(tmp_path: Path) -> AsyncIterator[MakeServer]:
    """Make servers, each in a folder of its own."""
    made: list[ServerProcess] = []

    def make(
        name: str = "server", changes: Mapping[str, Any] | None = None, data_dir: Path | None = None
    ) -> ServerProcess:
        server = ServerProcess(tmp_path / name, changes, data_dir)
        made.append(server)
        return server

    yield make
    for server in made:
        await server.put_down()
