"""Run a fleet in a test and wait for what it does."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from rhapsode.fleet.base import Fleet


class Changes:
    """Waits until a condition on a fleet holds, looking whenever the fleet says that something changed."""

    def __init__(self, fleet: Fleet) -> None:
        self._event = asyncio.Event()
        self.count = 0
        fleet.on_change(self._note)

    def _note(self) -> None:
        self.count += 1
        self._event.set()

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(30):
            while not condition():
                self._event.clear()
                await self._event.wait()


@asynccontextmanager
async def running(fleet: Fleet) -> AsyncIterator[Changes]:
    changes = Changes(fleet)
    try:
        await fleet.start()
        active = fleet.engines()[0]
        await changes.until(lambda: sum(active in s.engines for s in fleet.free_slots()) == len(fleet.slots()))
        yield changes
    finally:
        await fleet.stop(0)
