"""A full disk: what cannot be stored is refused, what runs waits visibly, and nothing is lost when there is space again."""

import asyncio
import ctypes
import errno
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.faults.conftest import MakeServer
from tests.faults.harness import LedgerFile

MB = 1_000_000
SEGMENTS = 60
PAGE = 4096
BODY = {
    "text": " ".join(f"Slow sentence number {n} of a long book." for n in range(1, SEGMENTS + 1)),
    "predefined_voice_id": "tone-slow",
    "chunk_size": 50,
    "seed": 41,
}
MORE_THAN_ANY_DISK_MB = 10**9
MNT_DETACH = 2


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 64 MB in memory."""
    folder = tmp_path / "disk"
    folder.mkdir()
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mount(b"none", os.fsencode(folder), b"tmpfs", 0, b"size=64m"):
        pytest.skip(f"no small disk can be mounted here: {errno.errorcode[ctypes.get_errno()]}")
    yield folder
    libc.umount2(os.fsencode(folder), MNT_DETACH)


def fill(folder: Path, spare: int) -> Path:
    """Leave at most ``spare`` bytes of a disk free; remove the file to have them back."""
    path = folder / "filler"
    with path.open("ab") as file:
        for step in (MB, PAGE):  # as long as there is room for one more
            with suppress(OSError):
                while os.statvfs(folder).f_bavail * os.statvfs(folder).f_frsize > spare:
                    os.posix_fallocate(file.fileno(), os.fstat(file.fileno()).st_size, step)
    return path


async def test_below_the_watermark_submits_are_refused_and_running_jobs_wait(make_server: MakeServer) -> None:
    server = make_server()
    ledger = LedgerFile(server.data_dir / "ledger.db")
    await server.start()
    async with server.client() as client:
        await client.ended(finished := await client.enqueue(text="Hello."))
        made = await client.http.get(f"/tts/{finished}/result?format=flac")
        job_id = await client.enqueue(**BODY)
        await client.until(job_id, lambda status: status["current_chunk"] >= 2)
        await server.stop()
    begun = len(ledger.events(job_id, "segment.started"))

    server.configure({"limits": {"min_free_disk_mb": MORE_THAN_ANY_DISK_MB}})
    async with server.running() as client:
        for path in ("/tts", "/tts/enqueue"):
            refused = await client.http.post(path, json={"text": "Hello."})
            assert refused.status_code == 507
            assert "min_free_disk_mb" in refused.json()["detail"]
        status = await client.status(job_id)
        assert (status["status"], status["waiting_for"]) == ("running", "disk space")
        assert (await client.http.get("/readyz")).status_code == 503
        assert (await client.http.get("/livez")).status_code == 200
        assert (await client.http.get(f"/tts/{finished}/result?format=mp3")).status_code == 507
        again = await client.http.get(f"/tts/{finished}/result?format=flac")
        assert (again.status_code, again.content) == (200, made.content), "it is there already"
    assert len(ledger.events(job_id, "segment.started")) == begun
    assert len(ledger.rows("SELECT 1 FROM jobs")) == 2

    server.configure({})
    async with server.running() as client:
        await client.ended(job_id)
    assert len(ledger.events(job_id, "segment.started")) == SEGMENTS


@pytest.mark.timeout(120)
async def test_work_pauses_at_the_watermark_and_goes_on_by_itself(make_server: MakeServer, small_disk: Path) -> None:
    server = make_server("server", {"limits": {"min_free_disk_mb": 8}}, small_disk / "data")
    async with server.running() as client:
        job_id = await client.enqueue(**BODY)
        await client.until(job_id, lambda status: status["current_chunk"] >= 2)
        filler = fill(small_disk, 4 * MB)
        paused = await client.until(job_id, lambda status: status["waiting_for"] == "disk space", 15)
        assert paused["status"] == "running"
        assert (await client.http.post("/tts/enqueue", json={"text": "Hello."})).status_code == 507
        filler.unlink()
        done = await client.ended(job_id)
        assert done["waiting_for"] is None
        await client.ended(await client.enqueue(text="Hello."))
        data = await client.result(job_id)
    async with make_server("undisturbed").running() as client:
        assert await client.speak_all([BODY]) == [data]


@pytest.mark.timeout(120)
async def test_a_disk_without_a_free_byte_loses_nothing(make_server: MakeServer, small_disk: Path) -> None:
    """No watermark: every write fails with ENOSPC, of takes, of the ledger, of the result."""
    server = make_server("server", {}, small_disk / "data")
    ledger = LedgerFile(server.data_dir / "ledger.db")
    async with server.running() as client:
        job_id = await client.enqueue(**BODY)
        await client.until(job_id, lambda status: status["current_chunk"] >= 2)
        filler = fill(small_disk, 0)
        paused = await client.until(job_id, lambda status: status["waiting_for"] is not None, 15)
        assert (paused["status"], paused["waiting_for"]) == ("running", "disk space")
        text = "This does not fit. " * 20_000
        assert (await client.http.post("/tts/enqueue", json={"text": text})).status_code == 507
        await asyncio.sleep(1.5)  # longer than one round of trying again
        assert (await client.status(job_id))["status"] == "running"
        filler.unlink()
        await client.ended(job_id)
        data = await client.result(job_id)
        assert len((await client.http.get("/tts")).json()["jobs"]) == 1, "what was refused was not stored"
    completed = [event.data["index"] for event in ledger.events(job_id, "segment.completed")]
    assert sorted(completed) == list(range(SEGMENTS))
    assert all(segment.failures == 0 for segment in ledger.segments(job_id))
    ledger.check_events()
    async with make_server("undisturbed").running() as client:
        assert await client.speak_all([BODY]) == [data]
