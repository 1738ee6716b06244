"""``/readyz`` says no, and why, when work cannot be taken; ``/livez`` says yes all the while."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.serving import Server, serving, settings_for


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Server]:
    async with serving(settings_for(tmp_path)) as running:
        yield running


async def checks(server: Server) -> dict[str, str]:
    """What is not well."""
    assert (await server.http.get("/livez")).status_code == 200
    answer = await server.http.get("/readyz")
    found: dict[str, str] = {name: state for name, state in answer.json()["checks"].items() if state != "ok"}
    assert answer.status_code == (503 if found else 200)
    gauges = (await server.http.get("/metrics")).text
    for name in answer.json()["checks"]:
        assert f'rhapsode_ready{{check="{name}"}} {float(name not in found)}' in gauges
    return found


@pytest.mark.parametrize("folder", ["outputs", "takes"])
async def test_a_store_that_cannot_be_written(server: Server, folder: str) -> None:
    assert await checks(server) == {}
    path = server.settings.data_dir / folder
    path.rename(path.with_name("away"))
    try:
        found = await checks(server)
        assert set(found) == {"store"}
        assert str(path.parent) not in found["store"]
    finally:
        path.with_name("away").rename(path)
    assert await checks(server) == {}


async def test_an_engine_that_was_unloaded(server: Server) -> None:
    await server.http.post("/api/unload")
    assert await checks(server) == {"workers": "engine unloaded"}
    assert (await server.http.post("/restart_server")).status_code == 200
    assert await checks(server) == {}


async def test_a_full_disk(tmp_path: Path) -> None:
    async with serving(settings_for(tmp_path, limits__min_free_disk_mb=10**9)) as full:
        assert await checks(full) == {"disk": "full"}
