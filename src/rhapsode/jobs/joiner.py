"""Join a job's takes into its result: encode the finished prefix as takes arrive, publish when the last one is in.

A crash here starts assembling again, never synthesis. The file becomes visible by one rename, the job completed by one
transaction behind it.
"""

import asyncio
import contextlib
import hashlib
import logging
import time
from collections.abc import Awaitable, Callable, MutableMapping
from functools import partial
from pathlib import Path
from typing import ParamSpec, Protocol, TypeVar

from rhapsode.audio.encode import extension
from rhapsode.deliver.assemble import Assembled, Assembler, LoudnessPass
from rhapsode.deliver.timeline import TimelineOptions
from rhapsode.errors import BlobError, LedgerUnavailable, Refused, StorageAway, StorageFull
from rhapsode.failpoints import failpoint
from rhapsode.jobs.early import MOST_BYTES, EarlyResult, FirstTake
from rhapsode.jobs.shop import Shop
from rhapsode.jobs.stored import drop, local_copy, store_result
from rhapsode.jobs.takes import JobEnded, takes_in_order
from rhapsode.model import Job, Joint, Result, SegmentState, is_job_id

log = logging.getLogger(__name__)

P = ParamSpec("P")
T = TypeVar("T")

_AGAIN_S = 5.0
_ID_LENGTH = 36
_HASHED_AT_ONCE = 256 * 1024
"""Bytes whose checksum takes less time than a thread to compute it in."""


def timeline_options(job: Job, rate: int) -> TimelineOptions:
    """How this job's takes are laid on its timeline; the same for the file and for live listeners."""
    return TimelineOptions(rate=rate, pauses=job.request.pauses, gain_db=job.request.gain_db)


def joint_of(job: Job, state: SegmentState) -> Joint:
    """How the take of a segment is joined to its neighbours."""
    segment = state.segment
    part = job.request.part(segment.voice) if segment.voice else None
    return Joint(segment.boundary, segment.lead_ms, part.gain_db if part else None)


def tags(job: Job) -> dict[str, str]:
    """Metadata of the file; nothing that differs between two runs of the same text."""
    return {"artist": job.request.voice, "encoder": "Rhapsode"}


def result_name(job: Job, now: float, revision: int = 1) -> str:
    """File name of the result: ``tts_job_<uuid>_<timestamp>.<ext>``, time in UTC; ``_r2`` and so on before the dot when it was revised."""
    stamp = time.strftime("%Y%m%d_%H%M%S", time.gmtime(now))
    revised = f"_r{revision}" if revision > 1 else ""
    return f"tts_job_{job.id}_{stamp}{revised}.{extension(job.request.output_format)}"


def result_job_id(name: str) -> str:
    """The job of a result's file name, or ``""`` when the name is not of ours."""
    job_id = name.removeprefix("tts_job_")[:_ID_LENGTH]
    return job_id if name.startswith("tts_job_") and is_job_id(job_id) else ""


async def read_take(shop: Shop, state: SegmentState, patient: bool = False) -> bytes:
    """The checked bytes of a finished segment.

    Args:
        shop: Shared parts.
        state: The segment.
        patient: Wait while the store cannot be reached; work waits with it.

    Raises:
        BlobError: They are missing or damaged.
        StorageAway: The store cannot be reached now.
    """
    if state.take is None:
        raise BlobError(f"segment {state.segment.index} has no take")
    digest = state.take.digest
    if patient:
        data = await shop.patience.keep_trying(lambda: shop.takes.get(digest), (StorageAway,))
    else:
        data = await shop.takes.get(digest)
    if len(data) <= _HASHED_AT_ONCE:
        return checked(digest, data)
    return await asyncio.to_thread(checked, digest, data)


def checked(digest: str, data: bytes) -> bytes:
    """``data``, when that is its digest.

    Raises:
        BlobError: It is not.
    """
    content = hashlib.sha256(data).hexdigest()
    if content != digest:
        raise BlobError(f"take {digest} is damaged: its content is {content}")
    return data


