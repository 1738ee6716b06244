"""What is handed to those who wait for it while it is being stored: short results of attached jobs, and first takes to listeners.

An answer does not wait for the disk. Nothing durable depends on it. A crash in between ends an attached job as cancelled, like
any attached job, and who asked has the audio; a listener's stream ends with the server. Whoever looks at jobs on this node meanwhile
waits a little, so that nobody sees a result unfinished behind its answer.
"""

import asyncio
import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar

from rhapsode.model import Job, SegmentState

T = TypeVar("T")

MOST_BYTES = 1 << 20
"""Of a result that is handed over in memory."""
PATIENCE_S = 1.0
"""How long a look at jobs waits for what was handed over to be stored."""


@dataclass(frozen=True, slots=True)
class EarlyResult:
    """A finished file."""

    job: Job
    """As it was when the file was finished."""
    data: bytes
    digest: str
    """SHA-256 of the bytes, hex."""


@dataclass(frozen=True, slots=True)
class FirstTake:
    """The bytes of a job's first segment, at hand while they are being stored."""

    state: SegmentState
    data: bytes
    stored: asyncio.Future[bool]
    """Whether the segment is finished with them, once that is known."""


class Wanted(Generic[T]):
    """Who waits on this node for something of a job. Used from one event loop."""

    def __init__(self) -> None:
        self._futures: dict[str, set[asyncio.Future[T]]] = {}

    @contextlib.contextmanager
    def wanted(self, job_id: str) -> Iterator[asyncio.Future[T]]:
        """Ask for it; the future may never come to its end."""
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        futures = self._futures.setdefault(job_id, set())
        futures.add(future)
        try:
            yield future
        finally:
            future.cancel()
            futures.discard(future)
            if not futures:
                self._futures.pop(job_id, None)

    def is_wanted(self, job_id: str) -> bool:
        """Whether somebody asked for it."""
        return job_id in self._futures

    def hand(self, job_id: str, what: T) -> None:
        """Give it to those who asked for it."""
        for future in self._futures.pop(job_id, ()):
            if not future.done():
                future.set_result(what)


class EarlyResults(Wanted[EarlyResult]):
    """Who waits for results, and what is being stored behind an answer."""

    def __init__(self) -> None:
        super().__init__()
        self._storing: dict[str, asyncio.Event] = {}

    @contextlib.contextmanager
    def handed(self, result: EarlyResult) -> Iterator[None]:
        """Give a result to those who asked for it; when the block ends it is stored, or never will be."""
        stored = self._storing[result.job.id] = asyncio.Event()
        self.hand(result.job.id, result)
        try:
            yield
        finally:
            del self._storing[result.job.id]
            stored.set()

    async def stored(self, job_id: str | None = None) -> None:
        """Wait while a result that was handed out, or any, is being stored; not longer than :data:`PATIENCE_S`, for its store may be away."""
        waiting = [one for name, one in self._storing.items() if job_id in (None, name)]
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(PATIENCE_S):
                for storing in waiting:
                    await storing.wait()
