"""Wake those who wait for a job. A hint only: whoever is woken reads the ledger; nothing is decided here."""

import asyncio
from collections import deque
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager

from rhapsode.model import Event, Job

END_EVENTS = frozenset({"job.completed", "job.failed", "job.cancelled", "job.deleted"})


class Watch:
    """Remembers that something of interest happened since it was last asked."""

    def __init__(self, types: Collection[str] | None) -> None:
        self.ended = False
        """Whether the job's end was among it, ever."""
        self.job: Job | None = None
        """How the job stood at the newest event that told it."""
        self.spoken: set[int] = set()
        """Segments that were completed; whoever asks for them takes them out."""
        self.turned = False
        """Whether anything else was among it; whoever asks resets it."""
        self._types = types
        self._event = asyncio.Event()

    def notice(self, event: Event) -> None:
        """Take note of an event."""
        if self._types is None or event.type in self._types:
            self.ended |= event.type in END_EVENTS
            self.job = event.job or self.job
            index = event.data.get("index") if event.type == "segment.completed" else None
            if isinstance(index, int):
                self.spoken.add(index)
            else:
                self.turned = True
            self._event.set()

    async def wait(self, timeout_s: float | None = None) -> bool:
        """Wait until something happened since the last call; False when the time ran out first."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._event.wait()
        except TimeoutError:
            return False
        self._event.clear()
        return True


class Tail:
    """The newest events, held for one listener who may be slow: at most ``limit``, then none and the word that some are lost."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._events: deque[Event] = deque()
        self._lost = False
        self._news = asyncio.Event()

    def notice(self, event: Event) -> None:
        """Take note of an event."""
        if len(self._events) >= self._limit:
            self._events.clear()
            self._lost = True
        if not self._lost:
            self._events.append(event)
        self._news.set()

    async def next(self, timeout_s: float) -> Sequence[Event] | None:
        """What happened since the last call, once there is something; empty when the time ran out.

        None when more happened than is held: read the ledger.
        """
        try:
            async with asyncio.timeout(timeout_s):
                await self._news.wait()
        except TimeoutError:
            return ()
        self._news.clear()
        found, lost = tuple(self._events), self._lost
        self._events.clear()
        self._lost = False
        return None if lost else found


class EventHub:
    """Hands each committed event to those who watch its job. Used from one event loop."""

    def __init__(self) -> None:
        self._watches: dict[str, set[Watch]] = {}
        self._listeners: list[Callable[[Event], None]] = []
        self._tails: dict[str | None, set[Tail]] = {}

    def publish(self, events: Sequence[Event]) -> None:
        """Called with the events of each commit, in order."""
        for event in events:
            for watch in self._watches.get(event.job_id, ()):
                watch.notice(event)
            for listener in self._listeners:
                listener(event)
            for key in (event.job_id, None):
                for tail in self._tails.get(key, ()):
                    tail.notice(event)

    def listen(self, listener: Callable[[Event], None]) -> None:
        """Call ``listener`` with every event of every job."""
        self._listeners.append(listener)

    @contextmanager
    def tail(self, job_id: str | None, limit: int) -> Iterator[Tail]:
        """Follow the events of one job, or of all (None); read the ledger after entering, so that nothing is missed."""
        tail = Tail(limit)
        self._tails.setdefault(job_id, set()).add(tail)
        try:
            yield tail
        finally:
            tails = self._tails[job_id]
            tails.discard(tail)
            if not tails:
                del self._tails[job_id]

    @contextmanager
    def watch(self, job_id: str, types: Collection[str] | None = None) -> Iterator[Watch]:
        """Watch one job; read the ledger after entering, then wait, so that nothing is missed."""
        watch = Watch(types)
        self._watches.setdefault(job_id, set()).add(watch)
        try:
            yield watch
        finally:
            watches = self._watches[job_id]
            watches.discard(watch)
            if not watches:
                del self._watches[job_id]
