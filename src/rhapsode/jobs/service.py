"""Submit, watch, cancel, retry: the one path for HTTP, the command line and embedding programs."""

import asyncio
import math
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

from rhapsode.errors import (
    Conflict,
    EngineUnloaded,
    Gone,
    InvalidInput,
    LedgerUnavailable,
    NotFound,
    StorageAway,
    StorageFull,
    SynthesisError,
    Unavailable,
)
from rhapsode.failpoints import failpoint
from rhapsode.fleet.base import EngineDescription, Fleet
from rhapsode.jobs.consents import Consents
from rhapsode.jobs.dictionary import FILE, DictionaryFile
from rhapsode.jobs.early import EarlyResult
from rhapsode.jobs.engine_choice import engine_choice
from rhapsode.jobs.events import END_EVENTS
from rhapsode.jobs.library import Library
from rhapsode.jobs.renditions import Renditions, drop_renditions
from rhapsode.jobs.request import Reading, Resolved, SpeechBody, check_size, granted, resolve
from rhapsode.jobs.results import Results
from rhapsode.jobs.runner import Head, plan_options, wording
from rhapsode.jobs.scheduler import Scheduler
from rhapsode.jobs.script import InputType, read_script
from rhapsode.jobs.shop import Shop
from rhapsode.jobs.status import job_status
from rhapsode.jobs.stored import drop
from rhapsode.jobs.webhook_service import WebhookService
from rhapsode.ledger.base import NewJob
from rhapsode.logs import log_also_about
from rhapsode.model import LOCAL, NO_LIMITS, Caller, Job, Priority, SpeechRequest, VoiceMode, is_job_id, new_job_id
from rhapsode.settings import Settings
from rhapsode.text.plan import WINDOW, PlanBatch

_POLL_S = 5.0
_ENGINE_SECTIONS = ("engine", "engines", "model", "paths", "tts_engine")
_DRAIN_S = 5.0
"""What segments in flight get to finish when the server stops."""
_CLONING_S = 5.0
"""How long it is remembered which engines clone: looking goes through all installed packages."""
_PROBE = "rhapsode-probe"
"""A name that no blob has: asking for it shows whether the store answers."""


