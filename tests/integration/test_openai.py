"""OpenAI's endpoints, with the official client."""

import asyncio
import base64
import io
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Literal

import av
import httpx
import numpy as np
import openai
import pytest
from openai import AsyncOpenAI

from tests.serving import Server, serving, settings_for

Format = Literal["mp3", "opus", "aac", "flac", "wav", "pcm"]
LONG = "A sentence that goes on and on. " * 20_000
TEXT = "One sentence is spoken here. And here is a second one, which is a little longer."


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Server]:
    async with serving(settings_for(tmp_path, openai__voices="nova=tone-slow, onyx=nobody")) as found:
        yield found


@pytest.fixture
async def client(server: Server) -> AsyncIterator[AsyncOpenAI]:
    async with AsyncOpenAI(base_url=f"{server.url}/v1", api_key="not needed", max_retries=0) as found:
        yield found


def seconds(data: bytes) -> float:
    """Length of a sound file as a decoder sees it."""
    with av.open(io.BytesIO(data), "r") as container:
        stream = container.streams.audio[0]
        return sum(int(frame.samples) for frame in container.decode(stream)) / int(stream.rate or 1)


async def test_every_format_is_what_it_says_and_lasts_as_long(client: AsyncOpenAI) -> None:
    lengths: dict[str, float] = {}
    kinds: dict[Literal["mp3", "opus", "aac", "flac", "wav"], str] = {
        "mp3": "audio/mpeg",
        "opus": "audio/opus",
        "aac": "audio/aac",
        "flac": "audio/flac",
        "wav": "audio/wav",
    }
    for name, kind in kinds.items():
        answer = await client.audio.speech.create(model="tts-1", voice="tone", input=TEXT, response_format=name)
        assert answer.response.headers["content-type"] == kind
        lengths[name] = seconds(answer.content)
    pcm = await client.audio.speech.create(model="tts-1", voice="tone", input=TEXT, response_format="pcm")
    lengths["pcm"] = len(pcm.content) / 2 / 24_000
    assert max(lengths.values()) - min(lengths.values()) < 0.12, lengths
    assert np.abs(np.frombuffer(pcm.content, "<i2")).max() > 1_000


async def test_without_a_format_it_is_a_wav_file_with_its_length(client: AsyncOpenAI) -> None:
    answer = await client.audio.speech.create(model="gpt-4o-mini-tts", voice="alloy", input=TEXT)
    assert answer.response.headers["content-type"] == "audio/wav"
    assert int.from_bytes(answer.content[4:8], "little") == len(answer.content) - 8
    assert int(answer.response.headers["content-length"]) == len(answer.content)


async def test_speed_seed_and_the_names_of_voices(client: AsyncOpenAI, server: Server) -> None:
    async def length(**fields: object) -> float:
        body: dict[str, Any] = {"model": "m", "voice": "alloy", "input": TEXT} | fields
        answer = await client.audio.speech.create(**body)
        return seconds(answer.content)

    plain = await length()
    assert await length(speed=2.0) < plain - 0.05
    await client.audio.speech.create(model="m", voice="nova", input=TEXT, extra_body={"seed": 77, "language": "en"})
    newest = (await server.http.get("/tts")).json()["jobs"][0]
    assert (newest["voice"], newest["seed"]) == ("tone-slow", 77)
    foreign = await client.audio.speech.create(
        model="m", voice={"id": "tone"}, input=TEXT, extra_body={"language": "xx"}
    )
    assert "not 'xx'" in foreign.response.headers["x-warnings"]
    assert (await server.http.get("/tts")).json()["jobs"][0]["voice"] == "tone"


async def test_a_stream_comes_while_it_is_made(client: AsyncOpenAI) -> None:
    speech = client.audio.speech.with_streaming_response
    whole = b""
    async with speech.create(model="tts-1", voice="tone", input=TEXT, response_format="mp3") as answer:
        async for piece in answer.iter_bytes():
            whole += piece
    assert seconds(whole) > 0.2


@pytest.mark.parametrize("name", ["mp3", "opus", "aac", "flac", "wav", "pcm"])
async def test_each_format_begins_before_its_end_is_made(client: AsyncOpenAI, server: Server, name: Format) -> None:
    speech = client.audio.speech.with_streaming_response
    async with speech.create(
        model="tts-1", voice="tone", input=LONG, response_format=name, stream_format="audio"
    ) as answer:
        assert await anext(answer.iter_bytes())
        job = answer.headers["x-job-id"]
        assert answer.headers["x-accel-buffering"] == "no"
        assert (await server.status(job))["status"] == "running"
    assert (await server.until(job, "cancelled", "completed"))["status"] == "cancelled"