async def uninterrupted(work: Awaitable[T]) -> T:
    """Await ``work``; when cancelled, wait for it all the same, so that what it touches is at rest afterwards."""
    task = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait([task])
        if not task.cancelled():
            task.exception()  # whoever cancelled does not ask for it
        raise


async def in_thread(call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Run ``call`` in a thread, uninterrupted."""
    return await uninterrupted(asyncio.to_thread(call, *args, **kwargs))


class _Sink(Protocol):
    """Takes go in here."""

    def add(self, take: bytes, joint: Joint) -> object: ...

    def abort(self) -> None: ...


S = TypeVar("S", bound=_Sink)


def _push(sink: S | None, begin: Callable[[int], S], state: SegmentState, joint: Joint, data: bytes) -> S:
    """Add a take to the sink, which begins with the first one."""
    if sink is not None:
        sink.add(data, joint)
        return sink
    sink = begin(state.take.rate if state.take else 0)
    try:
        sink.add(data, joint)
    except BaseException:
        sink.abort()
        raise
    return sink


class Joiner:
    """Assembles one job.

    Args:
        shop: Shared parts.
        job: The job; its request, epoch and run do not change while this lives.
        on_lost: Called with a segment whose take was gone or damaged and that is pending again.
        newest: The job as it is known now.
        recent: Segments as they are once they are told to be completed; taken out.
        first: The first take, when it is at hand.
    """

    def __init__(
        self,
        shop: Shop,
        job: Job,
        on_lost: Callable[[SegmentState], None],
        newest: Callable[[], Job],
        recent: MutableMapping[int, SegmentState],
        first: FirstTake | None = None,
    ) -> None:
        self._shop = shop
        self._job = job
        self._on_lost = on_lost
        self._newest = newest
        self._recent = recent
        self._first = first
        self._path = shop.results.scratch()

    async def run(self) -> None:
        """Assemble and publish; waits while the disk takes nothing, ends quietly when the job ended otherwise."""
        while True:
            try:
                whole = await self._assemble()
            except JobEnded:
                return
            except (StorageFull, OSError) as error:
                await self._shop.patience.pause(error)
            except BlobError as error:
                log.warning("job %s: %s; assembling again in %g s", self._job.id, error, _AGAIN_S)
                await asyncio.sleep(_AGAIN_S)
            else:
                if whole:
                    return

    async def _assemble(self) -> bool:
        """Whether that is all; False when it must be done again, because the first take was not stored in the end."""
        job = self._job
        target = job.request.loudness_lufs
        makeup = 1.0
        if target is not None:
            meter = await self._feed(lambda rate: LoudnessPass(timeline_options(job, rate), target))
            if meter is None:
                return True
            makeup = await in_thread(meter.makeup)
        assembler: Assembler | None = None
        try:
            assembler = await self._feed(
                lambda rate: Assembler(
                    self._path, job.request.output_format, timeline_options(job, rate), tags(job), makeup
                )
            )
            if assembler is None:
                return True
            made, early = await in_thread(self._finish, assembler)
            with self._shop.early.handed(early) if early else contextlib.nullcontext():
                published = await uninterrupted(self._publish(made))
            self._first = None
            return published
        finally:
            with contextlib.suppress(OSError):
                self._path.unlink(missing_ok=True)

    def _finish(self, assembler: Assembler) -> tuple[Assembled, EarlyResult | None]:
        """Complete the file; all of it, too, when it is short and somebody waits for it."""
        made, job = assembler.finish(), self._newest()
        if made.size > MOST_BYTES or not job.attached or not job.plan_done or not self._shop.early.is_wanted(job.id):
            return made, None
        return made, EarlyResult(job, self._path.read_bytes(), made.digest)

    def _total(self) -> int | None:
        """Number of segments, once it is known."""
        job = self._newest()
        return job.segments_total or None if job.plan_done else None

    async def _feed(self, begin: Callable[[int], S]) -> S | None:
        """Push every take in order into what ``begin`` makes of their sample rate; None when there is no take at all."""
        sink: S | None = None
        try:
            index = 0
            if self._first:
                state = self._first.state
                sink = await in_thread(_push, sink, begin, state, joint_of(self._job, state), self._first.data)
                index = 1
            whole = False
            while not whole:
                whole = True
                taking = takes_in_order(self._shop, self._job.id, index, self._total, self._recent)
                async with contextlib.aclosing(taking) as takes:
                    async for state in takes:
                        try:
                            sink = await self._push_stored(sink, begin, state)
                        except BlobError as error:
                            await self._remake(state, error)
                            whole = False
                            break
                        index = state.segment.index + 1
        except BaseException:
            if sink is not None:
                sink.abort()
            raise
        return sink

    async def _push_stored(self, sink: S | None, begin: Callable[[int], S], state: SegmentState) -> S:
        """Read a take and push it; in one go where it lies on this machine.

        Raises:
            BlobError: It is missing or damaged; nothing was pushed.
        """
        joint, take = joint_of(self._job, state), state.take

        def read_and_push() -> S | None:
            data = self._shop.takes.get_here(take.digest) if take else None
            return (
                None if take is None or data is None else _push(sink, begin, state, joint, checked(take.digest, data))
            )

        pushed = await in_thread(read_and_push)
        if pushed is None:
            data = await read_take(self._shop, state, patient=True)
            return await in_thread(_push, sink, begin, state, joint, data)
        return pushed

    async def _remake(self, state: SegmentState, error: BlobError) -> None:
        """Have a take that is gone made again: bytes first, so that the new ones are really written."""
        log.warning("job %s: %s; speaking segment %d again", self._job.id, error, state.segment.index)
        if state.take:
            await self._shop.patience.keep_trying(partial(self._shop.takes.delete, state.take.digest), (StorageAway,))
        await self._shop.ledger.start_job(self._job.fence)  # one that was queued again has not begun yet
        await self._shop.ledger.reset_segment(self._job.fence, state.segment.index)
        states = await self._shop.ledger.segments(self._job.id, state.segment.index, 1)
        if states:
            self._on_lost(states[0])

    async def _publish(self, made: Assembled) -> bool:
        """Make the file the job's result; False when its first take was not stored in the end."""
        name = result_name(self._job, self._shop.clock())
        failpoint("result.joined")
        await store_result(self._shop, self._path, name)
        failpoint("result.adopted")
        if self._first and not await self._first.stored:
            await drop(self._shop.results, name)
            return False
        copy = await self._save(self._job, name)
        result = Result(
            name=name,
            format=self._job.request.output_format,
            size=made.size,
            digest=made.digest,
            samples=made.samples,
            rate=made.rate,
        )
        try:
            await self._shop.patience.keep_trying(
                lambda: self._shop.ledger.complete_job(self._job.fence, result), (LedgerUnavailable,)
            )
        except (Refused, StorageFull):  # nothing half-done stays behind
            await self._withdraw(name)
            if copy:
                await asyncio.to_thread(copy.unlink, missing_ok=True)
            raise
        return True

    async def _withdraw(self, name: str) -> None:
        """Remove a file that became nobody's result.

        Where several nodes share the store, another one may have made a file of this very name in this very second, and its
        result is not to be lost: there it is left to the sweeper, who asks the ledger.
        """
        if not self._shop.ledger.shared:
            await drop(self._shop.results, name)

    async def _save(self, job: Job, name: str) -> Path | None:
        """Keep a copy for the user when that is wanted; that it cannot be kept is no reason to fail."""
        if self._shop.saved is None:
            return None
        try:
            async with local_copy(self._shop.results, name) as source:
                return await asyncio.to_thread(self._shop.saved.save, job, source)
        except (OSError, BlobError, StorageAway) as error:
            log.warning("job %s: no copy was saved: %s", job.id, error)
            cause = error.strerror if isinstance(error, OSError) else None
            await self._shop.ledger.warn_job(job.id, [f"no copy was saved to disk: {cause or error}"])
            return None
