"""Short results of attached jobs, handed to those who wait while they are being stored: an answer does not wait for the disk.

Nothing durable depends on it. A crash in between ends the job as cancelled, like that of any attached job, and who asked has
the audio. Whoever looks at jobs on this node meanwhile waits a little, so that nobody sees it unfinished behind its answer.
"""

import asyncio
import contextlib
from collections.abc import Iterator
from dataclasses import dataclass

from rhapsode.model import Job

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


class EarlyResults:
    """Who waits for results on this node, and what is being stored behind an answer. Used from one event loop."""

    def __init__(self) -> None:
        self._wanted: dict[str, set[asyncio.Future[EarlyResult]]] = {}
        self._storing: dict[str, asyncio.Event] = {}

    @contextlib.contextmanager
    def wanted(self, job_id: str) -> Iterator[asyncio.Future[EarlyResult]]:
        """Ask for a result; the future may never come to its end."""
        future: asyncio.Future[EarlyResult] = asyncio.get_running_loop().create_future()
        futures = self._wanted.setdefault(job_id, set())
        futures.add(future)
        try:
            yield future
        finally:
            future.cancel()
            futures.discard(future)
            if not futures:
                self._wanted.pop(job_id, None)

    def is_wanted(self, job_id: str) -> bool:
        """Whether somebody asked for it."""
        return job_id in self._wanted

    @contextlib.contextmanager
    def handed(self, result: EarlyResult) -> Iterator[None]:
        """Give a result to those who asked for it; when the block ends it is stored, or never will be."""
        stored = self._storing[result.job.id] = asyncio.Event()
        for future in self._wanted.pop(result.job.id, ()):
            if not future.done():
                future.set_result(result)
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
