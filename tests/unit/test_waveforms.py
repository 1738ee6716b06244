"""The store of waveforms stays within its bounds."""

import asyncio

import pytest

from rhapsode.api.waveforms import Waveforms


async def test_the_least_recently_used_is_forgotten_first() -> None:
    made: list[int] = []
    kept = Waveforms(most_bytes=20)

    async def get(points: int, size: int = 10) -> None:
        async def make() -> bytes:
            made.append(points)
            return b"x" * size

        assert await kept.get(("job", 1, points), make) == b"x" * size

    for points in (1, 2, 1, 3, 1, 2):
        await get(points)
    assert made == [1, 2, 3, 2]
    await get(9, size=21)  # more than there is room for: given, not kept
    await get(1)
    assert made == [1, 2, 3, 2, 9, 1]


async def test_what_is_cancelled_or_has_no_key_is_not_kept() -> None:
    kept = Waveforms()
    begun = asyncio.Event()

    async def endless() -> bytes:
        begun.set()
        return await asyncio.Future()

    for _ in range(5):  # more than are made at once: each gives its turn back
        begun.clear()
        task = asyncio.ensure_future(kept.get(("job", 1, 1), endless))
        await begun.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    async def make(body: bytes) -> bytes:
        return body

    assert await kept.get(("job", 1, 1), lambda: make(b"a")) == b"a"
    assert await kept.get(("job", 1, 1), lambda: make(b"b")) == b"a"
    assert await kept.get(None, lambda: make(b"c")) == b"c"
    assert await kept.get(None, lambda: make(b"d")) == b"d"
