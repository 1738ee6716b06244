"""Cancel and purge against a busy server: who wins is decided once, and the machine is free within one segment."""

import asyncio
import random

from tests.faults.conftest import MakeServer
from tests.faults.harness import LedgerFile

RACES = 50
LONG = {
    "text": " ".join(f"Slow sentence number {n} of a long book." for n in range(1, 101)),
    "predefined_voice_id": "tone-slow",
    "chunk_size": 50,
}
SEGMENT_S = 0.25
"""What the engine takes for one segment of it."""


async def test_cancel_frees_the_machine_within_one_segment(make_server: MakeServer) -> None:
    server = make_server()
    ledger = LedgerFile(server.data_dir / "ledger.db")
    async with server.running() as client:
        long = await client.enqueue(**LONG)
        await client.until(long, lambda status: status["current_chunk"] >= 3)
        answer = await client.http.delete(f"/tts/{long}")
        assert answer.status_code == 200
        assert answer.elapsed.total_seconds() < 1.0
        before = await client.status(long)
        other = await client.enqueue(text="Somebody else.", predefined_voice_id="tone")
        await client.ended(other)
        assert await client.status(long) | {"expires_at": ""} == before | {"expires_at": ""}
    (cancelled,) = ledger.events(long, "job.cancelled")
    assert cancelled.seq == ledger.job(long).event_seq, "nothing comes behind the end"
    (begun,) = ledger.events(other, "segment.started")
    assert begun.at - cancelled.at < SEGMENT_S + 1.0
    assert {segment.status for segment in ledger.segments(long)} == {"done", "pending"}


async def test_a_purged_running_job_leaves_no_trace_but_its_tombstone(make_server: MakeServer) -> None:
    server = make_server()
    ledger = LedgerFile(server.data_dir / "ledger.db")
    async with server.running() as client:
        long = await client.enqueue(**LONG)
        await client.until(long, lambda status: status["current_chunk"] >= 3)
        assert (await client.http.delete(f"/tts/{long}?purge=true")).status_code == 200
        for path in ("status", "result", "audio"):
            assert (await client.http.get(f"/tts/{long}/{path}")).status_code == 410
        assert (await client.http.delete(f"/tts/{long}")).status_code == 410
        assert (await client.http.post(f"/tts/{long}/retry")).status_code == 410
        await client.ended(await client.enqueue(text="Somebody else."))
        assert not list(server.outputs.glob(f"*{long}*"))
    assert ledger.job(long).deleted
    for table in ("job_texts", "segments"):
        assert not ledger.rows(f"SELECT 1 FROM {table} WHERE job_id = ?", long)
    assert [row.type for row in ledger.rows("SELECT type FROM events WHERE job_id = ?", long)] == ["job.deleted"]
    assert "Traceback" not in server.log


async def test_cancel_races_completion_and_one_of_them_wins(make_server: MakeServer) -> None:
    chance = random.Random(9)
    server = make_server()
    ledger = LedgerFile(server.data_dir / "ledger.db")
    outcomes: list[tuple[int, str]] = []
    async with server.running() as client:
        for number in range(RACES):
            job_id = await client.enqueue(text=f"Race number {number}.", seed=number + 1)
            await asyncio.sleep(chance.uniform(0.0, 0.04))  # the random moment
            answers = await asyncio.gather(*(client.http.delete(f"/tts/{job_id}") for _ in range(3)))
            codes = {answer.status_code for answer in answers}
            assert len(codes) == 1, "all hear the same"
            status = (await client.status(job_id))["status"]
            result = (await client.http.get(f"/tts/{job_id}/result")).status_code
            assert (codes, status, result) in [({200}, "cancelled", 410), ({409}, "completed", 200)]
            outcomes.append((codes.pop(), status))
    ledger.check_events()
    assert len(set(outcomes)) == 2, "the race was open"
    results = {row.result_name for row in ledger.rows("SELECT result_name FROM jobs WHERE status = 'completed'")}
    assert {path.name for path in server.outputs.iterdir()} == results, "no file of a cancelled job is left"
    assert "Traceback" not in server.log
