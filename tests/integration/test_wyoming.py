"""Wyoming, with the client library that Home Assistant uses."""

import asyncio
import gc
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from wyoming.audio import AudioChunk, AudioStart, AudioStop
from wyoming.client import AsyncTcpClient
from wyoming.error import Error
from wyoming.event import Event
from wyoming.info import Describe, Info
from wyoming.ping import Ping, Pong
from wyoming.tts import Synthesize, SynthesizeChunk, SynthesizeStart, SynthesizeStop, SynthesizeStopped, SynthesizeVoice
from zeroconf import ServiceStateChange, Zeroconf
from zeroconf.asyncio import AsyncServiceBrowser, AsyncServiceInfo, AsyncZeroconf

from rhapsode.errors import ConfigError
from rhapsode.wyoming_server import Handler
from tests.browser.site import free_port
from tests.serving import Server, serving, settings_for

LONG = "A sentence that goes on and on, for nobody. " * 20_000


@asynccontextmanager
async def answering(folder: Path, **changes: object) -> AsyncIterator[tuple[Server, int]]:
    port = free_port()
    settings = settings_for(folder, wyoming__enabled=True, wyoming__port=port, **changes)
    async with serving(settings) as server:
        yield server, port


async def until_stop(client: AsyncTcpClient, last: str = "audio-stop") -> list[Event]:
    """Messages up to the last of an answer."""
    events: list[Event] = []
    async with asyncio.timeout(60):
        while event := await client.read_event():
            events.append(event)
            if event.type in (last, "error"):
                return events
    raise AssertionError("the server closed the connection")


def samples(events: list[Event]) -> bytes:
    return b"".join(AudioChunk.from_event(event).audio for event in events if AudioChunk.is_type(event.type))


async def test_voices_are_described_and_a_text_is_spoken_as_over_http(tmp_path: Path) -> None:
    async with answering(tmp_path) as (server, port), AsyncTcpClient("127.0.0.1", port) as client:
        await client.write_event(Ping(text="there?").event())
        assert Pong.from_event(await client.read_event()).text == "there?"
        await client.write_event(Describe().event())
        info = Info.from_event(await client.read_event())
        (program,) = info.tts
        assert program.supports_synthesize_streaming
        assert program.voices[0].name == "tone"
        assert program.voices[0].languages == ["en"]
        await client.write_event(
            Synthesize(text="Hello there. How are you?", voice=SynthesizeVoice(name="tone")).event()
        )
        events = await until_stop(client)
        start = AudioStart.from_event(events[0])
        assert (start.rate, start.width, start.channels) == (22_050, 2, 1)
        assert AudioStop.is_type(events[-1].type)
        (job,) = (await server.http.get("/tts")).json()["jobs"]
        assert job["tags"] == ["wyoming"]
        job = await server.until(job["job_id"], "completed")
        pcm = await server.http.get(f"/tts/{job['job_id']}/segments/0/audio")
        assert len(samples(events)) / 2 / 22_050 == pytest.approx(job["result"]["audio_seconds"], abs=0.01)
        assert pcm.status_code == 200


async def test_a_text_that_streams_in_is_spoken_sentence_by_sentence(tmp_path: Path) -> None:
    async with answering(tmp_path) as (server, port), AsyncTcpClient("127.0.0.1", port) as client:
        await client.write_event(SynthesizeStart(voice=SynthesizeVoice(language="en_US")).event())
        for piece in ("The door ", "is open. Dr. Wa", "tson came"):
            await client.write_event(SynthesizeChunk(text=piece).event())
        first = await client.read_event()  # before the text is all there
        assert first is not None
        assert AudioStart.is_type(first.type)
        await client.write_event(SynthesizeChunk(text=" in. And").event())
        await client.write_event(SynthesizeChunk(text=" left").event())
        await client.write_event(
            Synthesize(text="The door is open. Dr. Watson came in. And left").event()
        )  # for others
        await client.write_event(SynthesizeStop().event())
        events = await until_stop(client, "synthesize-stopped")
        assert SynthesizeStopped.is_type(events[-1].type)
        assert sum(AudioStart.is_type(event.type) for event in events) == 0
        assert sum(AudioStop.is_type(event.type) for event in events) == 1
        jobs = (await server.http.get("/tts")).json()["jobs"]
        assert [job["text_excerpt"] for job in reversed(jobs)] == [
            "The door is open.",
            "Dr. Watson came in.",
            "And left",
        ]
        await client.write_event(Synthesize(text="Again.").event())
        assert samples(await until_stop(client))


