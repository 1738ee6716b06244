"""Every job ends or visibly waits, whatever goes wrong in between: real parts in this process, the tone engine."""

import asyncio
import dataclasses
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from rhapsode.compose import running_service
from rhapsode.datadir import DataDirLock
from rhapsode.errors import EngineError, LedgerError
from rhapsode.fleet.base import Rendered, SynthesisTask
from rhapsode.jobs.live import live_audio
from rhapsode.jobs.request import SpeechBody
from rhapsode.jobs.service import JobService
from rhapsode.ledger.base import NewJob
from rhapsode.model import AudioFormat, Event, Job, JobStatus, SegmentStatus, new_job_id
from tests.serving import settings_for

SENTENCES = "One sentence here. And a second one. Then a third. "


@asynccontextmanager
async def service_in(folder: Path, **changes: object) -> AsyncIterator[JobService]:
    settings = settings_for(folder, **changes)
    with DataDirLock(settings.data_dir):
        async with running_service(settings) as service:
            yield service


def body(text: str = SENTENCES, **fields: object) -> SpeechBody:
    return SpeechBody.model_validate({"text": text, "chunk_size": 50} | fields)


async def ended(service: JobService, job_id: str, timeout_s: float = 10.0) -> Job:
    async with asyncio.timeout(timeout_s):
        return await service.wait(job_id)


async def all_spoken(service: JobService, job_id: str) -> None:
    async with asyncio.timeout(10):
        while not (job := await service.job(job_id)).plan_done or job.segments_done < job.segments_total:
            await asyncio.sleep(0.01)


async def event_of(service: JobService, wanted: Callable[[Event], bool]) -> asyncio.Future[Event]:
    """The first event from now on that is wanted."""
    found: asyncio.Future[Event] = asyncio.get_running_loop().create_future()

    def look(event: Event) -> None:
        if wanted(event) and not found.done():
            found.set_result(event)

    service.shop.hub.listen(look)
    return found


async def test_retry_of_a_text_with_nothing_to_speak_fails_again(tmp_path: Path):
    async with service_in(tmp_path) as service:
        job = await service.submit(body("... !!! —"))
        assert (await ended(service, job.id)).status is JobStatus.FAILED
        await service.retry(job.id)
        again = await ended(service, job.id)
        assert (again.status, again.run) == (JobStatus.FAILED, 2)
        assert "nothing" in str(again.error)


async def hold_results(service: JobService, monkeypatch: pytest.MonkeyPatch) -> asyncio.Event:
    """Publish no result before the event is set."""
    gate = asyncio.Event()
    adopt = service.shop.results.adopt

    async def later(path: Path, name: str) -> None:
        await gate.wait()
        await adopt(path, name)

    monkeypatch.setattr(service.shop.results, "adopt", later)
    return gate


async def test_retry_of_a_job_that_lacks_only_its_result_completes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    async with service_in(tmp_path) as service:
        gate = await hold_results(service, monkeypatch)
        job = await service.submit(body())
        await all_spoken(service, job.id)
        await service.cancel(job.id)
        gate.set()
        assert (await service.retry(job.id)).status is JobStatus.QUEUED
        assert (await ended(service, job.id)).status is JobStatus.COMPLETED


async def test_retry_with_a_damaged_take_makes_it_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    async with service_in(tmp_path) as service:
        gate = await hold_results(service, monkeypatch)
        job = await service.submit(body(seed=3))
        await all_spoken(service, job.id)
        await service.cancel(job.id)
        gate.set()
        for state in await service.shop.ledger.segments(job.id, 1, 1):
            assert state.take is not None
            await service.shop.takes.delete(state.take.digest)
        await service.retry(job.id)
        assert (await ended(service, job.id)).status is JobStatus.COMPLETED


@pytest.mark.parametrize("times", [1, 1000])
async def test_unexpected_error_of_the_fleet_is_a_failed_attempt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, times: int
):
    async with service_in(tmp_path) as service:
        speak, calls = service.shop.fleet.synthesise, 0

        async def odd(slot_id: str, task: SynthesisTask) -> Rendered:
            nonlocal calls
            calls += 1
            if calls <= times:
                raise RuntimeError("nobody expected this")
            return await speak(slot_id, task)

        monkeypatch.setattr(service.shop.fleet, "synthesise", odd)
        job = await ended(service, (await service.submit(body())).id)
        if times == 1:
            assert job.status is JobStatus.COMPLETED
        else:
            assert job.status is JobStatus.FAILED
            assert "nobody expected this" in str(job.error)


