"""Listen to a job while it is made."""

import asyncio
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing

from rhapsode.deliver.live import LiveStream
from rhapsode.errors import InvalidInput
from rhapsode.jobs.joiner import in_thread, joint_of, read_take, tags, timeline_options
from rhapsode.jobs.scheduler import Scheduler
from rhapsode.jobs.shop import Shop
from rhapsode.jobs.takes import takes_in_order
from rhapsode.model import AudioFormat, Job, SegmentState

_ENOUGH_S = 10.0
"""A listener with this much audio in hand is not urgent."""


class _Appetite:
    """Keeps the scheduler informed about how much audio one listener has in hand, at the speed of listening."""

    def __init__(self, scheduler: Scheduler, job_id: str) -> None:
        self._scheduler = scheduler
        self._job_id = job_id
        self._began: float | None = None
        self._sent_s = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._hungry = False
        self._tell(hungry=True)

    def fed(self, seconds: float) -> None:
        """So much audio was sent."""
        if self._began is None:
            self._began = time.monotonic()
        self._sent_s += seconds
        spare_s = self._sent_s - (time.monotonic() - self._began) - _ENOUGH_S
        self._stop_timer()
        self._tell(hungry=spare_s <= 0)
        if spare_s > 0:
            self._timer = asyncio.get_running_loop().call_later(spare_s, lambda: self._tell(hungry=True))

    def end(self) -> None:
        """Not hungry, for now or for good."""
        self._stop_timer()
        self._tell(hungry=False)

    def _stop_timer(self) -> None:
        if self._timer:
            self._timer.cancel()

    def _tell(self, hungry: bool) -> None:
        if hungry != self._hungry:
            self._hungry = hungry
            self._scheduler.set_hungry(self._job_id, self, hungry)


async def live_audio(
    shop: Shop, scheduler: Scheduler, job: Job, audio_format: AudioFormat, start: int = 0
) -> AsyncGenerator[bytes, None]:
    """Encode a job's takes from segment ``start`` on as they come: whole takes, in order.

    Raises:
        InvalidInput: The text has no segment ``start``.
        JobEnded: The job failed, was cancelled or deleted: what was sent is not the whole.
        BlobError: A take is damaged.
    """
    await scheduler.listen(job.id, start)
    appetite = _Appetite(scheduler, job.id)
    stream: LiveStream | None = None
    try:
        async with aclosing(_takes(shop, job, start)) as takes:
            async for state, data in takes:
                rate = state.take.rate if state.take else 0
                if stream is None:
                    stream = await in_thread(LiveStream, audio_format, timeline_options(job, rate), tags(job))
                out = await in_thread(stream.add, data, joint_of(job, state))
                appetite.fed(state.take.samples / rate if state.take else 0.0)
                if out:
                    yield out
        if stream is None:
            raise InvalidInput(f"segment: there is no segment {start}; the text has fewer", "segment")
        if out := await in_thread(stream.finish):
            yield out
    finally:
        appetite.end()


async def _takes(shop: Shop, job: Job, start: int) -> AsyncGenerator[tuple[SegmentState, bytes], None]:
    """Takes in order with their bytes; the first of all as soon as it is spoken, others once they are stored."""
    with shop.first_takes.wanted(job.id) as spoken:
        async with aclosing(takes_in_order(shop, job.id, start)) as takes:
            if start == 0:
                stored = asyncio.ensure_future(anext(takes, None))
                try:
                    await asyncio.wait((spoken, stored), return_when=asyncio.FIRST_COMPLETED)
                    early = spoken.result() if spoken.done() else None
                    if early:
                        yield early.state, early.data
                    state = await stored
                finally:
                    stored.cancel()
                    await asyncio.gather(stored, return_exceptions=True)
                if state is None:
                    return
                if not early:
                    yield state, await read_take(shop, state, patient=True)
            async for state in takes:
                yield state, await read_take(shop, state, patient=True)