@pytest.mark.parametrize("name", ["mp3", "opus", "aac", "flac", "wav", "pcm"])
async def test_events_carry_the_same_audio(client: AsyncOpenAI, name: Format) -> None:
    body: dict[str, Any] = {"model": "gpt-4o-mini-tts", "voice": "tone", "input": TEXT, "response_format": name}
    body |= {"extra_body": {"seed": 3}}
    plain = (await client.audio.speech.create(**body, stream_format="audio")).content
    async with client.audio.speech.with_streaming_response.create(**body, stream_format="sse") as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        events = [json.loads(line.removeprefix("data: ")) async for line in answer.iter_lines() if line]
    assert [event["type"] for event in events[-2:]] == ["speech.audio.delta", "speech.audio.done"]
    assert b"".join(base64.b64decode(event["audio"]) for event in events[:-1]) == plain
    assert set(events[-1]["usage"]) == {"input_tokens", "output_tokens", "total_tokens"}


async def test_errors_are_raised_as_their_client_raises_them(client: AsyncOpenAI, server: Server) -> None:
    async def speak(**fields: object) -> None:
        body: dict[str, Any] = {"model": "m", "voice": "tone", "input": TEXT} | fields
        await client.audio.speech.create(**body)

    with pytest.raises(openai.NotFoundError, match="there is no voice 'nobody'") as caught:
        await speak(voice="nobody")
    assert caught.value.param == "voice"
    assert caught.value.type == "invalid_request_error"
    with pytest.raises(openai.NotFoundError):
        await speak(voice="onyx")  # stands for a voice there is not
    wrongs: list[dict[str, Any]] = [{"input": "  "}, {"speed": 9.0}, {"response_format": "ogg"}]
    for wrong in wrongs:
        with pytest.raises(openai.BadRequestError) as refused:
            await speak(**wrong)
        assert refused.value.param == next(iter(wrong))
    with pytest.raises(openai.APIStatusError) as large:
        await speak(input="x" * (server.settings.limits.max_text_chars + 1))
    assert (large.value.status_code, large.value.param) == (413, "input")
    with pytest.raises(openai.BadRequestError, match="cannot clone"):
        (server.settings.tts_engine.reference_audio_path).mkdir(parents=True)
        (server.settings.tts_engine.reference_audio_path / "me.wav").write_bytes(b"")
        await speak(voice="me.wav")
    with pytest.raises(openai.InternalServerError, match="asked to fail"):
        await speak(input="This is !raise! bad.")
    with pytest.raises(openai.NotFoundError):
        await client.models.retrieve("nothing")
    with pytest.raises(openai.NotFoundError):
        await client.post("/nowhere", cast_to=object)


async def test_keys_and_limits_in_their_words(client: AsyncOpenAI, server: Server) -> None:
    admin = (await server.http.post("/keys", json={"name": "a", "scopes": ["admin"]})).json()["secret"]
    with pytest.raises(openai.AuthenticationError) as refused:
        await client.models.list()
    assert refused.value.code == "invalid_api_key"
    made = await server.http.post(
        "/keys",
        json={"name": "few", "scopes": ["submit", "read"], "limits": {"requests_per_minute": 1}},
        headers={"Authorization": f"Bearer {admin}"},
    )
    few = client.with_options(api_key=made.json()["secret"])
    assert [one.id async for one in await few.models.list()][1:] == ["tts-1", "tts-1-hd", "gpt-4o-mini-tts"]
    with pytest.raises(openai.RateLimitError) as limited:
        await few.models.list()
    assert int(limited.value.response.headers["retry-after"]) > 0
    assert limited.value.code == "rate_limit_exceeded"


async def test_models_and_voices(client: AsyncOpenAI, server: Server) -> None:
    assert (await client.models.retrieve("tone")).owned_by == "rhapsode"
    voices = (await server.http.get("/v1/audio/voices")).json()
    assert voices["status"] == "ok"
    assert voices["voices"][0] == "tone"


@pytest.mark.parametrize(
    "extra", [{}, {"response_format": "mp3"}, {"response_format": "pcm"}, {"stream_format": "sse"}]
)
async def test_a_client_that_leaves_costs_nothing_more(server: Server, extra: dict[str, str]) -> None:
    body = {"model": "m", "voice": "tone", "input": LONG} | extra
    async with httpx.AsyncClient(base_url=server.url, timeout=60) as http:
        asking = asyncio.create_task(http.post("/v1/audio/speech", json=body))
        async with asyncio.timeout(30):
            while not (jobs := (await server.http.get("/tts", params={"status": "running"})).json()["jobs"]):
                await asyncio.sleep(0.02)
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
    ended = await server.until(jobs[0]["job_id"], "cancelled", "completed")
    assert ended["status"] == "cancelled"