async def test_a_client_that_leaves_cancels(tmp_path: Path) -> None:
    async with answering(tmp_path) as (server, port):
        async with AsyncTcpClient("127.0.0.1", port) as client:
            await client.write_event(Synthesize(text=LONG[:90_000]).event())
            assert AudioStart.is_type((await client.read_event()).type)
            (job,) = (await server.http.get("/tts")).json()["jobs"]
        assert (await server.until(job["job_id"], "cancelled", "completed"))["status"] == "cancelled"


async def test_a_book_does_not_keep_it_waiting(tmp_path: Path) -> None:
    async with answering(tmp_path) as (server, port), AsyncTcpClient("127.0.0.1", port) as client:
        book = await server.enqueue(LONG)
        await server.until(book, "running")
        await client.write_event(Synthesize(text="Short.").event())
        assert samples(await until_stop(client))
        assert (await server.status(book))["status"] == "running"
        await server.http.delete(f"/tts/{book}")


async def test_what_is_wrong_is_said_and_the_connection_goes_on(tmp_path: Path) -> None:
    async with (
        answering(tmp_path, wyoming__max_text_chars=100) as (_, port),
        AsyncTcpClient("127.0.0.1", port) as client,
    ):
        for wrong in (
            Synthesize(text="x", voice=SynthesizeVoice(name="nobody")).event(),
            Synthesize(text="y" * 101).event(),
            Synthesize(text="This is !raise! bad.").event(),
            Event("synthesize", {"no": "text"}),
        ):
            await client.write_event(wrong)
            events = await until_stop(client)
            assert Error.is_type(events[-1].type), wrong
        await client.write_event(Event("unheard-of", {}))
        await client.write_event(Synthesize(text="Good.").event())
        assert samples(await until_stop(client))


async def test_only_allowed_addresses_are_answered(tmp_path: Path) -> None:
    async with (
        answering(tmp_path, wyoming__allowed="10.0.0.0/8, ::1") as (_, port),
        AsyncTcpClient("127.0.0.1", port) as client,
    ):
        await client.write_event(Describe().event())
        with pytest.raises((ConnectionError, AssertionError)):
            assert await client.read_event() is not None


async def test_it_is_off_unless_it_is_asked_for(tmp_path: Path) -> None:
    port = free_port()
    async with serving(settings_for(tmp_path, wyoming__port=port)):
        with pytest.raises(ConnectionRefusedError):
            await AsyncTcpClient("127.0.0.1", port).connect()


async def test_it_listens_where_it_is_told_whatever_http_does(tmp_path: Path) -> None:
    changes = {"wyoming__host": "127.0.0.2", "wyoming__allowed": "127.0.0.0/8"}
    async with answering(tmp_path, **changes) as (server, port), AsyncTcpClient("127.0.0.2", port) as client:
        assert "127.0.0.1" in server.url
        await client.write_event(Ping(text="here?").event())
        assert Pong.from_event(await client.read_event()).text == "here?"
        with pytest.raises(ConnectionRefusedError):
            await AsyncTcpClient("127.0.0.1", port).connect()


def has_multicast() -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        return probe.connect_ex(("224.0.0.251", 5353)) == 0


