"""Events over HTTP: no gap, no duplicate, however often the line is cut and however slow the listener is."""

import asyncio
import json
import random
import sqlite3
from collections.abc import AsyncIterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.typing import Origin

from tests.serving import Server, serving, settings_for

TEXT = " ".join(f"This is sentence number {n} of the story." for n in range(60))
ENDS = {"job.completed", "job.failed", "job.cancelled", "job.deleted"}


@dataclass(frozen=True, slots=True)
class Message:
    """One server-sent event."""

    id: str
    type: str
    data: Mapping[str, Any]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Server]:
    async with serving(settings_for(tmp_path_factory.mktemp("events"))) as running:
        yield running


pytestmark = pytest.mark.asyncio(loop_scope="module")


async def read(
    server: Server, path: str, headers: Mapping[str, str] | None = None, most: int | None = None
) -> AsyncIterator[Message]:
    """The events of one connection; leaves after ``most``."""
    seen = 0
    async with server.http.stream("GET", path, headers=dict(headers or {}), timeout=60) as answer:
        if answer.status_code == 204:
            return
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("text/event-stream")
        assert answer.headers["cache-control"] == "no-store"
        fields: dict[str, str] = {}
        async for line in answer.aiter_lines():
            if line:
                name, _, value = line.partition(": ")
                fields[name] = value
            elif "data" in fields:
                yield Message(fields["id"], fields["event"], json.loads(fields["data"]))
                fields = {}
                seen += 1
                if seen == most:
                    return
            else:
                fields = {}


async def collect(server: Server, path: str) -> list[Message]:
    async with asyncio.timeout(60):
        return [message async for message in read(server, path)]


def seqs(messages: list[Message]) -> list[int]:
    return [int(message.id) for message in messages]


async def test_a_job_is_told_from_its_beginning_to_its_end(server: Server) -> None:
    job_id = await server.enqueue(TEXT)
    told = await collect(server, f"/tts/{job_id}/events")
    assert seqs(told) == list(range(1, len(told) + 1))
    assert told[0].type == "job.queued"
    assert told[-1].type == "job.completed"
    assert all(message.data["job_id"] == job_id and str(message.data["seq"]) == message.id for message in told)
    assert all(message.data["type"] == message.type for message in told)
    done = [message for message in told if message.type == "segment.completed"]
    assert len(done) == (await server.status(job_id))["total_chunks"]
    assert done[-1].data["data"]["progress"] <= 99


async def test_what_was_missed_is_told_again(server: Server) -> None:
    job_id = await server.enqueue(TEXT)
    whole = await collect(server, f"/tts/{job_id}/events")
    assert await collect(server, f"/tts/{job_id}/events?after=0") == whole
    assert await collect(server, f"/tts/{job_id}/events?after=7") == whole[7:]
    by_header = [m async for m in read(server, f"/tts/{job_id}/events?after=2", {"Last-Event-ID": "9"})]
    assert by_header == whole[9:]
    answer = await server.http.get(f"/tts/{job_id}/events?after={len(whole)}")
    assert (answer.status_code, answer.content) == (204, b"")


async def test_a_stream_cut_a_hundred_times_has_neither_gap_nor_duplicate(server: Server) -> None:
    chance = random.Random(5)
    jobs = [await server.enqueue(f"{TEXT} Variant {n}.", seed=n + 1) for n in range(8)]
    cuts = 0
    for job_id in jobs:
        told: list[Message] = []
        while not told or told[-1].type not in ENDS:
            last = {"Last-Event-ID": told[-1].id} if told else {}
            told += [m async for m in read(server, f"/tts/{job_id}/events", last, chance.randint(1, 8))]
            cuts += 1
        assert seqs(told) == list(range(1, len(told) + 1))
        assert told == await collect(server, f"/tts/{job_id}/events")
    assert cuts >= 100


async def test_a_retry_is_told_behind_the_end(server: Server) -> None:
    job_id = await server.enqueue(TEXT * 20, predefined_voice_id="tone-chars", speed_factor=0.25)
    await server.until(job_id, "running")
    await server.http.delete(f"/tts/{job_id}")
    first = await collect(server, f"/tts/{job_id}/events")
    assert first[-1].type == "job.cancelled"
    await server.http.post(f"/tts/{job_id}/retry")
    listening = asyncio.create_task(collect(server, f"/tts/{job_id}/events?after={first[-1].id}"))
    await server.until(job_id, "running")
    await server.http.delete(f"/tts/{job_id}")
    second = await listening
    assert second[0].type == "job.retried"
    assert second[-1].type == "job.cancelled"
    assert seqs(first + second) == list(range(1, len(first) + len(second) + 1))


async def test_a_deleted_job_says_so_and_is_gone(server: Server) -> None:
    job_id = await server.enqueue(TEXT * 20, speed_factor=0.25)
    listening = asyncio.create_task(collect(server, f"/tts/{job_id}/events"))
    await server.until(job_id, "running")
    await server.http.delete(f"/tts/{job_id}?purge=true")
    assert (await listening)[-1].type == "job.deleted"
    assert (await server.http.get(f"/tts/{job_id}/events")).status_code == 410


@pytest.mark.parametrize("value", ["-1", "x", "1.5", "9" * 30, "٣"])
async def test_an_id_that_is_none_is_named(server: Server, value: str) -> None:
    job_id = await server.enqueue("Hello.")
    answer = await server.http.get(f"/tts/{job_id}/events", params={"after": value})
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["pointer"] == "/after"
    answer = await server.http.get("/events", params={"cursor": value})
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["pointer"] == "/cursor"
    assert (await server.http.get("/tts/no-such-job/events")).status_code == 404


