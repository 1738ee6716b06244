"""Hold on while the disk is full or the ledger cannot be written: what was spoken is kept until it can be stored."""

import asyncio
import errno
import logging
from collections.abc import Awaitable, Callable
from typing import TypeVar

from rhapsode.errors import LedgerError, LedgerUnavailable, StorageAway, StorageFull

log = logging.getLogger(__name__)

T = TypeVar("T")

_AGAIN_S = 1.0
_NO_SPACE = frozenset({errno.ENOSPC, errno.EDQUOT})
_CAUSES = (StorageFull, StorageAway, LedgerError, OSError)


class Patience:
    """Repeats what the store refused for reasons that are nobody's fault. Used from one event loop."""

    def __init__(self) -> None:
        self._held_up: dict[object, str] = {}
        self._on_over: list[Callable[[], None]] = []

    @property
    def waiting_for(self) -> str | None:
        """What work is held up by now, or None."""
        return next(iter(self._held_up.values()), None)

    def on_over(self, callback: Callable[[], None]) -> None:
        """Call ``callback`` when nothing is held up any more."""
        self._on_over.append(callback)

    async def keep_trying(self, call: Callable[[], Awaitable[T]], causes: tuple[type[Exception], ...] = _CAUSES) -> T:
        """Do ``call`` until the disk, the store and the ledger take it; an error that is none of ``causes`` is the caller's."""
        me = object()
        try:
            while True:
                try:
                    return await call()
                except causes as error:
                    await self._wait(me, error)
        finally:
            self._over(me)

    async def pause(self, error: Exception) -> None:
        """Hold work up for a moment, because of an ``error`` of the disk."""
        me = object()
        try:
            await self._wait(me, error)
        finally:
            self._over(me)

    async def _wait(self, who: object, error: Exception) -> None:
        log.warning("%s; trying again in %g s", error, _AGAIN_S)
        self._held_up[who] = _reason(error)
        await asyncio.sleep(_AGAIN_S)

    def _over(self, who: object) -> None:
        if self._held_up.pop(who, None) and not self._held_up:
            for callback in self._on_over:
                callback()


def _reason(error: Exception) -> str:
    if isinstance(error, LedgerUnavailable):
        return "database"
    is_full = isinstance(error, StorageFull) or (isinstance(error, OSError) and error.errno in _NO_SPACE)
    return "disk space" if is_full else f"storage: {error}"