class JobService:
    """What callers can do with jobs. Used from one event loop."""

    def __init__(self, shop: Shop, scheduler: Scheduler, settings: Settings) -> None:
        self.shop = shop
        self.scheduler = scheduler
        self.settings = settings
        self.webhooks = WebhookService(shop, settings)
        self.results = Results(shop)
        self.renditions = Renditions(shop)
        self._consents = Consents(settings.data_dir / "consents")
        self.dictionary = DictionaryFile(settings.data_dir / FILE)
        self._waiters: Counter[str] = Counter()
        self._leaving: set[asyncio.Task[None]] = set()
        self._cloning: Sequence[str] = ()
        self._cloning_at = -math.inf

    # -- submit -------------------------------------------------------------------------------------------------

    async def submit(
        self,
        body: SpeechBody,
        caller: Caller = LOCAL,
        attached: bool = False,
        idempotency_key: str | None = None,
    ) -> Job:
        """Store a job; once this returns it survives power loss. See :meth:`submit_once`."""
        return (await self.submit_once(body, caller, attached, idempotency_key))[0]

    async def submit_once(
        self,
        body: SpeechBody,
        caller: Caller = LOCAL,
        attached: bool = False,
        idempotency_key: str | None = None,
    ) -> tuple[Job, bool]:
        """Store a job, unless that was done before under the same key; the job, and whether it is new.

        Args:
            body: What to speak.
            caller: On whose behalf.
            attached: Cancel it when its last waiter leaves; its first characters are interactive.
            idempotency_key: The same key with the same body gives the same job again.

        Raises:
            InvalidInput, NotFound, TooLarge: See :func:`rhapsode.jobs.request.resolve`.
            StorageFull: Free disk space is below the watermark.
            Unavailable: Too many unfinished jobs.
        """
        # a job that ends with its waiter is another request than one that stays
        fingerprint = f"{body.fingerprint()}{'/attached' if attached else ''}" if idempotency_key else ""
        if idempotency_key and (known := await self.shop.ledger.submitted(caller.owner, idempotency_key, fingerprint)):
            log_also_about(job_id=known.id)
            return known, False
        self.require_room(1)
        if caller.limits != NO_LIMITS:
            await self.shop.early.stored()  # it counts
        resolved, described = await self.resolve(body, caller, Priority.INTERACTIVE if attached else Priority.NORMAL)
        new = replace(
            new_job(body, resolved, caller),
            attached=attached,
            idempotency_key=idempotency_key,
            fingerprint=fingerprint,
        )
        window = body.text[:WINDOW]
        planning: asyncio.Future[PlanBatch] | None = None
        if attached:  # somebody waits: plan while the job is stored
            options = plan_options(new.request, described.info)
            words = wording(new.request, resolved.dictionary.give)
            planning = asyncio.ensure_future(
                self.shop.planner.plan(window, "", len(window) == len(body.text), options, words)
            )
            planning.add_done_callback(lambda done: done.cancelled() or done.exception())  # whoever wants it asks
        job, created = await self.shop.ledger.submit(new)
        failpoint("job.stored")
        log_also_about(job_id=job.id)
        if created:
            self.scheduler.submit(job, Head(window, planning))
        return job, created

    def require_room(self, jobs: int) -> None:
        """Refuse more work than can be stored.

        Raises:
            StorageFull: Free disk space is below the watermark.
            Unavailable: There would be too many unfinished jobs.
        """
        limits, waiting = self.settings.limits, len(self.scheduler.overview)
        if self.scheduler.disk_full:
            raise StorageFull(f"less than {limits.min_free_disk_mb} MB of disk are free (limits.min_free_disk_mb)")
        if waiting + jobs > limits.max_queued_jobs:
            raise Unavailable(f"{waiting} jobs are waiting; {limits.max_queued_jobs} may (limits.max_queued_jobs)")

    async def settle(self) -> None:
        """The server is about to stop: begin nothing more, and let segments in flight finish (see :func:`settle`)."""
        await settle(self.shop.fleet, self.scheduler)

    async def resolve(
        self, body: SpeechBody, caller: Caller, default: Priority = Priority.NORMAL
    ) -> tuple[Resolved, EngineDescription]:
        """Read the text's markup, look up what the body leaves open, and the engine that would speak it.

        Raises:
            TooLarge: The text is.
            InvalidInput: Its markup is wrong.
            NotFound: There is no such engine or voice here; names those there are.
            Unavailable: The engine cannot be had now.
        """
        check_size(body, self.settings)
        script = await read_script(body.text, body.input_type or InputType.AUTO)
        words = self.dictionary
        reading = Reading(script, await asyncio.to_thread(words.now) if words.is_stale else words.now(), words.trouble)
        wanted = body.predefined_voice_id if body.voice_mode is VoiceMode.PREDEFINED else None
        engine = body.engine or self.engine_of(wanted or "")
        described = await self.described(engine)
        clone = body.voice_mode is VoiceMode.CLONE
        recordings = await asyncio.to_thread(self.references) if clone else ()
        able = await self._able_to_clone() if clone and not described.info.can_clone else ()

        def look() -> Resolved:
            return resolve(body, self.settings, described, recordings, able, default, reading, caller.limits)

        try:
            resolved = look()
        except NotFound:  # perhaps a voice that was dropped in since
            described = await self.described(engine, refresh=True)
            resolved = look()
        if resolved.request.voice_mode is VoiceMode.CLONE:
            resolved = replace(resolved, request=await self._with_clip(resolved.request, described))
        return resolved, described

    async def _able_to_clone(self) -> Sequence[str]:
        """The engines that clone, each with what there is to do first; as it was some seconds ago at most."""
        now = self.shop.clock()
        if not 0 <= now - self._cloning_at < _CLONING_S:
            self._cloning, self._cloning_at = await asyncio.to_thread(self._look_for_cloning), now
        return self._cloning

    def _look_for_cloning(self) -> Sequence[str]:
        fleet = self.shop.fleet
        known = {name: fleet.known(name) for name in fleet.engines()}
        able = {name: "" for name, found in known.items() if found and found.info.can_clone}
        for name, lacks in self.shop.cloning().items():
            if known.get(name) is None:
                offer = "" if name in known else "offer it: engine.also"
                able[name] = f"install it: {lacks}" if lacks else offer
        return [f"{name} ({first})" if first else name for name, first in sorted(able.items())]

    async def _with_clip(self, request: SpeechRequest, described: EngineDescription) -> SpeechRequest:
        """The request with the clip of its recording.

        Raises:
            InvalidInput: The recording is none that the engine can clone (status 400).
        """
        clip = await self.library.clip(request.voice)
        if clip.seconds < described.info.min_clip_s:
            raise InvalidInput(
                f"reference_audio_filename: recording {request.voice!r} has {clip.seconds:.1f} s of sound; "
                f"engine {described.info.name!r} needs {described.info.min_clip_s:g} s",
                "reference_audio_filename",
                400,
            )
        return replace(request, reference=clip.digest)

    def engine_of(self, voice: str) -> str:
        """The engine that has a voice of this name: the active one if it does or none has, else the first that does."""
        active, *others = engines = self.shop.fleet.engines()
        has = (name for name in engines if (known := self.shop.fleet.known(name)) and known.voice(voice))
        return next(has, active) if voice and others else active

    async def described(self, engine: str | None = None, refresh: bool = False) -> EngineDescription:
        """What an engine can do, None or empty: the active one.

        Raises:
            NotFound: There is no such engine here; names those there are.
            Unavailable: It cannot be had now; says why.
        """
        try:
            return await self.shop.fleet.describe(engine or None, refresh)
        except SynthesisError as error:
            raise Unavailable(f"engine {engine or self.settings.engine.name} cannot be had: {error}") from error

    async def all_described(self, refresh: bool = False) -> list[EngineDescription]:
        """What each engine can do, the active one first; of the others those that are known. ``refresh`` asks the active one anew."""
        fleet = self.shop.fleet
        active, *others = fleet.engines()
        return [await self.described(active, refresh), *filter(None, (fleet.known(name) for name in others))]

    def require_engine(self) -> None:
        """Refuse work that somebody waits for while the engine is unloaded or the server is stopping.

        Raises:
            EngineUnloaded, Unavailable: It is.
        """
        match self.shop.fleet.waiting_for():
            case "engine unloaded":
                raise EngineUnloaded("the engine is unloaded; load it again (POST /restart_server) to speak")
            case "server stopping":
                raise Unavailable("the server is stopping; ask again when it is back")

    # -- look ---------------------------------------------------------------------------------------------------

    async def job(self, job_id: str, caller: Caller = LOCAL) -> Job:
        """The job, tombstones included.

        Raises:
            NotFound: No such job; any malformed id, and a job that the caller may not see, is simply unknown.
        """
        await self.shop.early.stored(job_id)
        job = await self._find(job_id) if is_job_id(job_id) else None
        if job is None or caller.sees not in (None, job.owner):
            raise NotFound(f"there is no job {job_id[:100]!r}", "job_id")
        log_also_about(job_id=job.id)
        return job

    async def _find(self, job_id: str) -> Job | None:
        try:
            return await self.shop.ledger.get_job(job_id)
        except LedgerUnavailable:  # what is at hand of a job in work can be told, and that it waits
            if job := self.scheduler.at_hand(job_id):
                return job
            raise

    async def living(self, job_id: str, caller: Caller = LOCAL) -> Job:
        """The job, unless it is a tombstone.

        Raises:
            NotFound: No such job.
            Gone: It was deleted or has expired.
        """
        job = await self.job(job_id, caller)
        if job.deleted:
            raise Gone(f"job {job_id} was deleted or has expired")
        return job

    async def status(self, job: Job, root: str = "") -> dict[str, object]:
        """The job's status as API.md shows it."""
        if job.status.is_terminal:
            return job_status(job, None, None, self.shop.clock(), root)
        waiting_for = await self.scheduler.waiting_for(job)
        place = self.scheduler.overview.place(job.id, self.workers(job.request.engine))
        return job_status(job, place, waiting_for, self.shop.clock(), root)

    def workers(self, engine: str) -> int:
        """Segments of one long text that this engine speaks at once."""
        return sum(not slot.express and engine in slot.engines for slot in self.shop.fleet.slots()) or 1

    def references(self) -> list[str]:
        """Names of the reference recordings, sorted. Reads the folder anew."""
        return self.library.names()

    @property
    def library(self) -> Library:
        """Voices and recordings as files."""
        return Library(self.settings, self.shop.ledger, self.shop.clips, self._consents)

    async def readiness(self) -> dict[str, str]:
        """State of each part that is needed to take work: ``ok``, or what is wrong with it."""
        store = "ok"
        try:
            for one in (self.shop.takes, self.shop.results):
                await asyncio.to_thread(_try_to_write, one.scratch())
            await self.shop.results.stat(_PROBE)
        except StorageAway as error:
            store = str(error)
        except OSError as error:  # without the path: anybody may ask
            store = error.strerror or type(error).__name__
        return {
            "store": store,
            "ledger": self.shop.ledger.waiting_for() or self.shop.patience.waiting_for or "ok",
            "disk": "full" if self.scheduler.disk_full else "ok",
            "workers": self.shop.fleet.waiting_for() or "ok",
        }

    # -- wait ---------------------------------------------------------------------------------------------------

    async def wait(self, job_id: str) -> Job:
        """Wait until the job has ended."""
        with self.shop.hub.watch(job_id, END_EVENTS) as watch:
            if job_id in self.scheduler.overview:  # not over yet, and this will hear of it
                await watch.wait(_POLL_S)
                if watch.job:
                    return watch.job
            while True:
                job = await self.job(job_id)
                if job.status.is_terminal or job.deleted:
                    return job
                await watch.wait(_POLL_S)

    async def heard(self, job: Job) -> Job | EarlyResult:
        """Wait until the job has ended, or its audio is at hand though not stored yet."""
        with self.shop.early.wanted(job.id) as early:
            ending = asyncio.ensure_future(self.wait(job.id))
            try:
                await asyncio.wait((ending, early), return_when=asyncio.FIRST_COMPLETED)
                return early.result() if early.done() else await ending
            finally:
                ending.cancel()
                await asyncio.gather(ending, return_exceptions=True)

    @asynccontextmanager
    async def attend(self, job: Job) -> AsyncIterator[None]:
        """Be a waiter of the job; when the last one of an attached job leaves by an exception, the job is cancelled."""
        self._waiters[job.id] += 1
        left = True
        try:
            yield
            left = False
        finally:
            self._waiters[job.id] -= 1
            if not self._waiters[job.id]:
                del self._waiters[job.id]
                if left and job.attached:
                    leaving = asyncio.create_task(self._abandon(job.id))
                    self._leaving.add(leaving)
                    leaving.add_done_callback(self._leaving.discard)
                    await asyncio.shield(leaving)

    async def _abandon(self, job_id: str) -> None:
        """Cancel the job, however long the ledger is away."""
        try:
            await self.shop.patiently(self.shop.ledger.cancel_job, job_id, "the client left")
        except (Conflict, Gone, NotFound):
            return  # it ended in this very moment

    # -- settings and engine ------------------------------------------------------------------------------------

    def apply(self, settings: Settings, sections: Iterable[str]) -> None:
        """Heed these sections of other settings from now on."""
        self.settings = self.settings.model_copy(update={name: getattr(settings, name) for name in sections})

    async def load_engine(self, settings: Settings) -> None:
        """Load the active engine anew, or another one, with the settings as they are now; jobs go on.

        Raises:
            EngineError: It cannot be loaded; what ran before goes on.
        """
        await self.shop.fleet.load(
            engine_choice(settings, await asyncio.to_thread(self.shop.installed_engines, settings))
        )
        self.apply(settings, _ENGINE_SECTIONS)

    # -- change -------------------------------------------------------------------------------------------------

    async def cancel(self, job_id: str, caller: Caller = LOCAL) -> Job:
        """Cancel an unfinished job; a cancelled one is returned as it is.

        Raises:
            NotFound, Gone: As in :meth:`living`.
            Conflict: It has completed or failed.
        """
        job = await self.living(job_id, caller)
        return await self.shop.ledger.cancel_job(job.id, "cancelled by the user")

    async def retry(self, job_id: str, caller: Caller = LOCAL) -> Job:
        """Queue a failed or cancelled job again; good takes are kept.

        Raises:
            NotFound, Gone: As in :meth:`living`.
            Conflict: It is queued, running or completed.
            QuotaExceeded: The owner has as many unfinished jobs as the caller is granted.
        """
        job = await self.shop.ledger.retry_job((await self.living(job_id, caller)).id, caller.limits)
        self.scheduler.submit(job)
        return job

    async def keep(self, job_id: str, kept: bool = True, caller: Caller = LOCAL) -> Job:
        """Exempt a job from expiry, or no longer.

        Raises:
            NotFound, Gone: As in :meth:`living`.
        """
        return await self.shop.ledger.keep_job((await self.living(job_id, caller)).id, kept)

    async def change(
        self,
        job_id: str,
        caller: Caller = LOCAL,
        priority: Priority | None = None,
        tags: Sequence[str] | None = None,
    ) -> Job:
        """Change priority, tags or both; more than the caller is granted becomes what is, with a warning.

        Raises:
            NotFound, Gone: As in :meth:`living`.
            Conflict: Another priority for a job that has ended.
        """
        job = await self.living(job_id, caller)
        warnings: list[str] = []
        if priority is not None:
            priority = granted(priority, caller.limits, warnings)
        job = await self.shop.ledger.change_job(job.id, priority, tags)
        if warnings:
            await self.shop.ledger.warn_job(job.id, warnings)
            job = await self.living(job.id, caller)
        self.scheduler.changed(job)
        return job

    async def purge(self, job_id: str, caller: Caller = LOCAL) -> None:
        """Delete a job's text, takes and result; a tombstone stays.

        Raises:
            NotFound, Gone: As in :meth:`living`.
        """
        before = await self.shop.ledger.purge_job((await self.living(job_id, caller)).id)
        failpoint("job.purged")
        self.scheduler.forget(job_id)
        if before.result:
            await drop(self.shop.results, before.result.name)
            await drop_renditions(self.shop, before)


async def settle(fleet: Fleet, scheduler: Scheduler) -> None:
    """Begin nothing more; segments in flight get a moment to finish, the rest is spoken after the next start."""
    scheduler.pause()
    await fleet.stop(_DRAIN_S)


def new_job(body: SpeechBody, resolved: Resolved, caller: Caller) -> NewJob:
    """The job that a body asks for."""
    return NewJob(
        id=new_job_id(),
        owner=caller.owner,
        request=resolved.request,
        text=body.text,
        priority=resolved.priority,
        warnings=resolved.warnings,
        tags=tuple(body.tags),
        webhook_url=body.webhook_url,
        limits=caller.limits,
        dictionary=resolved.dictionary.stored,
    )


def _try_to_write(path: Path) -> None:
    path.write_bytes(b"ok")
    path.unlink()
