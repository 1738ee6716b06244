"""A backup of a data directory whose server is at work, and what comes of it elsewhere."""

import asyncio
import shutil
from pathlib import Path

from rhapsode.backup import back_up, restore
from rhapsode.config import load_settings
from rhapsode.settings import Settings
from tests.faults.harness import LedgerFile, ServerProcess

TEXT = "".join(f"Sentence number {n} is spoken slowly. " for n in range(40))


def settings_of(server: ServerProcess) -> Settings:
    return load_settings(server.folder / "config.yaml", server.data_dir, env={}).settings


async def test_a_backup_of_a_running_job_goes_on_elsewhere_with_the_same_samples(tmp_path: Path) -> None:
    first, backup = ServerProcess(tmp_path / "first"), tmp_path / "backup"
    async with first.running() as client:
        done = await client.enqueue(text="Short and done.", seed=1)
        await client.ended(done)
        job_id = await client.enqueue(text=TEXT, seed=7, predefined_voice_id="tone-slow")
        await client.until(job_id, lambda status: status["current_chunk"] >= 5)
        await asyncio.to_thread(back_up, settings_of(first), backup)
        still = await client.status(job_id)
        assert still["status"] == "running", "it was to be at work meanwhile; make the text longer"
        await client.ended(job_id)
        wanted = [await client.result(one) for one in (done, job_id)]
    copied = LedgerFile(backup / "data" / "ledger.db")
    assert copied.job(job_id).status == "running"
    assert sum(row.status == "done" for row in copied.segments(job_id)) >= 5
    shutil.rmtree(first.data_dir)

    second = ServerProcess(tmp_path / "second")
    restore(backup, settings_of(second))
    async with second.running() as client:
        await client.ended(job_id)
        assert [await client.result(one) for one in (done, job_id)] == wanted
    ledger = LedgerFile(second.data_dir / "ledger.db")
    begun = ledger.events(job_id, "segment.started")
    assert len(begun) <= len(ledger.segments(job_id)) + 2, "only what was in flight is spoken again"
    ledger.check_events()
