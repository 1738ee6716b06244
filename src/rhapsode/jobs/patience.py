"""Hold on while the disk is full or the ledger cannot be written: what was spoken is kept until it can be stored."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import TypeVar

from rhapsode.errors import LedgerError, StorageAway, StorageFull

log = logging.getLogger(__name__)

T = TypeVar("T")

_AGAIN_S = 1.0
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
                    log.warning("%s; trying again in %g s", error, _AGAIN_S)
                    self._held_up[me] = "disk space" if isinstance(error, StorageFull) else f"storage: {error}"
                    await asyncio.sleep(_AGAIN_S)
        finally:
            if self._held_up.pop(me, None) and not self._held_up:
                for callback in self._on_over:
                    callback()
