"""Several engines in one server, over HTTP: chosen per request, swapped, waited for."""

import asyncio
import io
import wave
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import openai
import pytest

from tests import plugins
from tests.serving import Server, loaded_for, serving

CHIRP_RATE, TONE_RATE = 16_000, 22_050


@pytest.fixture(scope="module")
def chirp() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        plugins.install(patch)
        yield


@pytest.fixture
async def server(chirp: None, tmp_path: Path) -> AsyncIterator[Server]:
    file = tmp_path / "data" / "config.yaml"
    file.parent.mkdir()
    file.write_text("engine:\n  name: tone\n  also: tone, chirp\n")
    loaded = loaded_for(tmp_path, engine__name=None, engine__also=None)
    async with serving(loaded) as found:
        await until_known(found, "chirp")
        yield found


async def until_known(server: Server, engine: str) -> None:
    """An engine that is offered introduces itself after the start."""
    async with asyncio.timeout(30):
        while (await engines(server))[engine]["revision"] is None:
            await asyncio.sleep(0.05)


async def engines(server: Server) -> dict[str, dict[str, Any]]:
    return {one["name"]: one for one in (await server.http.get("/engines")).json()["engines"]}


def rate_in(data: bytes) -> int:
    with wave.open(io.BytesIO(data)) as file:
        return int(file.getframerate())


async def rate_of(server: Server, **fields: object) -> int:
    """Sample rate of what is spoken: it tells the engines apart."""
    answer = await server.http.post("/tts", json={"text": "A few words."} | fields)
    assert answer.status_code == 200, answer.text
    return rate_in(answer.content)


async def test_engines_and_voices_of_all_are_listed_and_each_can_be_named(server: Server) -> None:
    found = await engines(server)
    assert list(found)[:2] == ["tone", "chirp"]
    assert (found["tone"]["active"], found["chirp"]["active"]) == (True, False)
    assert found["chirp"]["offered"]
    assert not found["chirp"]["loaded"], "it was only asked what it is"
    assert [control["name"] for control in found["chirp"]["controls"]] == ["temperature"]
    assert not found["piper"]["offered"]
    assert "engine.also" in found["piper"]["state"]
    voices = {voice["id"]: voice for voice in (await server.http.get("/voices")).json()["voices"]}
    assert (voices["tone"]["engine"], voices["lark"]["engine"]) == ("tone", "chirp")
    assert [voice["id"] for voice in voices.values() if voice["default"]] == ["tone"]
    old = (await server.http.get("/get_predefined_voices")).json()
    assert "lark.chirp" not in {voice["filename"] for voice in old}, "the old page sees the active engine only"

    assert await rate_of(server) == TONE_RATE
    assert await rate_of(server, engine="chirp") == CHIRP_RATE
    assert await rate_of(server, predefined_voice_id="owl") == CHIRP_RATE, "a voice of another engine chooses it"
    assert await rate_of(server, engine="", predefined_voice_id="tone") == TONE_RATE
    assert (await engines(server))["chirp"]["loaded"]
    preview = await server.http.get(voices["owl"]["links"]["preview"])
    assert preview.status_code == 200
    assert preview.headers["content-type"] == "audio/mpeg"


async def test_a_request_is_checked_against_the_engine_that_it_names(server: Server) -> None:
    unknown = await server.http.post("/tts/enqueue", json={"text": "Hi.", "engine": "festival"})
    assert unknown.status_code == 404
    assert "festival" in unknown.json()["detail"]
    assert "tone, chirp" in unknown.json()["detail"]
    assert unknown.json()["errors"][0]["pointer"] == "/engine"
    wrong = await server.http.post("/tts/enqueue", json={"text": "Hi.", "engine": "tone", "predefined_voice_id": "owl"})
    assert wrong.status_code == 404
    job_id = await server.enqueue("Hi.", engine="chirp", speed_factor=2.0)
    assert any("has no speed_factor" in warning for warning in (await server.status(job_id))["warnings"])
    plan = await server.http.post("/tts/plan", json={"text": "word " * 400, "engine": "chirp", "chunk_size": 500})
    assert plan.json()["engine"] == "chirp"
    assert max(segment["chars"] for segment in plan.json()["segments"]) <= 200, "the engine's own limit"


async def test_the_model_of_openais_clients_chooses_the_engine(server: Server) -> None:
    async with openai.AsyncOpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0) as client:
        names = [model.id async for model in client.models.list()]
        assert names[:2] == ["tone", "chirp"]
        for model, rate in (("chirp", CHIRP_RATE), ("tts-1", TONE_RATE)):
            spoken = await client.audio.speech.create(model=model, voice="alloy", input="Hello.", response_format="wav")
            assert rate_in(spoken.content) == rate


async def test_a_job_goes_on_with_its_engine_when_another_becomes_the_active_one(server: Server) -> None:
    job_id = await server.enqueue("A sentence to be spoken slowly. " * 20, predefined_voice_id="tone-slow")
    await server.until(job_id, "running")
    saved = await server.http.post("/save_settings", json={"engine": {"name": "chirp"}})
    assert saved.json()["restart_needed"]
    assert (await server.http.post("/restart_server")).status_code == 200
    assert await rate_of(server) == CHIRP_RATE
    assert (await server.http.get("/get_predefined_voices")).json()[0]["filename"] == "lark.chirp"
    done = await server.until(job_id, "completed", "failed")
    assert done["status"] == "completed", done


async def test_a_job_whose_engine_is_no_longer_offered_waits_and_others_go_on(server: Server) -> None:
    await server.http.post("/api/unload")
    waiting = await server.enqueue("Never mind.", engine="chirp")
    await server.http.post("/save_settings", json={"engine": {"also": ""}})
    assert (await server.http.post("/restart_server")).status_code == 200
    assert await rate_of(server) == TONE_RATE
    found = await server.status(waiting)
    assert (found["status"], found["waiting_for"]) == ("queued", "engine chirp")
    await server.http.post("/save_settings", json={"engine": {"also": "chirp"}})
    assert (await server.http.post("/restart_server")).status_code == 200
    assert (await server.until(waiting, "completed"))["status"] == "completed"


async def test_the_interpreter_of_an_engine_cannot_be_set_over_http(server: Server) -> None:
    answer = await server.http.post("/save_settings", json={"engines": {"chirp": {"python": "/bin/sh"}}})
    assert answer.status_code == 403
    assert "engines.chirp.python" in answer.json()["detail"]
    assert (await server.http.post("/save_settings", json={"engines": {"chirp": {"threads": 2}}})).status_code == 200
    wrong = await server.http.post("/save_settings", json={"engines": {"chirp": {"device": "tpu"}}})
    assert wrong.status_code == 422
    assert "engines.chirp.device" in wrong.json()["detail"]
