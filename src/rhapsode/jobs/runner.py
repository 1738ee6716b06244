"""One activated job on this node: plans it, knows which segments it could give away, joins its takes into the result.

Everything here can be thrown away at any moment and rebuilt from the ledger.
"""

import asyncio
import bisect
import contextlib
import logging
from collections.abc import Callable, Coroutine
from functools import partial

from rhapsode.engines.base import EngineInfo
from rhapsode.errors import LedgerError, Refused
from rhapsode.jobs.joiner import Joiner
from rhapsode.jobs.planner import split_cursor
from rhapsode.jobs.shop import Shop
from rhapsode.ledger.base import PlanPart
from rhapsode.model import Job, SegmentState, SegmentStatus
from rhapsode.text.plan import WINDOW, PlanOptions

log = logging.getLogger(__name__)

_PAGE = 128
"""Pending segments loaded at once; memory per job does not grow with the text."""


class JobRun:
    """One activated job. Used from one event loop."""

    def __init__(self, job: Job, shop: Shop, engine: EngineInfo, on_ready: Callable[[], None]) -> None:
        self.job = job
        self.engine = engine
        self.in_flight: set[int] = set()
        self.closed = False
        self._shop = shop
        self._on_ready = on_ready
        self._ready: list[int] = []
        self._states: dict[int, SegmentState] = {}
        self._loaded_to = 0
        self._early: set[int] = set()
        self._pull: int | None = None
        self._loading = asyncio.Lock()
        self._tasks: list[asyncio.Task[None]] = []

    # -- life ---------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Load what is pending and begin to plan and to join."""
        await self._refill()
        if not self.job.plan_done:
            self._tasks.append(asyncio.create_task(self._guard(self._plan(), "planning")))
        joiner = Joiner(self._shop, self.job, self.lost)
        self._tasks.append(asyncio.create_task(self._guard(joiner.run(), "assembling")))

    async def close(self) -> None:
        """Stop planning and joining; nothing durable is touched."""
        self.closed = True
        self._ready.clear()
        tasks = [task for task in self._tasks if task is not asyncio.current_task()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    # -- segments to give away ----------------------------------------------------------------------------------

    def newer(self, job: Job) -> None:
        """Take over what the ledger answered; answers may come out of order."""
        if job.event_seq > self.job.event_seq:
            self.job = job

    def has_ready(self) -> bool:
        """Whether a segment could be given away now."""
        return bool(self._ready)

    def next_ready(self) -> SegmentState | None:
        """Take out the next segment: the first that a listener waits for, else the first in the text."""
        if not self._ready:
            return None
        position = 0
        if self._pull is not None:
            position = bisect.bisect_left(self._ready, self._pull)
            if position == len(self._ready):
                position = 0
        index = self._ready.pop(position)
        self.in_flight.add(index)
        if len(self._ready) < _PAGE // 4 and self._more_to_load():
            self._tasks.append(asyncio.create_task(self._guard(self._refill(), "loading segments")))
            self._tasks = [task for task in self._tasks if not task.done()]
        return self._states.pop(index)

    def give_back(self, state: SegmentState) -> None:
        """Put a segment back that is to be tried again."""
        index = state.segment.index
        self.in_flight.discard(index)
        if not self.closed and index not in self._states:
            self._add(state)
            self._on_ready()

    def lost(self, state: SegmentState) -> None:
        """A finished take is gone from the store: its segment is pending again."""
        if state.segment.index < self._loaded_to or state.segment.index in self._early:
            self.give_back(state)

    def settled(self, index: int) -> None:
        """A segment that was given away is done (or the job is over for it)."""
        self.in_flight.discard(index)

    async def pull(self, index: int) -> None:
        """A listener jumped to segment ``index``: speak from there on first."""
        self._pull = index
        if index >= self._loaded_to:
            states = await self._shop.ledger.segments(self.job.id, index, _PAGE // 8, SegmentStatus.PENDING)
            for state in states:
                if self._is_new(state.segment.index):
                    self._early.add(state.segment.index)
                    self._add(state)
            self._on_ready()

    def _is_new(self, index: int) -> bool:
        return index not in self._early and index not in self._states and index not in self.in_flight

    def _add(self, state: SegmentState) -> None:
        bisect.insort(self._ready, state.segment.index)
        self._states[state.segment.index] = state

    def _more_to_load(self) -> bool:
        return self._loaded_to < self.job.segments_total

    async def _refill(self) -> None:
        async with self._loading:
            while len(self._ready) < _PAGE and self._more_to_load():
                total = self.job.segments_total
                states = await self._shop.ledger.segments(self.job.id, self._loaded_to, _PAGE, SegmentStatus.PENDING)
                for state in states:
                    if state.segment.index >= self._loaded_to and self._is_new(state.segment.index):
                        self._add(state)
                full = len(states) == _PAGE
                self._loaded_to = states[-1].segment.index + 1 if full else max(total, self._loaded_to)
        if self._ready:
            self._on_ready()

    # -- planning -----------------------------------------------------------------------------------------------

    async def _plan(self) -> None:
        request = self.job.request
        options = PlanOptions(
            chunk_size=request.chunk_size,
            max_chars=self.engine.max_chars,
            language=request.language,
            split=request.split_text,
            tags=self.engine.tags,
        )
        shop = self._shop
        while not self.job.plan_done:
            offset = split_cursor(self.job.plan_cursor)
            window = await shop.ledger.read_text(self.job.id, offset, WINDOW)
            final = offset + len(window) >= self.job.text_chars
            batch = await shop.planner.plan(window, self.job.plan_cursor, final, options)
            cursor = batch.cursor
            planned = self.job.text_chars if batch.done else cursor.offset
            part = PlanPart(batch.segments, planned, cursor.dumps(), batch.done, batch.warnings)
            self.newer(await shop.patience.keep_trying(partial(shop.ledger.extend_plan, self.job.fence, part)))
            await self._refill()
        if self.job.segments_total == 0:
            nothing = "the text has nothing that can be spoken"
            await shop.patience.keep_trying(lambda: shop.ledger.fail_job(self.job.fence, nothing))

    async def _guard(self, work: Coroutine[object, object, None], what: str) -> None:
        """Run a part of the job; what it raises fails the job, unless the job is no longer ours."""
        try:
            await work
        except Refused as error:
            log.info("job %s: %s stopped: %s", self.job.id, what, error)
        except LedgerError:
            raise
        except Exception as error:  # whatever it was, the job must not hang
            log.exception("job %s: %s failed", self.job.id, what)
            cause = f"{what} failed: {error}"
            with contextlib.suppress(Refused):
                await self._shop.patience.keep_trying(lambda: self._shop.ledger.fail_job(self.job.fence, cause))
