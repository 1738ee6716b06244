"""Ending a server on purpose, and starting a second one where the first still is."""

import asyncio
import signal
from collections.abc import Sequence
from contextlib import suppress

import httpx
import pytest

from tests.faults.conftest import MakeServer
from tests.faults.harness import Client, LedgerFile, ServerProcess, is_dead

GRACE_S = 9.0
"""Five seconds for segments in flight, two for workers to exit, and some for a busy machine."""
LONG_TEXT = " ".join(f"Slow sentence number {n} of a very long book." for n in range(1, 201))
SLOW = {
    "text": " ".join(f"Slow sentence number {n} of a long book." for n in range(1, 31)),
    "predefined_voice_id": "tone-slow",
    "chunk_size": 50,
    "seed": 5,
}


async def first_take(client: Client, job_id: str) -> None:
    await client.until(job_id, lambda status: status["current_chunk"] >= 1)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_server_that_is_told_to_end_settles_what_is_in_flight(
    make_server: MakeServer, number: signal.Signals
) -> None:
    server = make_server()
    await server.start()
    async with server.client() as client:
        job_id = await client.enqueue(**SLOW)
        await first_take(client, job_id)
        children = server.children()
        assert await server.stop(number) == 0
        with pytest.raises(httpx.TransportError):
            await client.status(job_id)
    assert all(map(is_dead, children))

    ledger = LedgerFile(server.data_dir / "ledger.db")
    done = [segment.idx for segment in ledger.segments(job_id) if segment.status == "done"]
    assert 0 < len(done) < 30
    assert {segment.status for segment in ledger.segments(job_id)} == {"done", "pending"}
    assert all(segment.failures == 0 for segment in ledger.segments(job_id))
    assert len(ledger.events(job_id, "segment.started")) == len(done), "what was begun was finished"

    async with server.running() as client:
        await client.ended(job_id)
    assert len(ledger.events(job_id, "segment.started")) == 30
    ledger.check_events()


async def readiness(server: ServerProcess) -> list[int]:
    """What strangers hear who ask whether it is ready, until nobody answers."""
    heard: list[int] = []
    with suppress(httpx.TransportError):
        while True:
            async with httpx.AsyncClient(base_url=server.url, timeout=10) as stranger:
                answer = await stranger.get("/readyz")
            heard.append(answer.status_code)
            if answer.status_code == 503:
                assert "stopping" in answer.json()["checks"]["workers"]
            await asyncio.sleep(0.005)
    return heard


async def test_a_server_that_is_told_to_end_is_unready_first_and_gone_within_its_grace(
    make_server: MakeServer,
) -> None:
    server = make_server()
    await server.start()
    async with server.client() as client:
        job_id = await client.enqueue(**SLOW | {"text": "A sentence " + "that goes on and on " * 22, "chunk_size": 500})
        hanging = await client.enqueue(text="This is a !hang! in a worker.")
        for one in (job_id, hanging):
            await client.until(one, lambda status: status["status"] == "running")
        asking = asyncio.create_task(readiness(server))
        begun = asyncio.get_running_loop().time()
        assert await server.stop() == 0
        assert asyncio.get_running_loop().time() - begun < GRACE_S
    heard = await asking
    assert heard.count(503) > 1, "it was asked while it drained"
    assert 200 not in heard[heard.index(503) :], "it is not ready again"
    ledger = server.ledger
    assert {segment.status for segment in ledger.segments(hanging)} == {"pending"}, "given back, uncharged"
    assert all(segment.failures == 0 for segment in ledger.segments(hanging))
    begun_of = len(ledger.events(job_id, "segment.started"))
    assert begun_of == len(ledger.events(job_id, "segment.completed")), "what could finish was finished"


async def test_a_client_that_waits_is_let_go_when_the_server_ends(make_server: MakeServer) -> None:
    server = make_server()
    await server.start()
    async with server.client() as client:
        waiting = asyncio.create_task(client.http.post("/tts", json=SLOW | {"text": LONG_TEXT}))
        await client.until_listed("running")
        assert await server.stop() == 0
        outcome: Sequence[object] = await asyncio.gather(waiting, return_exceptions=True)
    answer = outcome[0]
    assert isinstance(answer, httpx.TransportError) or (isinstance(answer, httpx.Response) and answer.is_error)
    (job,) = LedgerFile(server.data_dir / "ledger.db").rows("SELECT * FROM jobs")
    assert (job.attached, job.status) == (1, "cancelled")


async def refusal(server: ServerProcess) -> str:
    """What a server says that ends by itself with an error."""
    process = await server.spawn()
    async with asyncio.timeout(30):
        assert await process.wait() == 1
    return server.log


@pytest.mark.parametrize("stopped", [False, True], ids=["alive", "stopped by SIGSTOP"])
async def test_a_second_server_on_one_data_directory_is_refused(make_server: MakeServer, stopped: bool) -> None:
    first = make_server("first")
    await first.start()
    assert first.process is not None
    if stopped:
        first.process.send_signal(signal.SIGSTOP)
    second = make_server("second")
    second.data_dir = first.data_dir
    said = await refusal(second)
    first.process.send_signal(signal.SIGCONT)
    assert f"process {first.process.pid}" in said
    assert first.url in said
    assert "Traceback" not in said
    async with first.client() as client:
        await client.ended(await client.enqueue(text="Still here."))
    assert await first.stop() == 0


async def test_a_port_in_use_is_said_plainly(make_server: MakeServer) -> None:
    first = make_server("first")
    await first.start()
    port = int(first.url.rsplit(":", 1)[1])
    said = await refusal(make_server("second", {"server": {"port": port}}))
    assert "server.port" in said
    assert str(port) in said
    assert "Traceback" not in said
    assert await first.stop() == 0
