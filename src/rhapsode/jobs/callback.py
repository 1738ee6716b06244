"""Jobs that an embedding program speaks itself: each is one unit, handed to its callback, durable before and after."""

import asyncio
import hashlib
import logging
import shutil
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

from rhapsode.errors import InvalidInput, LedgerError, Refused, RhapsodeError, StorageFull
from rhapsode.jobs.events import END_EVENTS
from rhapsode.jobs.joiner import result_name
from rhapsode.jobs.shop import Shop
from rhapsode.jobs.stored import store_result
from rhapsode.ledger.base import PlanPart, Waiting
from rhapsode.model import AudioFormat, Job, Result

log = logging.getLogger(__name__)

_AGAIN_S = 1.0

CALLBACK_ENGINE = "callback"
"""Engine name of jobs that no engine of ours speaks."""

Callback = Callable[[Job], Awaitable[Mapping[str, object]]]
"""Speaks a job; answers ``output_path`` and, when it differs from what was asked, ``output_format``."""


class CallbackRunner:
    """Hands queued jobs to the callback, one after another, in submit order.

    Args:
        shop: Shared parts; only ledger, results, hub and clock are used.
        callback: The program's own work.
        max_retries: Whole-job retries of a callback that raises.
    """

    def __init__(self, shop: Shop, callback: Callback, max_retries: int) -> None:
        self._shop = shop
        self._callback = callback
        self._max_retries = max_retries
        self._queue: asyncio.Queue[str] = asyncio.Queue()

    def submit(self, job_id: str) -> None:
        """A job was queued."""
        self._queue.put_nowait(job_id)

    async def run(self, adopted: list[Waiting]) -> None:
        """Work until cancelled; an interrupted job is begun anew after the next start."""
        for waiting in adopted:
            self.submit(waiting.id)
        while True:
            job_id = await self._queue.get()
            try:
                job = await self._shop.ledger.get_job(job_id)
                if job and not job.status.is_terminal and job.request.engine == CALLBACK_ENGINE:
                    await self._one(job)
            except Refused as error:
                log.info("job %s: %s", job_id, error)
            except (StorageFull, LedgerError) as error:
                log.warning("job %s: %s; beginning it anew in %g s", job_id, error, _AGAIN_S)
                await asyncio.sleep(_AGAIN_S)
                self.submit(job_id)

    async def _one(self, job: Job) -> None:
        ledger = self._shop.ledger
        job = await ledger.start_job(job.fence)
        if not job.plan_done:
            job = await ledger.extend_plan(job.fence, PlanPart((), job.text_chars, "", done=True))
        try:
            answer = await self._until_cancelled(job)
            if answer is not None:
                await self._publish(job, answer)
        except (Refused, StorageFull, LedgerError):
            raise
        except Exception as error:  # the program's own work may raise anything; the job must not hang
            log.exception("the callback of job %s failed", job.id)
            failed = await ledger.fail_job(job.fence, f"{type(error).__name__}: {error}")
            if failed.run <= self._max_retries:
                self.submit((await ledger.retry_job(job.id)).id)

    async def _until_cancelled(self, job: Job) -> Mapping[str, object] | None:
        with self._shop.hub.watch(job.id, END_EVENTS) as watch:
            working = asyncio.ensure_future(self._callback(job))
            cancelled = asyncio.ensure_future(watch.wait())
            try:
                await asyncio.wait((working, cancelled), return_when=asyncio.FIRST_COMPLETED)
                return working.result() if working.done() else None
            finally:
                for task in (working, cancelled):
                    task.cancel()
                await asyncio.gather(working, cancelled, return_exceptions=True)

    async def _publish(self, job: Job, answer: Mapping[str, object]) -> None:
        given = answer.get("output_path")
        if not isinstance(given, str | Path):
            raise RhapsodeError(f"the callback's output_path is no path: {given!r}")
        audio_format = _format(answer.get("output_format"), job)
        copy = self._shop.results.scratch()
        size, digest = await asyncio.to_thread(_copy, Path(given), copy)
        name = Path(result_name(job, self._shop.clock())).with_suffix(f".{audio_format}").name
        await store_result(self._shop, copy, name)
        result = Result(name=name, format=audio_format, size=size, digest=digest, samples=0, rate=0)
        await self._shop.ledger.complete_job(job.fence, result)


def _format(given: object, job: Job) -> AudioFormat:
    if given is None:
        return job.request.output_format
    try:
        return AudioFormat(str(given).lower())
    except ValueError:
        raise InvalidInput(f"output_format must be one of {', '.join(AudioFormat)}; not {given!r}") from None


def _copy(source: Path, target: Path) -> tuple[int, str]:
    """The program keeps its file; the queue serves, and later deletes, its own copy."""
    shutil.copyfile(source, target)
    with target.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return target.stat().st_size, digest
