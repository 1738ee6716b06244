"""Corners of live listening and of clients that leave, over real HTTP with the tone engine."""

import asyncio
import io
import logging
import wave

import pytest
import pytest_asyncio

from tests.serving import Server, serving, settings_for

pytestmark = pytest.mark.asyncio(loop_scope="module")

SLOW = {"predefined_voice_id": "tone-slow", "chunk_size": 50}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server(tmp_path_factory):
    async with serving(settings_for(tmp_path_factory.mktemp("live"))) as running:
        yield running


async def test_stream_of_a_text_with_nothing_to_speak_is_an_error(server: Server):
    answer = await server.http.post("/tts", json={"text": "... !!! —", "stream": True})
    assert answer.status_code == 500
    assert "nothing" in answer.json()["detail"]


async def test_stream_from_behind_the_end_of_a_text_that_is_still_planned_is_an_error(server: Server):
    job_id = await server.enqueue("Slow words here. And some more of them. " * 3, **SLOW)
    answer = await server.http.get(f"/tts/{job_id}/audio?format=pcm&segment=90")
    assert answer.status_code == 422
    assert "segment" in answer.json()["detail"]


async def test_job_that_was_streamed_to_its_end_completes(server: Server):
    for _ in range(5):
        body = {"text": "One short sentence.", "stream": True, "output_format": "mp3"}
        answer = await server.http.post("/tts", json=body)
        assert answer.status_code == 200
        job_id = answer.headers["x-job-id"]
        assert (await server.until(job_id, "completed", "cancelled"))["status"] == "completed"


async def test_client_that_leaves_before_the_first_take_cancels_the_job(server: Server):
    reader, writer = await asyncio.open_connection(*server.url.removeprefix("http://").split(":"))
    body = b'{"text": "%s", "predefined_voice_id": "tone-slow", "stream": true, "chunk_size": 500}' % (b"word " * 90)
    writer.write(b"POST /tts HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
    await writer.drain()
    job = None
    while job is None:
        found = (await server.http.get("/tts?limit=1")).json()["jobs"][0]
        job = found if found["status"] in ("queued", "running") else None
    writer.close()
    assert (await server.until(job["job_id"], "cancelled", "completed", timeout_s=5))["status"] == "cancelled"
    assert not await reader.read()


async def test_one_of_two_waiters_may_leave(server: Server):
    body = {"text": "slow words here. " * 20} | SLOW

    async def ask() -> bytes:
        answer = await server.http.post("/tts", json=body, headers={"Idempotency-Key": "shared"})
        assert answer.status_code == 200
        return answer.content

    staying = asyncio.create_task(ask())
    leaving = asyncio.create_task(ask())
    async with asyncio.timeout(10):
        while (await server.http.get("/tts?limit=1")).json()["jobs"][0]["current_chunk"] < 1:
            await asyncio.sleep(0.01)
    leaving.cancel()
    with wave.open(io.BytesIO(await staying)) as file:
        assert file.getnframes()


async def test_client_that_leaves_in_the_middle_of_its_body_is_no_error(
    server: Server, caplog: pytest.LogCaptureFixture
):
    _, writer = await asyncio.open_connection(*server.url.removeprefix("http://").split(":"))
    writer.write(b"POST /tts HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n{")
    await writer.drain()
    assert (await server.http.get("/livez")).status_code == 200
    writer.close()
    await writer.wait_closed()
    for _ in range(5):
        assert (await server.http.get("/livez")).status_code == 200
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


async def test_listener_pulls_what_it_hears_next_forward(server: Server):
    job_id = await server.enqueue("Slow words of a long text. " * 160, **SLOW)
    async with asyncio.timeout(20):
        while not (await server.status(job_id))["segments"]["planned"]:
            await asyncio.sleep(0.01)
    total, first = (await server.status(job_id))["total_chunks"], 80
    assert total > 130
    heard = 0
    async with server.http.stream("GET", f"/tts/{job_id}/audio?format=pcm&segment={first}") as live:
        before = (await server.status(job_id))["current_chunk"]
        async for piece in live.aiter_bytes():
            heard += len(piece)
            if heard > 40 * 26 * 441 * 2:
                break
        spoken = (await server.status(job_id))["current_chunk"] - before
    await server.http.delete(f"/tts/{job_id}")
    assert spoken < 60, "about forty segments were heard; those before them could wait"


async def test_head_of_what_is_still_made_says_no_length(server: Server):
    job_id = await server.enqueue("slow words here. " * 100, predefined_voice_id="tone-slow")
    head = await server.http.head(f"/tts/{job_id}/audio?format=mp3")
    assert (head.status_code, head.headers["content-type"], head.headers["x-job-id"]) == (200, "audio/mpeg", job_id)
    assert "content-length" not in head.headers
    await server.http.delete(f"/tts/{job_id}")


async def test_a_part_of_what_is_asked_for_by_post_is_the_whole(server: Server):
    headers = {"Range": "bytes=0-9"}
    answers = [
        await server.http.post("/tts", json={"text": "Hello there.", "seed": seed}, headers=headers)
        for seed in (5, 6, 7)
    ]
    assert {answer.status_code for answer in answers} == {200}
    assert all(len(answer.content) == int(answer.headers["content-length"]) > 1_000 for answer in answers)
