"""Takes and results that disappear or rot on the disk: noticed, made again where that is possible, said where it is not."""

import asyncio
import os
from pathlib import Path

from tests.faults.conftest import MakeServer
from tests.faults.harness import Client, LedgerFile, ServerProcess, flip_byte, take_path

SHORT = ["The second part is short.", "The third part is short too.", "A fourth part comes here.", "Then it ends."]
BODY = {
    "text": "\n\n".join(["A long first sentence " + "that goes on and on " * 27 + "and then ends.", *SHORT]),
    "predefined_voice_id": "tone-slow",
    "chunk_size": 500,
    "seed": 31,
}
"""Two segments of the first sentence, of which the second takes more than two seconds: the others are spoken before it, joined behind it."""
LATE = 1
TOTAL = 6


def take_of(ledger: LedgerFile, server: ServerProcess, job_id: str, index: int) -> Path:
    return take_path(server.data_dir, ledger.segments(job_id)[index].take_digest)


async def undisturbed(make_server: MakeServer, body: dict[str, object]) -> bytes:
    async with make_server("undisturbed").running() as client:
        (data,) = await client.speak_all([body])
    return data


async def all_but_the_late_one(client: Client, job_id: str) -> None:
    status = await client.until(job_id, lambda status: status["current_chunk"] >= TOTAL - 1)
    assert (status["current_chunk"], status["total_chunks"]) == (TOTAL - 1, TOTAL)


async def test_takes_lost_or_damaged_before_they_are_joined_are_spoken_again(make_server: MakeServer) -> None:
    server = make_server()
    ledger = LedgerFile(server.data_dir / "ledger.db")
    async with server.running() as client:
        job_id = await client.enqueue(**BODY)
        await all_but_the_late_one(client, job_id)
        assert ledger.segments(job_id)[LATE].status == "running"
        take_of(ledger, server, job_id, 2).unlink()
        flip_byte(take_of(ledger, server, job_id, 4))
        await client.ended(job_id)
        data = await client.result(job_id)
    assert [event.data["index"] for event in ledger.events(job_id, "segment.lost")] == [2, 4]
    started = [event.data["index"] for event in ledger.events(job_id, "segment.started")]
    assert sorted(started) == [0, 1, 2, 2, 3, 4, 4, 5]
    assert data == await undisturbed(make_server, BODY)
    ledger.check_events()


async def test_takes_lost_while_no_server_runs_are_spoken_again(make_server: MakeServer) -> None:
    server = make_server()
    ledger = LedgerFile(server.data_dir / "ledger.db")
    await server.start()
    async with server.client() as client:
        job_id = await client.enqueue(**BODY)
        await all_but_the_late_one(client, job_id)
        await server.kill()
    for index in (2, 3):
        take_of(ledger, server, job_id, index).unlink()
    async with server.running() as client:
        await client.ended(job_id)
        data = await client.result(job_id)
    assert data == await undisturbed(make_server, BODY)
    ledger.check_events()


async def test_a_damaged_take_of_another_job_is_not_taken_over(make_server: MakeServer) -> None:
    server = make_server()
    ledger = LedgerFile(server.data_dir / "ledger.db")
    async with server.running() as client:
        (first,) = await client.speak_all([BODY])
        (job,) = ledger.rows("SELECT id FROM jobs")
        flip_byte(take_of(ledger, server, job.id, 2))
        take_of(ledger, server, job.id, 4).unlink()
        second = await client.enqueue(**BODY)
        await client.ended(second)
        assert await client.result(second) == first
    assert [event.data["index"] for event in ledger.events(second, "segment.lost")] == [2, 4]
    spoken = [event.data["index"] for event in ledger.events(second, "segment.started")]
    assert spoken == [2, 4], "the good ones are taken over, the others are spoken once"


async def test_a_result_that_is_gone_or_damaged_is_made_again_from_its_takes(make_server: MakeServer) -> None:
    server = make_server()
    async with server.running() as client:
        job_id = await client.enqueue(text="Hello there. This is said again.", seed=3, output_format="mp3")
        await client.ended(job_id)
        whole = await client.result(job_id)
        (path,) = server.outputs.iterdir()
        for damage in (Path.unlink, flip_byte, lambda path: os.truncate(path, path.stat().st_size // 2)):
            damage(path)
            answers = await asyncio.gather(*(client.http.get(f"/tts/{job_id}/{name}") for name in ("result", "audio")))
            assert [answer.content for answer in answers] == [whole, whole]
            assert path.read_bytes() == whole
        flip_byte(path)
        tail = await client.http.get(f"/tts/{job_id}/result", headers={"Range": "bytes=-100"})
        assert (tail.status_code, tail.content) == (206, whole[-100:])
        flip_byte(path)
    async with server.running() as client:  # nothing is remembered of the file
        assert await client.result(job_id) == whole
    assert len(server.ledger.events(job_id, "segment.started")) == server.ledger.job(job_id).segments_total


async def test_a_result_that_is_gone_with_its_takes_is_gone(make_server: MakeServer) -> None:
    server = make_server()
    ledger = LedgerFile(server.data_dir / "ledger.db")
    async with server.running() as client:
        job_id = await client.enqueue(text="Hello there.")
        await client.ended(job_id)
        (path,) = server.outputs.iterdir()
        path.unlink()
        take_of(ledger, server, job_id, 0).unlink()
        for name in ("result", "audio"):
            answer = await client.http.get(f"/tts/{job_id}/{name}")
            assert answer.status_code == 410
            assert "no longer there" in answer.json()["detail"]
        assert (await client.status(job_id))["status"] == "completed"
        assert not list(server.outputs.iterdir())
