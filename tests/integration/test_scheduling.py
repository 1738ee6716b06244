"""Who is served when, end to end: real ledger, workers and files, the tone engine."""

import asyncio
import dataclasses
import logging
import math
import wave
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rhapsode.audio.loudness import LoudnessMeter
from rhapsode.errors import EngineError, EngineUnloaded
from rhapsode.fleet import local
from rhapsode.fleet.base import EngineDescription, Rendered, SynthesisTask
from rhapsode.fleet.local import LocalFleet
from rhapsode.fleet.seat import Seat
from rhapsode.jobs import runner, scheduler
from rhapsode.jobs.service import JobService
from rhapsode.ledger.sql import SqlLedger
from rhapsode.model import Caller, Event, Job, JobStatus, SegmentStatus
from tests import plugins
from tests.integration.test_never_hangs import body, ended, service_in

LONG = "Slow words of a long text. " * 60
SLOW = {"predefined_voice_id": "tone-slow"}


class Log:
    """Events of one type, in order, and how many jobs were active at most."""

    def __init__(self, service: JobService, kind: str) -> None:
        self.ids: list[str] = []
        self.most_active = 0
        self._service = service
        self._kind = kind
        service.shop.hub.listen(self._note)

    def _note(self, event: Event) -> None:
        self.most_active = max(self.most_active, self._service.scheduler._active())
        if event.type == self._kind:
            self.ids.append(event.job_id)


async def test_two_hundred_jobs_complete_in_order_within_the_cap(tmp_path: Path):
    async with service_in(tmp_path) as service:
        log = Log(service, "job.started")
        jobs = await asyncio.gather(*(service.submit(body(f"Job number {n}.")) for n in range(200)))
        for job in jobs:
            assert (await ended(service, job.id, 60)).status is JobStatus.COMPLETED
        assert log.most_active <= 64
        assert service.scheduler._active() == 0
        assert len(service.scheduler.order) == len(service.scheduler.overview) == 0
        place = {job_id: n for n, job_id in enumerate(log.ids)}
        by_age = sorted(jobs, key=lambda job: job.created_at)
        assert max(abs(place[job.id] - n) for n, job in enumerate(by_age)) < 64, "at most those begin that are active"


