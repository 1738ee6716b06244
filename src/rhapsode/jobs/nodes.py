"""Several nodes on one ledger: keep this one's lease, take over what dead nodes leave and some of what busy ones have queued."""

import asyncio
import logging
import time
from collections.abc import Callable
from contextlib import suppress

from rhapsode.errors import LedgerError
from rhapsode.jobs.scheduler import Scheduler
from rhapsode.ledger.base import BEAT_S, LEASE_S, Ledger

log = logging.getLogger(__name__)


class NodeKeeper:
    """Runs beside the scheduler; has nothing to do where no other node can be.

    Args:
        ledger: Shared with other nodes.
        scheduler: Of this node.
        monotonic: Seconds that never jump.
    """

    def __init__(self, ledger: Ledger, scheduler: Scheduler, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._ledger = ledger
        self._scheduler = scheduler
        self._monotonic = monotonic
        self._steady_since: float | None = None
        self._last = 0.0

    async def hold(self) -> None:
        """Keep the lease while the workers start, which may take longer than it lasts; until cancelled."""
        while self._ledger.shared:
            with suppress(LedgerError):
                await self._ledger.hold()
            await asyncio.sleep(BEAT_S)

    async def run(self) -> None:
        """Until cancelled."""
        while self._ledger.shared:
            try:
                await self.beat()
            except LedgerError as error:
                self._steady_since = None
                log.debug("no heartbeat: %s", error)
            except Exception:  # whatever it was, the next heartbeat must come
                log.exception("a heartbeat failed")
            await asyncio.sleep(BEAT_S)

    async def beat(self) -> None:
        """One heartbeat and what follows from it."""
        waited = self._ledger.waiting_for() is not None
        beat = await self._ledger.beat(self._is_steady())
        if beat.lost:
            log.warning("this node was given up by the others; it begins anew, without the jobs it had")
            self._steady_since = None
            self._scheduler.begin_anew(beat.adopted)
        elif beat.adopted:
            log.warning("took over %d unfinished jobs of other nodes", len(beat.adopted))
            self._scheduler.adopt(beat.adopted)
        if beat.nodes > 1 and (spare := self._scheduler.spare_slots):
            self._scheduler.adopt(await self._ledger.take_over(spare, self._scheduler.engines))
        if waited:
            self._scheduler.kick()

    def _is_steady(self) -> bool:
        """Whether this node has been in touch with the ledger, without a gap, for longer than a lease.

        If it has not, others may not have been either: after a restart of the database all are silent for a while.
        """
        now = self._monotonic()
        if self._steady_since is None or now - self._last > LEASE_S / 2:
            self._steady_since = now
        self._last = now
        return now - self._steady_since > LEASE_S