@pytest.mark.skipif(not has_multicast(), reason="this machine has no network")
async def test_home_assistant_finds_it_by_itself(tmp_path: Path) -> None:
    kind, seen = "_wyoming._tcp.local.", asyncio.Queue[tuple[str, ServiceStateChange]]()

    def changed(zeroconf: Zeroconf, service_type: str, name: str, state_change: ServiceStateChange) -> None:
        seen.put_nowait((name, state_change))

    async with AsyncZeroconf() as network, asyncio.timeout(30):
        browser = AsyncServiceBrowser(network.zeroconf, kind, handlers=[changed])
        async with answering(tmp_path, wyoming__host="0.0.0.0") as (_, port):
            while True:
                name, _ = await seen.get()
                service = AsyncServiceInfo(kind, name)
                if await service.async_request(network.zeroconf, 3_000) and service.port == port:
                    break
            assert name.startswith("rhapsode-")
            async with AsyncTcpClient(service.parsed_addresses()[0], port) as client:
                await client.write_event(Describe().event())
                assert Info.from_event(await client.read_event()).tts
        while (name, ServiceStateChange.Removed) != await seen.get():  # and is told when it ends
            pass
        await browser.async_cancel()


async def test_an_address_in_use_is_said(tmp_path: Path) -> None:
    async with answering(tmp_path / "a") as (_, port):
        with pytest.raises(ConfigError, match=r"wyoming\.port: cannot listen"):
            async with serving(settings_for(tmp_path / "b", wyoming__enabled=True, wyoming__port=port)):
                pass


async def test_an_unloaded_engine_is_said_at_once(tmp_path: Path) -> None:
    async with answering(tmp_path) as (server, port), AsyncTcpClient("127.0.0.1", port) as client:
        assert (await server.http.post("/api/unload")).status_code == 200
        await client.write_event(Synthesize(text="Hello.").event())
        assert Error.from_event((await until_stop(client))[-1]).code == "EngineUnloaded"
        assert (await server.http.post("/restart_server")).status_code == 200
        await client.write_event(Synthesize(text="Hello.").event())
        assert samples(await until_stop(client))


@pytest.mark.parametrize("voice", [{"language": 5}, {"name": 5}, {"name": ["x"]}])
async def test_a_voice_that_makes_no_sense_is_said_and_the_connection_goes_on(tmp_path: Path, voice: object) -> None:
    async with answering(tmp_path) as (_, port), AsyncTcpClient("127.0.0.1", port) as client:
        for streaming in (False, True):
            if streaming:
                await client.write_event(Event("synthesize-start", {"voice": voice}))
                await client.write_event(SynthesizeChunk(text="One. Two. Three").event())
                await client.write_event(SynthesizeStop().event())
            else:
                await client.write_event(Event("synthesize", {"text": "Hi.", "voice": voice}))
            assert Error.is_type((await until_stop(client))[-1].type)
            if streaming:
                assert SynthesizeStopped.is_type((await client.read_event()).type)
        await client.write_event(Synthesize(text="Good.").event())
        assert samples(await until_stop(client))


async def test_a_text_that_was_never_ended_gives_way_to_the_next(tmp_path: Path) -> None:
    async with answering(tmp_path) as (_, port), AsyncTcpClient("127.0.0.1", port) as client:
        for last in (False, True):
            await client.write_event(SynthesizeStart().event())
            await client.write_event(SynthesizeChunk(text="Hello there. ").event())
            if last:
                await client.write_event(SynthesizeStop().event())
        for _ in range(2):
            assert samples(await until_stop(client, "synthesize-stopped"))


async def test_connections_that_ended_are_forgotten(tmp_path: Path) -> None:
    before = sum(isinstance(found, Handler) for found in gc.get_objects())
    async with answering(tmp_path) as (_, port):
        for _ in range(20):
            async with AsyncTcpClient("127.0.0.1", port) as client:
                await client.write_event(Ping().event())
                await client.read_event()
        async with asyncio.timeout(10):
            while sum(isinstance(found, Handler) for found in gc.get_objects()) > before + 1:
                await asyncio.sleep(0.05)
                gc.collect()