async def test_short_work_is_served_though_the_cap_is_full_of_books(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(scheduler, "_MAX_RUNS", 4)
    async with service_in(tmp_path) as service:
        log = Log(service, "segment.started")
        books = [await service.submit(body(LONG, **SLOW)) for _ in range(8)]
        while len(log.ids) < 4:
            await asyncio.sleep(0.01)
        short = await service.submit(body("A short one."), attached=True)
        before = len(log.ids)
        assert (await ended(service, short.id)).status is JobStatus.COMPLETED
        assert len(log.ids) - before < 12
        for book in books[:-1]:
            await service.cancel(book.id)
        assert log.most_active <= 4
        assert (await ended(service, books[-1].id, 30)).status is JobStatus.COMPLETED


async def test_owners_share_equally_whatever_the_number_of_their_jobs(tmp_path: Path):
    async with service_in(tmp_path) as service:
        log = Log(service, "segment.started")
        many = [await service.submit(body(LONG, **SLOW), caller=Caller("bob")) for _ in range(4)]
        one = await service.submit(body(LONG, **SLOW), caller=Caller("ann"))
        async with asyncio.timeout(20):
            while log.ids.count(one.id) < 12:
                await asyncio.sleep(0.01)
        first = log.ids.index(one.id)
        served = Counter("ann" if job_id == one.id else "bob" for job_id in log.ids[first:])
        assert abs(served["ann"] - served["bob"]) <= 6
        for job in [*many, one]:
            await service.cancel(job.id)


async def test_batch_work_waits_for_normal_work(tmp_path: Path):
    async with service_in(tmp_path, fleet__express_threads=-1, fleet__bulk_slots=1) as service:
        log = Log(service, "segment.started")
        batch = await service.submit(body(LONG, priority="batch", **SLOW))
        while not log.ids:
            await asyncio.sleep(0.01)
        normal = await service.submit(body("Slow words here. And then some more of them.", **SLOW))
        talk = await service.submit(body("Slow words here. And then some more of them.", priority="high", **SLOW))
        await ended(service, normal.id)
        assert (await service.job(talk.id)).status is JobStatus.COMPLETED
        between = log.ids[log.ids.index(talk.id) : len(log.ids) - log.ids[::-1].index(normal.id)]
        assert batch.id not in between
        await service.cancel(batch.id)


async def events_until(service: JobService, job_id: str, kind: str, seen: list[Event]) -> None:
    """Wait until ``seen`` holds an event of the type, of that job."""
    async with asyncio.timeout(20):
        while not any(event.job_id == job_id and event.type == kind for event in seen):
            await asyncio.sleep(0.01)


async def test_other_segments_stand_back_behind_the_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(runner, "_HOLD_S", 30.0)  # however busy this machine is
    async with service_in(tmp_path, fleet__bulk_slots=2) as service:
        fleet, steps = service.shop.fleet, list[tuple[str, int]]()
        synthesise = fleet.synthesise

        async def watched(slot: str, task: SynthesisTask) -> Rendered:
            steps.append(("begun", task.index))
            rendered = await synthesise(slot, task)
            steps.append(("spoken", task.index))
            return rendered

        monkeypatch.setattr(fleet, "synthesise", watched)
        job = await service.submit(body(LONG, **SLOW))
        assert (await ended(service, job.id, 30)).status is JobStatus.COMPLETED
        assert steps[:2] == [("begun", 0), ("spoken", 0)]
        assert steps[2][1] > 0


async def test_other_segments_do_not_wait_long_for_a_first_that_takes_its_time(tmp_path: Path):
    async with service_in(tmp_path, fleet__bulk_slots=2) as service:
        seen: list[Event] = []
        service.shop.hub.listen(seen.append)
        job = await service.submit(body("!hang once! first. " + LONG, **SLOW))
        await events_until(service, job.id, "segment.completed", seen)
        assert (await service.shop.ledger.segments(job.id, 0, 1))[0].status is SegmentStatus.RUNNING
        await service.cancel(job.id)


async def test_unloaded_engine_makes_jobs_wait_visibly_and_go_on_when_it_is_back(tmp_path: Path):
    async with service_in(tmp_path) as service:
        running = await service.submit(body(LONG, **SLOW))
        while (await service.job(running.id)).segments_done < 2:
            await asyncio.sleep(0.01)
        await service.shop.fleet.unload()
        with pytest.raises(EngineUnloaded):
            service.require_engine()
        queued = await service.submit(body())
        for job in (running, queued):
            assert (await service.status(await service.job(job.id)))["waiting_for"] == "engine unloaded"
        assert (await service.status(await service.job(queued.id)))["queue_position"] == 1
        await service.shop.fleet.load()
        for job in (running, queued):
            done = await ended(service, job.id, 30)
            assert done.status is JobStatus.COMPLETED
        assert not any(state.failures for state in await service.shop.ledger.segments(running.id))


@pytest.mark.parametrize("retries", [0, 1])
async def test_whole_job_is_retried_as_often_as_configured(tmp_path: Path, retries: int):
    async with service_in(tmp_path, job_queue__max_retries=retries) as service:
        log = Log(service, "job.failed")
        job = await service.submit(body("Good one. This is !raise! bad. Good again."))
        async with asyncio.timeout(20):
            while len(log.ids) < 1 + retries:
                await asyncio.sleep(0.01)
        found = await ended(service, job.id)
        assert (found.run, found.status) == (1 + retries, JobStatus.FAILED)


async def test_loudness_of_the_finished_file_is_what_was_asked_for(tmp_path: Path):
    async with service_in(tmp_path, audio_output__loudness_lufs=-23.0) as service:
        job = await ended(service, (await service.submit(body(LONG, predefined_voice_id="tone-chars"))).id, 30)
        assert job.result is not None
        path = service.shop.results.local_path(job.result.name)
        assert path is not None
        with wave.open(str(path)) as file:
            rate, data = file.getframerate(), file.readframes(file.getnframes())
        samples = np.frombuffer(data, np.int16).astype(np.float32) / np.float32(32768)
        meter = LoudnessMeter(rate)
        meter.add(samples)
        loudness = meter.integrated()
        assert loudness is not None
        assert math.isclose(loudness, -23.0, abs_tol=0.3)
        assert np.abs(samples).max() < 1


async def test_job_that_waits_has_a_place_before_the_next_snapshot(tmp_path: Path):
    async with service_in(tmp_path) as service:
        await service.shop.fleet.unload()
        first = await service.submit(body())
        assert (await service.status(first))["queue_position"] == 1
        second = await service.submit(body())
        assert (await service.status(second))["queue_position"] == 2


async def test_changes_of_a_job_are_not_lost_when_it_was_queued_again(tmp_path: Path):
    async with service_in(tmp_path) as service:
        job = await service.submit(body(LONG, **SLOW))
        for run in range(2, 6):
            await service.cancel(job.id)
            again = await service.retry(job.id)
            assert again == dataclasses.replace(again, run=run, status=JobStatus.QUEUED)
        assert (await ended(service, job.id, 30)).status is JobStatus.COMPLETED


async def jobs_left_of(engine: str, count: int, folder: Path) -> list[Job]:
    """Jobs that a server left behind: many of an engine, and behind them one of the active engine, which is the last."""
    async with service_in(folder, engine__also=engine) as service:
        await service.described(engine)
        service.scheduler.pause()
        return [
            *[await service.submit(body("One. Two.", engine=engine)) for _ in range(count)],
            await service.submit(body("One. Two.")),
        ]


async def test_jobs_of_an_engine_that_is_still_starting_hold_up_no_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    plugins.install(monkeypatch)
    *waiting, other = await jobs_left_of("chirp", 12, tmp_path)
    gate, introduce = asyncio.Event(), LocalFleet._introduce

    async def slowly(fleet: LocalFleet, *args: Any) -> EngineDescription:
        await gate.wait()
        return await introduce(fleet, *args)

    monkeypatch.setattr(LocalFleet, "_introduce", slowly)
    async with service_in(tmp_path, engine__also="chirp") as service:
        try:
            assert (await ended(service, other.id)).status is JobStatus.COMPLETED
            for job in waiting:
                assert (await service.status(await service.job(job.id)))["waiting_for"] == "engine starting"
        finally:
            gate.set()
        for job in waiting:
            assert (await ended(service, job.id, 30)).status is JobStatus.COMPLETED


async def test_an_engine_that_cannot_be_had_is_asked_once_for_all_its_jobs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    plugins.install(monkeypatch)
    *waiting, other = await jobs_left_of("chirp", 12, tmp_path)
    try_candidate, healed, read = LocalFleet._try_candidate, False, Counter[str]()

    async def broken(fleet: LocalFleet, seat: Seat, *args: Any, **kwargs: Any) -> object:
        if seat.engine == "chirp" and not healed:
            raise EngineError("it cannot be imported")
        return await try_candidate(fleet, seat, *args, **kwargs)

    get_job = SqlLedger.get_job

    async def counted(ledger: SqlLedger, job_id: str) -> Job | None:
        read[job_id] += 1
        return await get_job(ledger, job_id)

    monkeypatch.setattr(LocalFleet, "_try_candidate", broken)
    monkeypatch.setattr(SqlLedger, "get_job", counted)
    monkeypatch.setattr(local, "_ASK_AGAIN_S", 0.01)
    monkeypatch.setattr(scheduler, "_ENGINE_AGAIN_S", 0.1)
    caplog.set_level(logging.WARNING, "rhapsode.jobs.scheduler")
    async with service_in(tmp_path, engine__also="chirp") as service:
        told: list[str] = []
        async with asyncio.timeout(10):
            while len(told) < 4:
                await asyncio.sleep(0.01)
                told = [record.getMessage() for record in caplog.records if record.name == "rhapsode.jobs.scheduler"]
        assert set(told) == {"jobs wait for engine chirp: it cannot be imported"}
        assert not [job.id for job in waiting if read[job.id]]
        assert (await ended(service, other.id)).status is JobStatus.COMPLETED
        state = await service.status(await service.job(waiting[0].id))
        assert state["waiting_for"] == "engine chirp: it cannot be imported"
        healed = True
        for job in waiting:
            assert (await ended(service, job.id, 30)).status is JobStatus.COMPLETED
