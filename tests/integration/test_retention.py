"""What is kept, what is swept and what is never touched, with a real service over a data directory and a clock in hand."""

import asyncio
import dataclasses
import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from rhapsode.compose import running_service
from rhapsode.jobs.request import SpeechBody
from rhapsode.jobs.service import JobService
from rhapsode.jobs.sweeper import Sweeper, Swept
from rhapsode.model import Job, JobStatus
from rhapsode.settings import Settings
from tests.serving import serving, settings_for

DAY_S = 86_400.0
GRACE_S = 600.0


@dataclass
class Time:
    """Time that passes when told to; the wall clock may jump beside it."""

    passed: float = 0.0
    jumped: float = 0.0

    def wall(self) -> float:
        return time.time() + self.passed + self.jumped

    def monotonic(self) -> float:
        return self.passed + time.monotonic()

    def let_pass(self, seconds: float, *folders: Path) -> None:
        """Files grow older too."""
        self.passed += seconds
        for folder in folders:
            for path in folder.rglob("*"):
                found = path.stat()
                os.utime(path, (found.st_atime - seconds, found.st_mtime - seconds))


@dataclass
class House:
    """A service, its sweeper, and the time they live in."""

    settings: Settings
    service: JobService
    time: Time
    sweeper: Sweeper

    @property
    def takes_dir(self) -> Path:
        return self.settings.data_dir / "takes"

    @property
    def outputs(self) -> Path:
        return self.settings.job_queue.output_path

    def takes(self) -> set[Path]:
        return {path for path in self.takes_dir.rglob("*") if path.is_file()}

    async def speak(self, text: str, **fields: object) -> Job:
        job = await self.service.submit(SpeechBody.model_validate({"text": text} | fields))
        return await self.service.wait(job.id)

    def result(self, job: Job) -> Path:
        assert job.result is not None
        return self.outputs / job.result.name

    def let_pass(self, seconds: float) -> None:
        self.time.let_pass(seconds, self.takes_dir, self.outputs)


@asynccontextmanager
async def house(folder: Path, **changes: object) -> AsyncIterator[House]:
    settings = settings_for(folder, fleet__bulk_slots=1, fleet__express_threads=-1, **changes)
    clock = Time()
    async with running_service(settings) as service:
        shop = dataclasses.replace(service.shop, clock=clock.wall)
        yield House(settings, service, clock, Sweeper(shop, 3600, GRACE_S, clock.monotonic))


async def test_jobs_expire_and_their_takes_follow_after_a_grace(tmp_path: Path) -> None:
    async with house(tmp_path) as home:
        job = await home.speak("This one goes.", seed=1)
        kept = await home.speak("This one stays.", seed=2)
        await home.service.keep(kept.id)
        assert await home.sweeper.sweep() == Swept(), "nothing is old yet"
        assert len(home.takes()) == 2

        home.time.passed = DAY_S + 1  # the files stay young
        assert await home.sweeper.sweep() == Swept(jobs=1, takes=1)
        assert (await home.service.job(job.id)).deleted
        assert not home.result(job).exists()
        assert len(home.takes()) == 2, "bytes outlive their row by the grace"

        home.let_pass(GRACE_S + 1)
        assert await home.sweeper.sweep() == Swept(orphans=1)
        assert len(home.takes()) == 1
        assert home.result(kept).exists()
        assert (await home.service.living(kept.id)).status is JobStatus.COMPLETED

        await home.service.keep(kept.id, kept=False)
        home.let_pass(2 * DAY_S)
        assert (await home.sweeper.sweep()).jobs == 1
        assert not home.takes()


async def test_takes_that_another_job_uses_stay(tmp_path: Path) -> None:
    async with house(tmp_path) as home:
        first = await home.speak("Two jobs, one take.", seed=1)
        second = await home.speak("Two jobs, one take.", seed=1)
        await home.service.purge(first.id)
        home.let_pass(GRACE_S + 1)
        assert await home.sweeper.sweep() == Swept()
        assert len(home.takes()) == 1
        assert home.result(second).exists()


async def test_a_jumped_clock_sweeps_nothing_that_round(tmp_path: Path) -> None:
    async with house(tmp_path) as home:
        job = await home.speak("Still here.")
        home.time.jumped = 3 * DAY_S
        assert await home.sweeper.sweep() == Swept()
        assert not (await home.service.job(job.id)).deleted
        home.time.jumped = 0.0
        assert await home.sweeper.sweep() == Swept()
        home.let_pass(DAY_S + 1)
        assert (await home.sweeper.sweep()).jobs == 1


