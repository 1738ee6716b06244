"""One activated job on this node: plans it, knows which segments it could give away, joins its takes into the result.

Everything here can be thrown away at any moment and rebuilt from the ledger.
"""

import asyncio
import bisect
import contextlib
import logging
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass
from functools import partial

from rhapsode.engines.base import EngineInfo
from rhapsode.errors import LedgerError, Refused, StorageFull
from rhapsode.failpoints import failpoint
from rhapsode.jobs.early import FirstTake
from rhapsode.jobs.joiner import Joiner
from rhapsode.jobs.planner import Wording, split_cursor
from rhapsode.jobs.redo import RedoJoiner
from rhapsode.jobs.shop import Shop
from rhapsode.ledger.base import PlanPart
from rhapsode.logs import log_about
from rhapsode.model import Job, JobStatus, Markup, Segment, SegmentState, SegmentStatus, SpeechRequest, VoiceMode
from rhapsode.text.plan import WINDOW, PlanBatch, PlanOptions

log = logging.getLogger(__name__)

_PAGE = 128
"""Pending segments loaded at once; memory per job does not grow with the text."""
_EARLY = 16
"""Pending segments loaded at once from where somebody listens."""
_FIRST_SOUND_S = 5.0
"""How long planning stands back behind the first segment, so that the two do not compete for the processor."""
_HOLD_S = 1.0
"""How long the other segments of a job stand back at most behind its first, while the express process speaks that one."""
_RECENT = 32
"""Completed segments held for joining; what is beyond is read again."""
_STEADY = 16
"""A job that was begun before is joined once it has given away so many segments: joining begins with its first take, which is
wasted on a job that is dropped again at once."""


@dataclass(frozen=True, slots=True)
class Head:
    """What is at hand of a job that was just submitted."""

    window: str = ""
    """First window of the text, so that it need not be read; else empty."""
    planning: Awaitable[PlanBatch] | None = None
    """The plan of it, begun while the job was stored."""


NO_HEAD = Head()


def plan_options(request: SpeechRequest, engine: EngineInfo) -> PlanOptions:
    """How the text of a request is planned for an engine."""
    return PlanOptions(
        chunk_size=request.chunk_size,
        max_chars=engine.max_chars,
        language=request.language,
        split=request.split_text,
        tags=engine.tags if request.markup is Markup.MARKERS else None,
        markup=request.markup,
        voices={part.name: _other(part.voice, request) for part in request.cast},
        languages={part.voice: part.language for part in request.cast},
        reads_numbers=engine.reads_numbers,
        reads_digits=engine.reads_digits,
        takes_ipa=engine.takes_ipa,
    )


def _other(voice: str, request: SpeechRequest) -> str | None:
    """The voice, or None when it is the job's own."""
    own = request.voice_mode is VoiceMode.PREDEFINED and voice == request.voice
    return None if own else voice


def wording(request: SpeechRequest, stored: Callable[[str], Awaitable[str]]) -> Wording:
    """How the words of a request are spoken; ``stored`` gives the dictionary by its digest."""
    return Wording(request.lexicon, request.pronunciations, stored)


