"""Run tests on the event loop that the server uses; servers that many tests share."""

import asyncio
from collections.abc import Callable, Iterator

import pytest
import uvloop

from tests.buckets import CREDENTIALS, Buckets, running_buckets


def pytest_asyncio_loop_factories() -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    return {"uvloop": uvloop.new_event_loop}


@pytest.fixture(scope="session")
def buckets() -> Iterator[Buckets]:
    """An S3 server with a bucket; its credentials are in the environment."""
    with pytest.MonkeyPatch.context() as patch, running_buckets() as server:
        for name, value in CREDENTIALS.items():
            patch.setenv(name, value)
        yield server
