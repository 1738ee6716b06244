"""Wake those who wait for a job. A hint only: whoever is woken reads the ledger; nothing is decided here."""

import asyncio
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
        self._types = types
        self._event = asyncio.Event()

    def notice(self, event: Event) -> None:
        """Take note of an event."""
        if self._types is None or event.type in self._types:
            self.ended |= event.type in END_EVENTS
            self.job = event.job or self.job
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


class EventHub:
    """Hands each committed event to those who watch its job. Used from one event loop."""

    def __init__(self) -> None:
        self._watches: dict[str, set[Watch]] = {}
        self._listeners: list[Callable[[Event], None]] = []

    def publish(self, events: Sequence[Event]) -> None:
        """Called with the events of each commit, in order."""
        for event in events:
            for watch in self._watches.get(event.job_id, ()):
                watch.notice(event)
            for listener in self._listeners:
                listener(event)

    def listen(self, listener: Callable[[Event], None]) -> None:
        """Call ``listener`` with every event of every job."""
        self._listeners.append(listener)

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