class JobRun:
    """One activated job. Used from one event loop."""

    def __init__(
        self,
        job: Job,
        shop: Shop,
        engine: EngineInfo,
        on_ready: Callable[[], None],
        on_stale: "Callable[[JobRun], None]",
        head: Head = NO_HEAD,
    ) -> None:
        self.job = job
        self.engine = engine
        self.in_flight: set[int] = set()
        self.resting = asyncio.Event()
        """Set while nothing is in flight."""
        self.begun = asyncio.Event()
        """Set once a first segment was spoken."""
        self.closed = False
        self.finds_takes = True
        """Whether the last segment that was claimed had a take already; True before the first."""
        self.recent: dict[int, SegmentState] = {}
        """Segments that are being completed, for joining."""
        self._shop = shop
        self._head = head
        self._on_ready = on_ready
        self._on_stale = on_stale
        self.resting.set()
        self._ready: list[int] = []
        self._states: dict[int, SegmentState] = {}
        self._loaded_to = 0
        self._early: set[int] = set()
        self._pull: int | None = None
        self._early_to = 0
        self._given = 0
        self._hold: asyncio.TimerHandle | None = None
        self._joining = False
        self._fresh = job.segments_done == 0
        self._loading = asyncio.Lock()
        self._one_settled = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()

    # -- life ---------------------------------------------------------------------------------------------------

    async def start(self, pull: int | None = None) -> None:
        """Load what is pending and begin to plan and to join; ``pull`` as in :meth:`pull`."""
        await self._refill()
        if self.job.status is JobStatus.QUEUED and self._all_given() and self.job.segments_total:
            self.newer(await self._shop.patience.keep_trying(partial(self._shop.ledger.start_job, self.job.fence)))
        if self.closed:
            return
        if pull is not None:
            await self.pull(pull)
        self._begin(self._plan(), "planning")

    async def close(self) -> None:
        """Stop planning and joining; nothing durable is touched."""
        self.closed = True
        if self._hold:
            self._hold.cancel()
        self._ready.clear()
        tasks = self._tasks - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def stale(self) -> None:
        """The ledger does not agree with what is held here: throw this away and build it anew."""
        if not self.closed:
            self._on_stale(self)

    def _join(self, first: FirstTake | None = None) -> None:
        """Begin to join when it is time; a job that was not begun before is joined from its first take on."""
        if not self._joining and not self.closed and (self._fresh or self._given >= _STEADY or self._all_given()):
            self._joining = True
            kind = RedoJoiner if self.job.redo_of else Joiner
            joiner = kind(self._shop, self.job, self.lost, lambda: self.job, self.recent, first)
            self._begin(joiner.run(), "assembling")

    def _begin(self, work: Coroutine[object, object, None], what: str) -> None:
        task = asyncio.create_task(self._guard(work, what))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # -- segments to give away ----------------------------------------------------------------------------------

    def newer(self, job: Job) -> None:
        """Take over what the ledger answered; answers may come out of order."""
        if job.event_seq > self.job.event_seq:
            self.job = job

    def has_ready(self) -> bool:
        """Whether a segment could be given away now."""
        return bool(self._ready) and not self._hold

    @property
    def ready(self) -> int:
        """How many segments are at hand that could be given away now."""
        return len(self._ready)

    def next_ready(self) -> SegmentState | None:
        """Take out the next segment: the first that a listener waits for, else the first in the text."""
        if not self.has_ready():
            return None
        position = 0
        if self._pull is not None:
            position = bisect.bisect_left(self._ready, self._pull)
            if len(self._ready) - position < _EARLY // 2 and self._pull < self._early_to < self.job.segments_total:
                self._load(self._load_early())
            if position == len(self._ready):
                position = 0
        index = self._ready.pop(position)
        self.in_flight.add(index)
        self.resting.clear()
        self._given += 1
        if len(self._ready) < _PAGE // 4 and self._more_to_load():
            self._load(self._refill())
        return self._states.pop(index)

    def hold(self) -> None:
        """Give nothing away until the segment that was just given is spoken: somebody may be waiting for the first sound."""
        self._hold = asyncio.get_running_loop().call_later(_HOLD_S, self._go_on)

    def _go_on(self) -> None:
        """End a hold, if there is one."""
        if self._hold:
            self._hold.cancel()
            self._hold = None
            if self._ready:
                self._on_ready()

    def _load(self, work: Coroutine[object, object, None]) -> None:
        if self._loading.locked():
            work.close()
        else:
            self._begin(work, "loading segments")

    def give_back(self, state: SegmentState) -> None:
        """Put a segment back that is to be tried again."""
        index = state.segment.index
        self.settled(index)
        if not self.closed and index not in self._states:
            self._add(state)
            self._on_ready()

    def lost(self, state: SegmentState) -> None:
        """A finished take is gone from the store: its segment is pending again."""
        if state.segment.index < self._loaded_to or state.segment.index in self._early:
            self.give_back(state)

    def spoken(self, first: FirstTake) -> None:
        """A first take is at hand: joining may begin with it while it is being stored."""
        self._go_on()
        if self._fresh and not self.job.redo_of:
            self._join(first)

    def completing(self, state: SegmentState) -> None:
        """So a segment stands in the ledger once it is told to be completed."""
        if len(self.recent) < _RECENT:
            self.recent[state.segment.index] = state

    def settled(self, index: int) -> None:
        """A segment that was given away is done (or the job is over for it)."""
        self.in_flight.discard(index)
        self._go_on()
        self._one_settled.set()
        self.begun.set()
        if not self.in_flight:
            self.resting.set()
        self._join()

    async def settled_before(self, index: int) -> None:
        """Wait until no segment in front of ``index`` is in flight."""
        while any(other < index for other in self.in_flight):
            self._one_settled.clear()
            await self._one_settled.wait()

    async def pull(self, index: int) -> None:
        """A listener jumped to segment ``index``: speak from there on first."""
        self._pull = index
        if index >= self._loaded_to:
            self._early_to = index
            await self._load_early()

    async def _load_early(self) -> None:
        """Load the next few segments behind those that were loaded for the listener."""
        async with self._loading:
            start, total = max(self._early_to, self._loaded_to), self.job.segments_total
            states = await self._pending(start, _EARLY)
            for state in states:
                if self._is_new(state.segment.index):
                    self._early.add(state.segment.index)
                    self._add(state)
            self._early_to = states[-1].segment.index + 1 if states else total
        if self._ready:
            self._on_ready()

    async def _pending(self, start: int, limit: int) -> Sequence[SegmentState]:
        return await self._shop.patiently(self._shop.ledger.segments, self.job.id, start, limit, SegmentStatus.PENDING)

    def _is_new(self, index: int) -> bool:
        return index not in self._early and index not in self._states and index not in self.in_flight

    def _add(self, state: SegmentState) -> None:
        bisect.insort(self._ready, state.segment.index)
        self._states[state.segment.index] = state

    def _more_to_load(self) -> bool:
        return self._loaded_to < self.job.segments_total

    def _all_given(self) -> bool:
        """Whether no segment is left to give away, now or later, unless one comes back."""
        return self.job.plan_done and not self._ready and not self._more_to_load()

    def _take_in(self, planned: Sequence[Segment]) -> None:
        """Take in segments that were just stored, without reading them back."""
        for segment in planned:
            self._add(SegmentState(segment))
        self._loaded_to += len(planned)
        if self._ready:
            self._on_ready()

    async def _refill(self) -> None:
        async with self._loading:
            while len(self._ready) < _PAGE and self._more_to_load():
                total = self.job.segments_total
                states = await self._pending(self._loaded_to, _PAGE)
                for state in states:
                    if state.segment.index >= self._loaded_to and self._is_new(state.segment.index):
                        self._add(state)
                behind = states[-1].segment.index + 1 if states else 0
                self._loaded_to = behind if len(states) == _PAGE else max(total, behind)
        if self._ready:
            self._on_ready()

    # -- planning -----------------------------------------------------------------------------------------------

    async def _plan(self) -> None:
        options = plan_options(self.job.request, self.engine)
        shop = self._shop
        while not self.job.plan_done:
            batch = await self._plan_next(options)
            failpoint("plan.made")
            cursor = batch.cursor
            planned = self.job.text_chars if batch.done else cursor.offset
            part = PlanPart(batch.segments, planned, cursor.dumps(), batch.done, batch.warnings)
            before = self.job.segments_total
            storing = asyncio.ensure_future(
                shop.patience.keep_trying(partial(shop.ledger.extend_plan, self.job.fence, part))
            )
            try:
                # Commands are applied in the order of their calls: segments can be claimed while they are being stored.
                await asyncio.sleep(0)
                at_hand = self._loaded_to == before and len(self._ready) < _PAGE and not self._loading.locked()
                if at_hand:
                    self._take_in(batch.segments)
                self.newer(await storing)
            finally:
                storing.cancel()
            if not at_hand:
                await self._refill()
            if self._ready and not before:  # enough to begin with: first the first sound
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self.begun.wait(), _FIRST_SOUND_S)
        if not self.in_flight:
            self._join()
        if self.job.segments_total == 0:
            nothing = "the text has nothing that can be spoken"
            await shop.patience.keep_trying(lambda: shop.ledger.fail_job(self.job.fence, nothing))

    async def _plan_next(self, options: PlanOptions) -> PlanBatch:
        """Plan the next window of the text."""
        offset = split_cursor(self.job.plan_cursor)
        head, self._head = self._head, NO_HEAD
        if not offset and head.planning:
            return await head.planning
        window = "" if offset else head.window
        window = window or await self._shop.patiently(self._shop.ledger.read_text, self.job.id, offset, WINDOW)
        final = offset + len(window) >= self.job.text_chars
        words = wording(self.job.request, self._shop.ledger.lexicon)
        return await self._shop.planner.plan(window, self.job.plan_cursor, final, options, words)

    async def _guard(self, work: Coroutine[object, object, None], what: str) -> None:
        """Run a part of the job; what it raises fails the job, unless the store or another run is the cause."""
        log_about(job_id=self.job.id)
        try:
            try:
                await work
            except (Refused, LedgerError, StorageFull):
                raise
            except Exception as error:  # whatever it was, the job must not hang
                log.exception("job %s: %s failed", self.job.id, what)
                cause = f"{what} failed: {error}"
                await self._shop.patience.keep_trying(lambda: self._shop.ledger.fail_job(self.job.fence, cause))
        except (Refused, LedgerError, StorageFull) as error:
            if not self.closed:
                log.warning("job %s: %s stopped: %s", self.job.id, what, error)
                self.stale()
