"""Sixteen clients of all kinds at once: each gets what it gets alone."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Literal

import httpx
from openai import AsyncOpenAI, OpenAI
from websockets.asyncio.client import connect
from wyoming.audio import AudioChunk
from wyoming.client import AsyncTcpClient
from wyoming.tts import Synthesize, SynthesizeChunk, SynthesizeStart, SynthesizeStop, SynthesizeVoice

from rhapsode.client import AsyncClient, Client, SpeechOptions
from tests.integration.test_wyoming import answering, samples, until_stop
from tests.serving import Server

Task = Callable[[], Awaitable[bytes]]


def text_of(who: str) -> str:
    return f"This is what {who} wants to hear. And this is what comes behind it, for {who} alone."


class Clients:
    """All kinds of clients of one server, each in a connection of its own."""

    def __init__(self, server: Server, wyoming_port: int, folder: Path) -> None:
        self.url = server.url
        self.port = wyoming_port
        self.folder = folder

    async def openai(self, name: Literal["mp3", "wav", "pcm", "opus"]) -> bytes:
        async with AsyncOpenAI(base_url=f"{self.url}/v1", api_key="-", max_retries=0) as client:
            made = await client.audio.speech.create(
                model="tts-1", voice="tone", input=text_of(name), response_format=name, extra_body={"seed": 1}
            )
            return made.content

    async def openai_in_a_thread(self) -> bytes:
        def speak() -> bytes:
            with OpenAI(base_url=f"{self.url}/v1", api_key="-", max_retries=0) as client:
                made = client.audio.speech.create(
                    model="m", voice="tone", input=text_of("a thread"), response_format="flac", extra_body={"seed": 2}
                )
                return made.content

        return await asyncio.to_thread(speak)

    async def wyoming(self) -> bytes:
        async with AsyncTcpClient("127.0.0.1", self.port) as client:
            text = text_of("the kitchen")
            await client.write_event(Synthesize(text=text, voice=SynthesizeVoice(name="tone-chars")).event())
            return bytes(
                len(samples(await until_stop(client)))
            )  # no seed can be asked for: only its length is the same

    async def wyoming_in_pieces(self) -> bytes:
        async with AsyncTcpClient("127.0.0.1", self.port) as client:
            await client.write_event(SynthesizeStart(voice=SynthesizeVoice(name="tone-chars")).event())
            for word in text_of("the hall").split(" "):
                await client.write_event(SynthesizeChunk(text=word + " ").event())
            await client.write_event(SynthesizeStop().event())
            heard = await until_stop(client, "synthesize-stopped")
            return bytes(
                sum(len(AudioChunk.from_event(event).audio) for event in heard if AudioChunk.is_type(event.type))
            )

    async def plain(self, kind: str, **fields: object) -> bytes:
        async with httpx.AsyncClient(base_url=self.url, timeout=60) as http:
            body = {"text": text_of(kind), "output_format": kind, "predefined_voice_id": "tone", "seed": 3, **fields}
            return (await http.post("/tts", json=body)).raise_for_status().content

    async def old_page(self) -> bytes:
        """Queue, poll, fetch."""
        async with httpx.AsyncClient(base_url=self.url, timeout=60) as http:
            form = {
                "text": text_of("the page"),
                "voice_mode": "predefined",
                "split_text": True,
                "chunk_size": 120,
                "seed": 4,
            }
            job = (await http.post("/tts/enqueue", json=form)).json()
            while (state := (await http.get(job["status_url"])).json())["status"] != "completed":
                assert state["status"] in ("queued", "running"), state
                await asyncio.sleep(0.05)
            return (await http.get(job["result_url"])).raise_for_status().content

    async def listener(self) -> bytes:
        """Live sound of a queued job."""
        async with httpx.AsyncClient(base_url=self.url, timeout=60) as http:
            form = {"text": text_of("a listener"), "seed": 5}
            job = (await http.post("/tts/enqueue", json=form)).json()
            return (await http.get(f"/tts/{job['job_id']}/audio?format=pcm")).raise_for_status().content

    async def watcher(self) -> bytes:
        """A WebSocket that waits for its job among those of the others."""
        async with (
            connect(f"ws{self.url.removeprefix('http')}/ws") as socket,
            httpx.AsyncClient(base_url=self.url) as http,
        ):
            assert json.loads(await socket.recv())["type"] == "hello"
            job = (await http.post("/tts/enqueue", json={"text": text_of("a watcher"), "seed": 6})).json()["job_id"]
            mine: list[str] = []
            while not mine or mine[-1] != "job.completed":
                event = json.loads(await socket.recv())
                if event["job_id"] == job:
                    mine.append(event["type"])
            return b"%d" % mine.count("segment.completed")

    async def events(self) -> bytes:
        async with httpx.AsyncClient(base_url=self.url, timeout=60) as http:
            job = (await http.post("/tts/enqueue", json={"text": text_of("events"), "seed": 7})).json()["job_id"]
            lines = (await http.get(f"/tts/{job}/events")).text.splitlines()
            ids = [int(line.removeprefix("id: ")) for line in lines if line.startswith("id: ")]
            assert ids == list(range(1, len(ids) + 1))
            return b"%d" % lines.count("event: segment.completed")

    async def ours(self) -> bytes:
        async with AsyncClient(self.url) as client:
            job = await client.submit(text_of("a program"), SpeechOptions(seed=8, output_format="flac"))
            await client.wait(job)
            await client.download(job, self.folder / "ours.flac")
        return (self.folder / "ours.flac").read_bytes()

    async def ours_in_a_thread(self) -> bytes:
        def speak() -> bytes:
            with Client(self.url) as client:
                return b"".join(client.stream(client.submit(text_of("a script"), SpeechOptions(seed=9)), "pcm"))

        return await asyncio.to_thread(speak)

    def all(self) -> list[Task]:
        """Sixteen."""
        return [
            *(lambda name=name: self.openai(name) for name in ("mp3", "wav", "pcm", "opus")),
            self.openai_in_a_thread,
            self.wyoming,
            self.wyoming_in_pieces,
            *(lambda kind=kind: self.plain(kind) for kind in ("wav", "flac")),
            lambda: self.plain("mp3", stream=True),
            self.old_page,
            self.listener,
            self.watcher,
            self.events,
            self.ours,
            self.ours_in_a_thread,
        ]


async def test_sixteen_at_once_get_what_each_gets_alone(tmp_path: Path) -> None:
    async with answering(tmp_path) as (server, port), asyncio.timeout(120):
        tasks = Clients(server, port, tmp_path).all()
        assert len(tasks) == 16
        together = await asyncio.gather(*(task() for task in tasks))
        alone = [await task() for task in tasks]
        assert [len(found) for found in together] == [len(found) for found in alone]
        assert together == alone
        assert all(together)
        jobs = (await server.http.get("/tts?limit=100")).json()["jobs"]
        for job in jobs:  # a stream is heard to its end a moment before its file is finished
            assert (await server.until(job["job_id"], "completed", "failed", "cancelled"))["status"] == "completed"