@pytest.mark.parametrize("method", ["claim", "extend_plan", "complete_segment", "segments", "get_job", "read_text"])
@pytest.mark.parametrize("kind", [LedgerError, EngineError, RuntimeError])
async def test_ledger_that_stumbles_once_leaves_no_job_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: str, kind: type[Exception]
):
    async with service_in(tmp_path) as service:
        call, stumbled = getattr(service.shop.ledger, method), False

        async def once(*args: object, **kwargs: object) -> object:
            nonlocal stumbled
            if not stumbled:
                stumbled = True
                raise kind("stumbled")
            return await call(*args, **kwargs)

        job = await service.submit(body("A little story. " * 300))  # longer than what is planned without reading it
        monkeypatch.setattr(service.shop.ledger, method, once)
        over = await event_of(service, lambda e: e.type in ("job.completed", "job.failed"))
        async with asyncio.timeout(10):
            event = await over
        assert stumbled
        if event.type == "job.failed":
            assert kind is not LedgerError
            assert "stumbled" in str((await service.job(job.id)).error)


async def test_jobs_of_an_engine_that_is_not_here_hold_up_nobody(tmp_path: Path):
    async with service_in(tmp_path) as service:
        described = await service.shop.fleet.describe()
        await service.shop.fleet.unload()
        mine = await service.submit(body())
        foreign = dataclasses.replace(mine.request, engine="elsewhere")
        await service.cancel(mine.id)
        strangers = [NewJob(new_job_id(), "local", foreign, SENTENCES, mine.priority) for _ in range(30)]
        for new in strangers:
            await service.shop.ledger.submit(new)
        mine = await service.submit(body())
    async with service_in(tmp_path) as service:
        assert (await service.shop.fleet.describe()).info.name == described.info.name
        assert (await ended(service, mine.id)).status is JobStatus.COMPLETED
        status = await service.status(await service.job(strangers[0].id))
        assert status["status"] == "queued"
        assert status["waiting_for"] == "engine elsewhere"
        assert status["queue_position"] is not None


async def test_cancel_while_planning_leaves_the_planner_alive(tmp_path: Path):
    async with service_in(tmp_path) as service:
        planner = service.shop.planner._process
        job = await service.submit(body("words and more words without an end " * 20_000))
        await service.cancel(job.id)
        other = await service.submit(body())
        assert (await ended(service, other.id)).status is JobStatus.COMPLETED
        assert service.shop.planner._process is planner


async def test_a_listener_hears_the_first_take_while_it_is_being_stored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    async with service_in(tmp_path) as service:
        shop, stored = service.shop, asyncio.Event()
        complete = shop.ledger.complete_segment

        async def slowly(*args: Any) -> Job:
            await stored.wait()
            return await complete(*args)

        monkeypatch.setattr(shop.ledger, "complete_segment", slowly)
        job = await service.submit(body())
        async with asyncio.timeout(10), aclosing(live_audio(shop, service.scheduler, job, AudioFormat.PCM)) as stream:
            first = await anext(stream)
            assert first
            assert (await service.job(job.id)).segments_done == 0
            stored.set()
            heard = first + b"".join([piece async for piece in stream])
        await ended(service, job.id)
        async with aclosing(live_audio(shop, service.scheduler, job, AudioFormat.PCM)) as stream:
            assert heard == b"".join([piece async for piece in stream]), "every take once, in order"


async def test_a_job_that_fails_finishes_what_is_spoken_before_the_gap(tmp_path: Path):
    async with service_in(tmp_path) as service:
        text = "The first of two is spoken slowly, as slow words are. !raise!"
        job = await service.submit(body(text, predefined_voice_id="tone-slow"))
        assert (await ended(service, job.id)).status is JobStatus.FAILED
        before, gap = await service.shop.ledger.segments(job.id)
        assert (before.status, gap.status) == (SegmentStatus.DONE, SegmentStatus.FAILED)