async def test_a_gap_and_an_id_from_the_future_are_answered_with_the_whole_state(server: Server) -> None:
    job_id = await server.enqueue(TEXT)
    await server.until(job_id, "completed")
    whole = await collect(server, f"/tts/{job_id}/events")
    (ahead,) = await collect(server, f"/tts/{job_id}/events?after={len(whole) + 5}")
    assert (ahead.type, int(ahead.id)) == ("resync", len(whole))
    assert ahead.data["data"] == await server.status(job_id)
    with closing(sqlite3.connect(server.settings.data_dir / "ledger.db")) as ledger, ledger:
        ledger.execute("DELETE FROM events WHERE job_id = ? AND seq BETWEEN 3 AND 6", (job_id,))
    told = await collect(server, f"/tts/{job_id}/events")
    assert [message.type for message in told[:2]] == ["job.queued", whole[1].type]
    assert told[-1].type == "resync"
    assert int(told[-1].id) == len(whole)


async def test_all_jobs_in_one_stream_cut_at_random(server: Server) -> None:
    chance = random.Random(7)
    async with asyncio.timeout(60):
        hello = [m async for m in read(server, "/events", most=1)]
        assert hello[0].type == "hello"
        cursor = hello[0].id
        jobs = [await server.enqueue(f"{TEXT} Number {n}.", seed=n + 1) for n in range(8)]
        told: list[Message] = []
        going = set(jobs)
        while going:
            async for message in read(server, f"/events?cursor={cursor}", most=chance.randint(2, 40)):
                cursor = message.id
                if message.type == "hello":
                    continue
                told.append(message)
                if message.type in ENDS:
                    going.discard(message.data["job_id"])
                if not going:
                    break
    assert len({message.id for message in told}) == len(told)
    for job_id in jobs:
        mine = [message.data["seq"] for message in told if message.data["job_id"] == job_id]
        assert mine == list(range(1, len(mine) + 1))


async def test_five_hundred_listeners_hear_it_all(server: Server) -> None:
    job_id = await server.enqueue(TEXT * 3, seed=77, speed_factor=0.5)
    limits = httpx.Limits(max_connections=None)
    async with httpx.AsyncClient(base_url=server.url, timeout=120, limits=limits) as http:
        crowd = Server(server.url, server.settings, http)
        heard = await asyncio.gather(*(collect_slowly(crowd, job_id, n) for n in range(500)))
    assert len(heard[0]) > 20
    assert all(one == heard[0] for one in heard)


async def collect_slowly(server: Server, job_id: str, number: int) -> list[int]:
    """Every tenth listener stops reading for a while."""
    found = []
    async for message in read(server, f"/tts/{job_id}/events"):
        found.append(int(message.id))
        if number % 10 == 0 and len(found) == 5:
            await asyncio.sleep(0.5)
    return found


async def test_silence_is_filled_with_comments_and_a_stopping_server_ends_streams(tmp_path: Path) -> None:
    settings = settings_for(tmp_path)
    async with serving(settings) as server:
        began = asyncio.get_running_loop().time()
        async with server.http.stream("GET", "/events", timeout=30) as answer:
            comment = asyncio.Event()
            ended = asyncio.Event()

            async def listen() -> None:
                async for line in answer.aiter_lines():
                    if line == ":":
                        comment.set()
                ended.set()

            listening = asyncio.create_task(listen())
            await asyncio.wait_for(comment.wait(), 15)
            assert asyncio.get_running_loop().time() - began > 9
            stopped = asyncio.get_running_loop().time()
            server.stop()
            await asyncio.wait_for(ended.wait(), 4)
            assert asyncio.get_running_loop().time() - stopped < 4
            await listening


async def test_a_websocket_tells_the_same(server: Server) -> None:
    url = server.url.replace("http", "ws", 1) + "/ws"
    async with asyncio.timeout(60), connect(url) as socket:
        await socket.send(json.dumps({"subscribe": {}}))
        hello = json.loads(await socket.recv())
        assert hello["type"] == "hello"
        job_id = await server.enqueue(TEXT, seed=99)
        told: list[dict[str, Any]] = []
        while not told or told[-1]["type"] not in ENDS or told[-1]["job_id"] != job_id:
            told.append(json.loads(await socket.recv()))
    mine = [message for message in told if message["job_id"] == job_id]
    assert [message["seq"] for message in mine] == list(range(1, len(mine) + 1))
    async with asyncio.timeout(60), connect(f"{url}?cursor={mine[3]['cursor']}") as socket:
        assert json.loads(await socket.recv())["type"] == "hello"
        again = [json.loads(await socket.recv()) for _ in told[told.index(mine[3]) + 1 :]]
    assert again == told[told.index(mine[3]) + 1 :]


async def test_a_websocket_refuses_foreign_pages_and_wrong_cursors(server: Server) -> None:
    url = server.url.replace("http", "ws", 1) + "/ws"
    with pytest.raises(InvalidStatus) as refused:
        async with connect(url, origin=Origin("https://evil.example")):
            pass
    assert refused.value.response.status_code == 403
    async with connect(url, origin=Origin(server.url)) as socket:
        await socket.send('{"subscribe": {}}')
        assert json.loads(await socket.recv())["type"] == "hello"
    async with connect(f"{url}?cursor=nonsense") as socket:
        with pytest.raises(ConnectionClosed):
            await socket.recv()
        assert socket.close_code == 1008