async def test_only_what_is_ours_is_removed(tmp_path: Path) -> None:
    async with house(tmp_path) as home:
        job = await home.speak("Hello there.")
        ours = [
            home.outputs / f"tts_job_{job.id}_19990101_000000.wav",  # of an assembly that lost to a cancel, say
            home.outputs / f".tmp-{'0' * 32}",
            home.takes_dir / "ab" / ("ab" + "0" * 62),
        ]
        foreign = [
            home.outputs / "tts_output_someone_19990101_000000.wav",
            home.outputs / "my own recording.wav",
            home.outputs / "tts_job_00000000-0000-0000-0000-000000000000_19990101_000000.wav",
            home.outputs / "folder" / "note.txt",
            home.outputs / ".hidden",
        ]
        for path in (*ours, *foreign):
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(b"x")
        assert await home.sweeper.sweep() == Swept()
        home.let_pass(DAY_S - 60)
        home.time.let_pass(120, home.outputs)
        home.time.passed -= 120  # files two minutes older than the job
        swept = await home.sweeper.sweep()
        assert swept == Swept(orphans=3)
        assert not any(path.exists() for path in ours)
        assert all(path.exists() for path in foreign)
        assert home.result(job).exists()


async def test_a_purged_text_is_nowhere_on_the_disk(tmp_path: Path) -> None:
    async with house(tmp_path) as home:
        job = await home.speak("An unmistakable secret sentence about xylophones.")
        assert job.status is JobStatus.COMPLETED
        parts = {"pronunciations": {"Zyx": "xylophone"}}
        failed = await home.speak("A xylophone !raise! that is never heard.", **parts)
        assert failed.status is JobStatus.FAILED
        assert failed.error
        assert "xylophone" in failed.error
        for one in (job, failed):
            await home.service.purge(one.id)
        assert not home.result(job).exists()
        home.let_pass(GRACE_S + 1)
        await home.sweeper.sweep()
        assert not home.takes()
    for path in tmp_path.rglob("*"):
        assert not path.is_file() or b"xylophone" not in path.read_bytes(), path.name


async def test_a_short_life_ends_by_itself_and_answers_gone(tmp_path: Path) -> None:
    changes: dict[str, object] = {"job_queue__job_ttl_hours": 0.0005, "job_queue__cleanup_interval_sec": 1}
    async with serving(settings_for(tmp_path, **changes)) as server:
        job_id = await server.enqueue("Hello.")
        kept = await server.enqueue("Hello again.")
        assert (await server.http.post(f"/tts/{kept}/keep")).status_code == 200
        await server.until(kept, "completed")
        await server.until_gone(job_id)
        assert (await server.http.get(f"/tts/{job_id}/result")).status_code == 410
        assert (await server.http.get(f"/tts/{kept}/result")).status_code == 200
        async with asyncio.timeout(30):  # rows first, bytes behind them
            while len(list(server.settings.job_queue.output_path.iterdir())) != 1:
                await asyncio.sleep(0.02)


async def test_saved_copies_outlive_their_jobs(tmp_path: Path) -> None:
    async with house(tmp_path, audio_output__save_to_disk=True) as home:
        first = await home.speak("Keep me.", seed=1, predefined_voice_id="tone-chars")
        second = await home.speak("Keep me too.", seed=2, predefined_voice_id="tone-chars")
        copies = {path.read_bytes() for path in home.settings.paths.output.glob("tts_output_tone-chars_*.wav")}
        assert copies == {home.result(first).read_bytes(), home.result(second).read_bytes()}
        home.let_pass(2 * DAY_S)
        assert (await home.sweeper.sweep()).jobs == 2
        left = {path.read_bytes() for path in home.settings.paths.output.iterdir()}
        assert left == copies


async def test_a_copy_that_cannot_be_saved_is_a_warning(tmp_path: Path) -> None:
    blocked = tmp_path / "blocked"
    blocked.write_text("a file where the folder should be")
    outputs = tmp_path / "data" / "results"
    changes: dict[str, object] = {"paths__output": str(blocked), "job_queue__output_path": str(outputs)}
    async with house(tmp_path, audio_output__save_to_disk=True, **changes) as home:
        job = await home.speak("Hello.")
        assert job.status is JobStatus.COMPLETED
        assert any("no copy was saved" in warning for warning in job.warnings)
        assert home.result(job).exists()


@pytest.mark.parametrize("links", [True, False], ids=["link", "copy"])
async def test_a_job_assembled_again_finds_its_copy(tmp_path: Path, links: bool, monkeypatch) -> None:
    async with house(tmp_path, audio_output__save_to_disk=True) as home:
        saved = home.service.shop.saved
        assert saved is not None
        if not links:
            monkeypatch.setattr(Path, "hardlink_to", no_links)
        job = await home.speak("Hello.")
        assert saved.save(job, home.result(job)) is None
        other = tmp_path / "other.wav"
        other.write_bytes(b"another file of the same second")
        again = saved.save(job, other)
        assert again is not None
        assert again.stem.endswith("_2")
        assert again.samefile(other) is links
        assert len(list(home.settings.paths.output.glob("tts_output_*"))) == 2
        assert not list(home.settings.paths.output.glob(".tmp-*"))


def no_links(*_: object) -> None:
    """A file system without hard links."""
    raise PermissionError(1, "Operation not permitted")
