"""``kill -9`` exactly between two steps that could come apart, one point after the other, over one data directory."""

import asyncio
from contextlib import suppress

import httpx
import pytest

from tests.faults.checker import check, check_files, check_undisturbed
from tests.faults.conftest import MakeServer
from tests.faults.harness import Client, ServerProcess

POINTS = (
    "job.stored",
    "ledger.written:2",
    "ledger.committed:3",
    "plan.made",
    "take.rendered:2",
    "take.stored",
    "result.joined",
    "result.adopted",
    "redo.adopted",
    "redo.revised",
    "job.purged",
    "sweep.rows",
)
"""Each is passed by every round of :func:`work`."""
EARLY = {"changes": {"job_queue": {"cleanup_interval_sec": 1}, "scheduler": {"segment_failures": 20}}}


def body(seed: int) -> dict[str, object]:
    return {
        "text": "".join(f"This is the paragraph number {n} of a short text.\n\n" for n in range(4)),
        "predefined_voice_id": "tone-chars",
        "chunk_size": 50,
        "seed": seed,
        "output_format": ("wav", "flac")[seed % 2],
    }


async def work(client: Client, seed: int) -> None:
    """Speak, redo, purge, and wait for a sweep, unless the server dies in between."""
    first, second = [await client.enqueue(**body(seed + n)) for n in range(2)]
    await client.ended(first)
    await client.ended(second)
    answer = await client.http.post(f"/tts/{second}/segments/1/redo")
    await client.ended(answer.json()["redo"]["job_id"])
    await client.http.delete(f"/tts/{first}?purge=true")
    await asyncio.Event().wait()  # until the sweep's point is passed, or the time of the test is over


async def die_at(server: ServerProcess, point: str, seed: int) -> None:
    """Start the server, work until it has died at the point."""
    await server.spawn(point)
    dying = asyncio.create_task(server.died(60))
    with suppress(httpx.TransportError, AssertionError):  # it may die before it answers
        await server.answering()
        async with server.client() as client:
            working = asyncio.create_task(work(client, seed))
            await asyncio.wait((dying, working), return_when=asyncio.FIRST_COMPLETED)
            working.cancel()
            with suppress(asyncio.CancelledError):
                await working
    assert await dying == -9, f"{point} was not passed"


@pytest.mark.timeout(180)
async def test_death_between_any_two_steps_loses_nothing(make_server: MakeServer) -> None:
    server = make_server(**EARLY)
    await server.start()
    async with server.client() as client:  # what was promised before the first death, however soon each comes
        for number in range(len(POINTS)):
            await client.enqueue(**body(1 + number))
        await server.kill()
    for number, point in enumerate(POINTS):
        await die_at(server, point, 100 * (number + 1))
    async with server.running() as client:
        unfinished = "SELECT id FROM jobs WHERE status IN ('queued', 'running')"
        for row in server.ledger.rows(unfinished):
            await client.ended(row.id)
        for row in server.ledger.rows("SELECT id FROM jobs WHERE status = 'completed' AND NOT deleted"):
            if server.ledger.job(row.id).redo_of is None:
                await client.result(row.id)
    await check_files(server)
    assert await check_undisturbed(server, make_server("undisturbed")) > len(POINTS) // 4


@pytest.mark.parametrize("point", ["worker.asked:3", "worker.spoken:3"])
async def test_workers_that_die_at_their_third_segment_charge_it_and_go_on(make_server: MakeServer, point: str) -> None:
    server = make_server(**EARLY)
    await server.start(point)
    async with server.client() as client:
        job_id = await client.enqueue(**body(7) | {"text": str(body(7)["text"]) * 3})
        await client.ended(job_id)
        assert await server.stop() == 0
    failed = server.ledger.events(job_id, "segment.failed")
    assert failed
    assert all("signal 9" in event.data["error"] for event in failed)
    assert await check_undisturbed(server, make_server("undisturbed")) == 1


async def test_a_take_that_a_worker_died_of_storing_is_stored_by_the_server(make_server: MakeServer) -> None:
    server = make_server(**EARLY)
    await server.start("worker.written:3")
    async with server.client() as client:
        job_id = await client.enqueue(**body(7) | {"text": str(body(7)["text"]) * 3})
        await client.ended(job_id)
        assert "signal 9" in server.log
        assert await server.stop() == 0
    check(server)
    await check_files(server)
    assert await check_undisturbed(server, make_server("undisturbed")) == 1


async def test_a_server_that_dies_of_storing_what_its_worker_could_not_goes_on(make_server: MakeServer) -> None:
    server = make_server(**EARLY)
    await server.start("worker.written,take.written")
    async with server.client() as client:
        job_id = await client.enqueue(**body(7))
        assert await server.died(60) == -9
    async with server.running() as client:
        await client.ended(job_id)
    await check_files(server)
    assert await check_undisturbed(server, make_server("undisturbed")) == 1


async def test_a_server_that_dies_before_it_says_that_a_job_failed_says_so_later(make_server: MakeServer) -> None:
    server = make_server()
    await server.spawn("segment.quarantined")
    await server.answering()
    async with server.client() as client:
        text = "".join(f"This is the paragraph number {n} of a text.\n\n" for n in range(20)) + "This is !raise! bad."
        job_id = await client.enqueue(**body(3) | {"text": text})
        assert await server.died(60) == -9
    assert server.ledger.job(job_id).status == "running"
    async with server.running() as client:
        await client.until(job_id, lambda status: status["status"] == "failed")
        assert "raise" in str((await client.status(job_id))["error"])
        assert (await client.http.post(f"/tts/{job_id}/retry")).status_code == 202
        await client.until(job_id, lambda status: status["status"] == "failed")
