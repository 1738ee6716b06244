"""A real server in this process: real HTTP on a loopback port, real workers, the deterministic tone engine."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from rhapsode.config import Loaded, Origin, load_settings
from rhapsode.server import listen, serve
from rhapsode.settings import Settings

QUICK: Mapping[str, object] = {
    "engine.name": "tone",
    "server.port": 0,
    "engine.also": "",
    "fleet.bulk_slots": 2,
    "limits.min_free_disk_mb": 0,
}


def settings_for(folder: Path, **changes: object) -> Settings:
    """Settings of a server with the tone engine under ``folder``; ``section__key=value`` changes them."""
    return loaded_for(folder, **changes).settings


def loaded_for(folder: Path, **changes: object) -> Loaded:
    """The same, with where they come from: for servers whose configuration is changed."""
    overrides = dict(QUICK) | {key.replace("__", "."): value for key, value in changes.items()}
    return load_settings(None, folder / "data", env={}, overrides=overrides)


@dataclass(frozen=True, slots=True)
class Server:
    """A server that answers."""

    url: str
    settings: Settings
    http: httpx.AsyncClient
    stop: Callable[[], None] = lambda: None
    """Begins to stop it, as SIGTERM would."""

    async def enqueue(self, text: str, **fields: object) -> str:
        """Queue a job; its id."""
        answer = await self.http.post("/tts/enqueue", json={"text": text} | fields)
        assert answer.status_code == 202, answer.text
        return str(answer.json()["job_id"])

    async def status(self, job_id: str) -> dict[str, Any]:
        """A job's status."""
        answer = await self.http.get(f"/tts/{job_id}/status")
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    async def until(self, job_id: str, *wanted: str, timeout_s: float = 30.0) -> dict[str, Any]:
        """Wait until the job has one of these statuses."""
        async with asyncio.timeout(timeout_s):
            while (found := await self.status(job_id))["status"] not in wanted:
                await asyncio.sleep(0.02)
        return found

    async def until_gone(self, job_id: str, timeout_s: float = 30.0) -> None:
        """Wait until the job is a tombstone."""
        async with asyncio.timeout(timeout_s):
            while (await self.http.get(f"/tts/{job_id}/status")).status_code != 410:
                await asyncio.sleep(0.02)


@asynccontextmanager
async def serving(settings: Settings | Loaded) -> AsyncIterator[Server]:
    """Run the server until the block is left, then stop it as SIGTERM would."""
    loaded = settings if isinstance(settings, Loaded) else Loaded(settings, (), None, frozenset(), {}, Origin())
    settings = loaded.settings
    sock = listen(settings)
    ready: asyncio.Future[tuple[str, Callable[[], None]]] = asyncio.get_running_loop().create_future()

    def on_ready(url: str, stop: Callable[[], None]) -> None:
        ready.set_result((url, stop))

    task = asyncio.create_task(serve(loaded, sock, on_ready))
    await asyncio.wait((task, ready), return_when=asyncio.FIRST_COMPLETED)
    if task.done():
        sock.close()
        await task
    url, stop = ready.result()
    async with httpx.AsyncClient(base_url=url, timeout=60) as http:
        try:
            yield Server(url, settings, http, stop)
        finally:
            stop()
            await task
