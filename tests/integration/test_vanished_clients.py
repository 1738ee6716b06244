"""A client that closes its connection takes its job along: nothing more is begun for it, whatever it had asked for."""

import asyncio
import contextlib
import json
import socket
import struct
import time
from collections.abc import AsyncIterator
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

import pytest
import pytest_asyncio

from tests.serving import Server, serving, settings_for

pytestmark = pytest.mark.asyncio(loop_scope="module")

SLOTS = 3
"""Two for bulk work, one express."""
SLOW = "A sentence that takes its time to be spoken. " * 120
"""Some fifty segments of half a second each."""
SPEECH = {"model": "m", "voice": "tone-slow", "input": SLOW}
OWN = {"text": SLOW, "predefined_voice_id": "tone-slow"}
ASKED: dict[str, tuple[str, dict[str, Any], bool]] = {
    "a file": ("/tts", OWN, False),
    "a stream": ("/tts", OWN | {"stream": True, "output_format": "mp3"}, True),
    "OpenAI's file": ("/v1/audio/speech", SPEECH | {"response_format": "wav"}, False),
    "OpenAI's mp3": ("/v1/audio/speech", SPEECH | {"response_format": "mp3"}, True),
    "OpenAI's samples": ("/v1/audio/speech", SPEECH | {"response_format": "pcm"}, True),
    "OpenAI's events": ("/v1/audio/speech", SPEECH | {"response_format": "opus", "stream_format": "sse"}, True),
}
"""Address, body, and whether sound comes before all is made."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Server]:
    async with serving(settings_for(tmp_path_factory.mktemp("server"))) as found:
        yield found


async def ask(server: Server, path: str, body: dict[str, Any]) -> socket.socket:
    """A raw connection on which a request was sent."""
    address, loop = urlsplit(server.url), asyncio.get_running_loop()
    sock = socket.socket()
    sock.setblocking(False)
    await loop.sock_connect(sock, (address.hostname, address.port))
    data = json.dumps(body).encode()
    head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {len(data)}\r\n\r\n"
    await loop.sock_sendall(sock, head.encode() + data)
    return sock


async def speaking(server: Server) -> str:
    """The one running job, as soon as a segment of it is spoken."""
    async with asyncio.timeout(30):
        while True:
            found = (await server.http.get("/tts?status=running")).json()["jobs"]
            if found and found[0]["segments"]["done"]:
                return str(found[0]["job_id"])
            await asyncio.sleep(0.02)


def vanish(sock: socket.socket, abruptly: bool) -> float:
    """Close it, politely or with a reset; when that was."""
    if abruptly:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()
    return time.time()


async def events_of(server: Server, job_id: str) -> list[dict[str, Any]]:
    """All of a job that has ended."""
    text = (await server.http.get(f"/tts/{job_id}/events")).text
    return [json.loads(line.removeprefix("data: ")) for line in text.splitlines() if line.startswith("data: ")]


def when(event: dict[str, Any]) -> float:
    return datetime.fromisoformat(event["at"]).timestamp()


@pytest.mark.parametrize("abruptly", [False, True], ids=["closed", "reset"])
@pytest.mark.parametrize("what", ASKED)
async def test_nothing_more_is_begun_for_a_client_that_is_gone(server: Server, what: str, abruptly: bool) -> None:
    path, body, has_sound = ASKED[what]
    sock = await ask(server, path, body)
    job_id = await speaking(server)
    if has_sound:
        async with asyncio.timeout(10):
            assert await asyncio.get_running_loop().sock_recv(sock, 100)
    left = vanish(sock, abruptly)
    assert (await server.until(job_id, "cancelled", "completed"))["status"] == "cancelled"
    events = await events_of(server, job_id)
    kinds = [event["type"] for event in events]
    assert kinds[-1] == "job.cancelled"  # no worker was given anything afterwards
    assert events[-1]["data"]["reason"] == "the client left"
    begun = [event for event in events if event["type"] == "segment.started" and when(event) > left]
    assert len(begun) <= SLOTS, f"{len(begun)} segments were begun in {when(events[-1]) - left:.2f} s"
    assert when(events[-1]) - left < 5  # at once, on a machine that has other things to do as well
    short = await server.http.post("/tts", json={"text": "Free again.", "predefined_voice_id": "tone"})
    assert short.status_code == 200


async def test_a_queued_job_goes_on_without_its_listener(server: Server) -> None:
    job_id = await server.enqueue("It belongs to nobody's connection. " * 4, predefined_voice_id="tone-slow")
    address = urlsplit(server.url)
    sock = socket.create_connection((address.hostname, address.port))
    with contextlib.closing(sock):
        sock.sendall(f"GET /tts/{job_id}/audio?format=mp3 HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        await asyncio.to_thread(sock.recv, 100)
    assert (await server.until(job_id, "completed", "cancelled"))["status"] == "completed"
