"""The old server's Python names."""

import asyncio
import wave
from pathlib import Path

import pytest

import rhapsode
from rhapsode import JobStatus, TTSJob, TTSJobQueue, get_job_queue
from rhapsode.errors import DataDirInUse, RhapsodeError
from tests.serving import settings_for


async def ended(queue: TTSJobQueue, job_id: str) -> TTSJob:
    async with asyncio.timeout(20):
        while (job := await queue.get_job(job_id)) is None or not job.status.is_terminal:
            await asyncio.sleep(0.01)
    return job


def silence(path: Path) -> Path:
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, 8000, 0, "NONE", ""))
        file.writeframes(b"\0\0" * 800)
    return path


def test_public_names_are_pinned():
    assert rhapsode.__all__ == sorted(["JobStatus", "TTSJob", "TTSJobQueue", "get_job_queue"])
    assert [status.name for status in JobStatus] == ["QUEUED", "RUNNING", "COMPLETED", "FAILED", "CANCELLED"]
    with pytest.raises(AttributeError):
        _ = rhapsode.nothing


def test_queue_of_the_process_is_one(monkeypatch, tmp_path):
    monkeypatch.setenv("RHAPSODE_DATA_DIR", str(tmp_path))
    assert get_job_queue() is get_job_queue()


async def test_engine_speaks_when_there_is_no_callback(tmp_path):
    queue = TTSJobQueue(settings_for(tmp_path))
    await queue.start()
    try:
        job = await ended(queue, await queue.submit_job({"text": "Hello world.", "seed": 3}))
        assert job.status is JobStatus.COMPLETED
        assert job.to_dict()["progress"] == 100
        assert job.output_path
        assert Path(job.output_path).read_bytes().startswith(b"RIFF")
    finally:
        await queue.stop()


async def test_callback_speaks_and_tells_its_progress(tmp_path):
    queue = TTSJobQueue(settings_for(tmp_path))
    begun, go_on = asyncio.Event(), asyncio.Event()

    async def speak(job: TTSJob) -> dict[str, object]:
        job.progress, job.current_chunk, job.total_chunks = 50.0, 1, 2
        begun.set()
        await go_on.wait()
        assert job.request_params["mood"] == "calm"
        return {"output_path": str(silence(tmp_path / "mine.wav")), "output_format": "wav"}

    queue.set_processing_callback(speak)
    await queue.start()
    try:
        job_id = await queue.submit_job(text="Hello.", mood="calm")
        await begun.wait()
        seen = await queue.get_job(job_id)
        assert seen is not None
        assert seen.status is JobStatus.RUNNING
        assert (seen.to_dict()["progress"], seen.current_chunk, seen.total_chunks) == (50.0, 1, 2)
        go_on.set()
        job = await ended(queue, job_id)
        assert job.status is JobStatus.COMPLETED
        assert job.output_path
        assert Path(job.output_path).read_bytes() == (tmp_path / "mine.wav").read_bytes()
    finally:
        await queue.stop()


async def test_callback_that_raises_fails_the_job_after_its_retries(tmp_path):
    queue = TTSJobQueue(settings_for(tmp_path, job_queue__max_retries=2))
    runs = []

    async def speak(job: TTSJob) -> dict[str, object]:
        runs.append(job.to_dict()["run"])
        raise ValueError("no voice today")

    queue.set_processing_callback(speak)
    await queue.start()
    try:
        job_id = await queue.submit_job(text="Hello.")
        async with asyncio.timeout(10):
            while len(runs) < 3 or (await ended(queue, job_id)).to_dict()["run"] < 3:
                await asyncio.sleep(0.01)
        assert "no voice today" in str((await ended(queue, job_id)).error)
        assert runs == [1, 2, 3]
    finally:
        await queue.stop()


async def test_cancel_stops_the_callback(tmp_path):
    queue = TTSJobQueue(settings_for(tmp_path))
    begun, stopped = asyncio.Event(), asyncio.Event()

    async def speak(job: TTSJob) -> dict[str, object]:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            stopped.set()
        return {}

    queue.set_processing_callback(speak)
    await queue.start()
    try:
        job_id = await queue.submit_job(text="Hello.")
        await begun.wait()
        assert await queue.cancel_job(job_id)
        await stopped.wait()
        assert (await ended(queue, job_id)).status is JobStatus.CANCELLED
        assert not await queue.cancel_job("unknown")
        assert await queue.get_job("unknown") is None
    finally:
        await queue.stop()


async def test_interrupted_callback_job_is_begun_anew_at_the_next_start(tmp_path):
    settings = settings_for(tmp_path)
    begun = asyncio.Event()

    async def hang(job: TTSJob) -> dict[str, object]:
        begun.set()
        await asyncio.Event().wait()
        return {}

    async def speak(job: TTSJob) -> dict[str, object]:
        return {"output_path": silence(tmp_path / "mine.wav")}

    first, second = TTSJobQueue(settings), TTSJobQueue(settings)
    first.set_processing_callback(hang)
    second.set_processing_callback(speak)
    await first.start()
    job_id = await first.submit_job(text="Hello.")
    await begun.wait()
    with pytest.raises(DataDirInUse):
        await second.start()
    await first.stop()
    await second.start()
    try:
        assert (await ended(second, job_id)).status is JobStatus.COMPLETED
    finally:
        await second.stop()


async def test_queue_that_is_not_started_says_so(tmp_path):
    with pytest.raises(RhapsodeError, match="start"):
        await TTSJobQueue(settings_for(tmp_path)).submit_job(text="Hello.")
