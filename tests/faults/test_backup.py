"""Backups of a data directory whose server is at work, and what comes of them elsewhere."""

import asyncio
import shutil
import sys
from pathlib import Path

from tests.faults.harness import Client, LedgerFile, ServerProcess, flip_byte, take_path

TEXT = "".join(f"Sentence number {n} is spoken slowly. " for n in range(40))
BODY = {"text": TEXT, "seed": 7, "predefined_voice_id": "tone-slow"}


async def rhapsode(*arguments: str) -> tuple[int, str]:
    """Run the command; its exit status, and what it said."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", "from rhapsode.cli import entry; entry()", *arguments,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    out, _ = await process.communicate()
    return process.returncode or 0, " ".join(out.decode().split())


def at(server: ServerProcess) -> tuple[str, ...]:
    return ("--config", str(server.folder / "config.yaml"), "--data-dir", str(server.data_dir))


async def half_done(client: Client) -> str:
    """A job with a good part spoken, and one that is completed."""
    done = await client.enqueue(text="Short and done.", seed=1)
    await client.ended(done)
    job_id = await client.enqueue(**BODY)
    await client.until(job_id, lambda status: status["current_chunk"] >= 5)
    return job_id


async def test_a_backup_of_a_running_job_goes_on_elsewhere_with_the_same_samples(tmp_path: Path) -> None:
    first = ServerProcess(tmp_path / "first")
    backup = tmp_path / "backup"
    async with first.running() as client:
        job_id = await half_done(client)
        assert (await client.http.put("/nothing")).status_code in {404, 405}
        status, said = await rhapsode(*at(first), "backup", str(backup))
        assert status == 0, said
        running = await client.status(job_id)
        assert running["status"] == "running", "it was to be at work meanwhile; make the text longer"
        await client.ended(job_id)
        wanted = await client.result(job_id)
    copied = LedgerFile(backup / "data" / "ledger.db")
    assert copied.job(job_id).status == "running"
    spoken = {row.take_digest for row in copied.segments(job_id) if row.take_digest}
    assert len(spoken) >= 5
    assert (backup / "data").stat().st_mode & 0o077 == 0 or backup.stat().st_mode & 0o077 == 0

    status, said = await rhapsode("restore", "--check", str(backup))
    assert (status, "is whole" in said) == (0, True), said
    second = ServerProcess(tmp_path / "second")
    status, said = await rhapsode(*at(second), "restore", str(backup))
    assert status == 0, said
    shutil.rmtree(first.data_dir)
    async with second.running() as client:
        await client.ended(job_id)
        assert await client.result(job_id) == wanted
        jobs = (await client.http.get("/tts")).json()["jobs"]
        assert {job["status"] for job in jobs} == {"completed"}
        for job in jobs:
            assert (await client.http.get(job["links"]["result"])).status_code == 200
    ledger = LedgerFile(second.data_dir / "ledger.db")
    begun = [event.data["index"] for event in ledger.events(job_id, "segment.started")]
    assert len(begun) <= len(ledger.segments(job_id)) + 2, "only what was in flight is spoken again"
    ledger.check_events()


async def test_takes_that_were_damaged_before_are_left_out_and_spoken_again(tmp_path: Path) -> None:
    first = ServerProcess(tmp_path / "first")
    async with first.running() as client:
        job_id = await half_done(client)
        await first.kill()
    wounded = LedgerFile(first.data_dir / "ledger.db").segments(job_id)
    done = [row for row in wounded if row.status == "done"]
    flip_byte(take_path(first.data_dir, done[0].take_digest))
    take_path(first.data_dir, done[1].take_digest).unlink()
    status, said = await rhapsode(*at(first), "backup", "--link", str(tmp_path / "backup"))
    assert status == 0, said
    assert "2 takes or results were damaged or gone" in said
    linked = tmp_path / "backup" / "takes" / done[2].take_digest[:2] / done[2].take_digest
    assert linked.samefile(take_path(first.data_dir, done[2].take_digest))
    second = ServerProcess(tmp_path / "second")
    assert (await rhapsode(*at(second), "restore", str(tmp_path / "backup")))[0] == 0
    async with second.running() as client:
        await client.ended(job_id)
        whole = await client.result(job_id)
    third = ServerProcess(tmp_path / "third")
    async with third.running() as client:
        assert await client.speak_all([BODY]) == [whole]
