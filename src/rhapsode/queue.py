"""The old server's Python names over the durable queue, for programs that embed it.

Without a callback, jobs are spoken by the configured engine, exactly as the server does it. With a callback, each job
is one unit of the program's own work: durable and retried, but begun anew after a crash.
"""

import asyncio
import functools
import json
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import Any

from rhapsode.compose import open_shop, running_service, sweeping
from rhapsode.config import load_settings
from rhapsode.datadir import DataDirLock
from rhapsode.errors import Conflict, Gone, NotFound, RhapsodeError
from rhapsode.jobs.callback import CALLBACK_ENGINE, CallbackRunner
from rhapsode.jobs.request import SpeechBody
from rhapsode.jobs.service import JobService
from rhapsode.jobs.shop import Shop
from rhapsode.jobs.status import job_status
from rhapsode.ledger.base import NewJob
from rhapsode.model import LOCAL, AudioFormat, Job, JobStatus, Priority, SpeechRequest, is_job_id, new_job_id
from rhapsode.settings import Settings


class TTSJob:
    """A job as an embedding program sees it. A callback may set ``progress``, ``current_chunk`` and ``total_chunks``."""

    def __init__(
        self, job: Job, request: Mapping[str, Any], status: Mapping[str, Any], output_path: Path | None
    ) -> None:
        self.job_id = job.id
        self.request_params = dict(request)
        self.output_path = str(output_path) if output_path else None
        self.output_format = job.request.output_format.value
        self.progress: float = status["progress"]
        self.current_chunk: int = status["current_chunk"]
        self.total_chunks: int = status["total_chunks"]
        self._status = dict(status)

    @property
    def status(self) -> JobStatus:
        """Where the job stood when this was made."""
        return JobStatus(self._status["status"])

    @property
    def error(self) -> str | None:
        """Why it failed."""
        error = self._status["error"]
        return None if error is None else str(error)

    def to_dict(self) -> dict[str, Any]:
        """The answer of ``GET /tts/{id}/status``."""
        own = {"progress": self.progress, "current_chunk": self.current_chunk, "total_chunks": self.total_chunks}
        return self._status | own


ProcessingCallback = Callable[[TTSJob], Awaitable[Mapping[str, object]]]


class TTSJobQueue:
    """The durable queue, driven by an embedding program. ``await start()`` first, ``await stop()`` last.

    Args:
        settings: All settings; None reads them as the server does.
    """

    def __init__(self, settings: Settings | None = None) -> None:
        self._settings = settings or load_settings().settings
        self._callback: ProcessingCallback | None = None
        self._stack: AsyncExitStack | None = None
        self._service: JobService | None = None
        self._shop: Shop | None = None
        self._runner: CallbackRunner | None = None
        self._running: dict[str, TTSJob] = {}

    def set_processing_callback(self, callback: ProcessingCallback) -> None:
        """Speak jobs with ``callback`` instead of an engine; call before :meth:`start`.

        It answers ``{"output_path": …, "output_format": …}``; the queue serves a copy of that file.
        """
        if self._stack is not None:
            raise RhapsodeError("set the processing callback before start()")
        self._callback = callback

    async def start(self) -> None:
        """Open the data directory and go on with unfinished jobs.

        Raises:
            DataDirInUse: A server, or another queue, holds it.
            LedgerError, EngineError: It cannot be started.
        """
        if self._stack is not None:
            return
        async with AsyncExitStack() as stack:
            stack.enter_context(DataDirLock(self._settings.data_dir))
            if self._callback is None:
                self._service = await stack.enter_async_context(running_service(self._settings))
                self._shop = self._service.shop
            else:
                self._shop = await stack.enter_async_context(open_shop(self._settings))
                if self._shop.ledger.shared:
                    raise RhapsodeError(
                        "a processing callback is this program's alone: it needs a ledger of its own (ledger.url)"
                    )
                self._runner = CallbackRunner(self._shop, self._call, self._settings.job_queue.max_retries)
                running = asyncio.create_task(self._runner.run(list(await self._shop.ledger.adopt())))
                stack.push_async_callback(_end, running)
                await stack.enter_async_context(sweeping(self._shop, self._settings))
            self._stack = stack.pop_all()

    async def stop(self) -> None:
        """Stop working; what is unfinished goes on at the next start."""
        if self._stack is not None:
            stack, self._stack = self._stack, None
            self._service = self._shop = self._runner = None
            await stack.aclose()

    async def submit_job(self, request: Mapping[str, Any] | None = None, **fields: Any) -> str:
        """Store a job; its id. Takes the fields of ``POST /tts``; with a callback, any that JSON can hold.

        Raises:
            InvalidInput, pydantic.ValidationError: A field is wrong.
            RhapsodeError: The queue is not started.
        """
        body = dict(request or {}) | fields
        if self._service is not None:
            return (await self._service.submit(SpeechBody.model_validate(body))).id
        shop = self._open()
        speech = SpeechRequest(CALLBACK_ENGINE, str(body.get("predefined_voice_id") or ""), output_format=_format(body))
        text = json.dumps(body, ensure_ascii=False)
        job, _ = await shop.ledger.submit(NewJob(new_job_id(), LOCAL.owner, speech, text, Priority.NORMAL))
        if self._runner is not None:
            self._runner.submit(job.id)
        return job.id

    async def get_job(self, job_id: str) -> TTSJob | None:
        """The job as it stands now, or None when there is none."""
        shop = self._open()
        job = await shop.ledger.get_job(job_id) if is_job_id(job_id) else None
        if job is None or job.deleted:
            return None
        seen = await self._view(shop, job)
        live = self._running.get(job_id)
        if live is not None and not job.status.is_terminal:
            seen.progress, seen.current_chunk, seen.total_chunks = live.progress, live.current_chunk, live.total_chunks
        return seen

    async def cancel_job(self, job_id: str) -> bool:
        """Cancel an unfinished job; whether it is cancelled now."""
        with suppress(NotFound, Gone, Conflict):
            return (
                await self._open().ledger.cancel_job(job_id, "cancelled by the program")
            ).status is JobStatus.CANCELLED
        return False

    async def _call(self, job: Job) -> Mapping[str, object]:
        if self._callback is None:
            raise RhapsodeError("there is no processing callback")
        view = self._running[job.id] = await self._view(self._open(), job)
        try:
            return await self._callback(view)
        finally:
            del self._running[job.id]

    async def _view(self, shop: Shop, job: Job) -> TTSJob:
        text = await shop.ledger.read_text(job.id, 0, job.text_chars)
        request = json.loads(text) if job.request.engine == CALLBACK_ENGINE else {"text": text}
        status = await self._service.status(job) if self._service else job_status(job, None, None, shop.clock())
        return TTSJob(job, request, status, shop.results.local_path(job.result.name) if job.result else None)

    def _open(self) -> Shop:
        if self._shop is None:
            raise RhapsodeError("the queue is not started: await start() first")
        return self._shop


@functools.cache
def get_job_queue() -> TTSJobQueue:
    """The queue of this process, with the settings that the server would read."""
    return TTSJobQueue()


def _format(body: Mapping[str, Any]) -> AudioFormat:
    return AudioFormat(str(body.get("output_format") or AudioFormat.WAV).lower())


async def _end(task: asyncio.Task[None]) -> None:
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
