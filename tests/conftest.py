"""Run tests on the event loop that the server uses; servers that many tests share."""

import asyncio
from collections.abc import Callable, Iterator

import pytest
import uvloop

from tests.buckets import CREDENTIALS, Buckets, running_buckets
from tests.clusters import RayCluster, running_cluster


def pytest_asyncio_loop_factories() -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    return {"uvloop": uvloop.new_event_loop}


@pytest.fixture(scope="session")
def buckets() -> Iterator[Buckets]:
    """An S3 server with a bucket; its credentials are in the environment."""
    with pytest.MonkeyPatch.context() as patch, running_buckets() as server:
        for name, value in CREDENTIALS.items():
            patch.setenv(name, value)
        yield server


@pytest.fixture(scope="session")
def ray_cluster() -> Iterator[RayCluster]:
    """A Ray cluster of one node, which is said to have a graphics card."""
    with running_cluster() as cluster:
        cluster.add_node(cpus=4, num_gpus=1)
        yield cluster


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--long", action="store_true", help="faults and load for many minutes instead of seconds")


@pytest.fixture(scope="session")
def long(request: pytest.FixtureRequest) -> bool:
    """Whether the long versions were asked for."""
    return bool(request.config.getoption("--long"))


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """What runs for many minutes on purpose is not ended by the time limits of the short versions."""
    if config.getoption("--long"):
        for item in items:
            if "long" in getattr(item, "fixturenames", ()):
                item.own_markers = [mark for mark in item.own_markers if mark.name != "timeout"]
