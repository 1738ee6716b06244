"""Waveforms that were measured lately: measuring one reads all of a job's audio."""

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable

Key = tuple[str, int, int]
"""Job id, revision of its result, points."""

_AT_ONCE = 2
"""Measured at the same time; the others wait their turn."""


class Waveforms:
    """Answers by key, the least recently used of them forgotten first. Used from one event loop.

    Args:
        most_bytes: Kept in all.
    """

    def __init__(self, most_bytes: int = 16_000_000) -> None:
        self._most_bytes = most_bytes
        self._kept: OrderedDict[Key, bytes] = OrderedDict()
        self._bytes = 0
        self._turns = asyncio.Semaphore(_AT_ONCE)

    async def get(self, key: Key | None, make: Callable[[], Awaitable[bytes]]) -> bytes:
        """What is kept under ``key``, else what ``make`` gives; with None it is not kept."""
        if (kept := self._known(key)) is not None:
            return kept
        async with self._turns:
            if (kept := self._known(key)) is not None:  # made while this waited for its turn
                return kept
            body = await make()
            if key is not None:
                self._keep(key, body)
            return body

    def _known(self, key: Key | None) -> bytes | None:
        if key is None or key not in self._kept:
            return None
        self._kept.move_to_end(key)
        return self._kept[key]

    def _keep(self, key: Key, body: bytes) -> None:
        self._bytes += len(body) - len(self._kept.pop(key, b""))
        self._kept[key] = body
        while self._bytes > self._most_bytes:
            self._bytes -= len(self._kept.popitem(last=False)[1])
