"""The kept part of the HTTP contract and its bad input, over real HTTP with the tone engine."""

import asyncio
import io
import json
import re
import wave
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio

from rhapsode.jobs.shop import Shop
from rhapsode.jobs.stored import store_result
from tests.serving import Server, serving, settings_for

FORMATS = {"wav": "audio/wav", "opus": "audio/opus", "mp3": "audio/mpeg", "flac": "audio/flac"}
MAGIC = {"wav": b"RIFF", "opus": b"OggS", "flac": b"fLaC"}


pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server(tmp_path_factory):
    async with serving(settings_for(tmp_path_factory.mktemp("server"))) as running:
        yield running


async def jobs(server: Server) -> list[dict[str, Any]]:
    return list((await server.http.get("/tts")).json()["jobs"])


def frames(data: bytes) -> int:
    with wave.open(io.BytesIO(data)) as file:
        return int(file.getnframes())


async def test_speech_comes_back_with_the_headers_of_the_contract(server: Server):
    answer = await server.http.post("/tts", json={"text": "Hello world.", "seed": 7, "predefined_voice_id": "tone"})
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "audio/wav"
    assert int(answer.headers["content-length"]) == len(answer.content)
    assert re.fullmatch(
        r'attachment; filename="tts_output_tone_\d{8}_\d{6}\.wav"', answer.headers["content-disposition"]
    )
    assert answer.headers["x-seed"] == "7"
    assert (await server.status(answer.headers["x-job-id"]))["status"] == "completed"
    assert frames(answer.content) > 0


async def test_short_answer_does_not_wait_for_the_disk_but_the_job_seems_finished_behind_it(
    server: Server, monkeypatch
):
    disk = asyncio.Event()

    async def slowly(shop: Shop, path: Path, name: str) -> None:
        await disk.wait()
        await store_result(shop, path, name)

    monkeypatch.setattr("rhapsode.jobs.joiner.store_result", slowly)
    body = {"text": "The disk is slow 🐢 today, so nobody waits for it.", "seed": 3}
    answer = await asyncio.wait_for(server.http.post("/tts", json=body), 20)
    job_id = answer.headers["x-job-id"]
    looking = [
        asyncio.create_task(server.http.get(path)) for path in (f"/tts/{job_id}/status", f"/tts/{job_id}/result")
    ]
    await asyncio.wait(looking, timeout=0.3)
    assert not any(task.done() for task in looking), "nobody sees the job unfinished behind its audio"
    disk.set()
    status, stored = await asyncio.gather(*looking)
    assert status.json()["status"] == "completed"
    assert stored.content == answer.content
    for name in ("etag", "content-type", "x-seed", "x-warnings", "accept-ranges"):
        assert stored.headers.get(name) == answer.headers.get(name), name


@pytest.mark.parametrize("name", FORMATS)
async def test_every_format_is_what_was_asked_for(server: Server, name: str):
    answer = await server.http.post("/tts", json={"text": "Hello world.", "output_format": name})
    assert answer.headers["content-type"] == FORMATS[name]
    assert answer.headers["content-disposition"].endswith(f'.{name}"')
    assert answer.content.startswith(MAGIC.get(name, b""))


async def test_enqueue_answers_at_once_and_the_result_waits(server: Server):
    answer = await server.http.post("/tts/enqueue", json={"text": "Hello world. And more."})
    assert answer.status_code == 202
    body = answer.json()
    assert body["status"] == "queued"
    assert {"job_id", "status", "message", "status_url", "result_url"} <= body.keys()
    done = await server.until(body["job_id"], "completed")
    assert done["progress"] == 100
    assert done["current_chunk"] == done["total_chunks"] > 0
    result = await server.http.get(body["result_url"])
    assert result.status_code == 200
    assert frames(result.content) > 0
    assert list(server.settings.job_queue.output_path.glob(f"tts_job_{body['job_id']}_*.wav"))


async def test_same_seed_same_bytes_and_other_seed_other_bytes(server: Server):
    async def speak(seed: int) -> bytes:
        return (await server.http.post("/tts", json={"text": "Hello world. And more.", "seed": seed})).content

    first, again, other = await speak(5), await speak(5), await speak(6)
    assert first == again != other


async def test_drawn_seeds_differ_and_are_reported(server: Server):
    seeds = {(await server.http.post("/tts", json={"text": "Hi.", "seed": s})).headers["x-seed"] for s in (0, -1, 0)}
    assert len(seeds) == 3
    assert not seeds & {"0", "-1"}


async def test_status_has_every_kept_field(server: Server):
    job_id = await server.enqueue("Hello.")
    found = await server.until(job_id, "completed")
    for name in ("created_at", "started_at", "completed_at"):
        assert re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d", str(found[name]))
    assert {"job_id", "status", "progress", "current_chunk", "total_chunks", "elapsed_sec", "error"} <= found.keys()


@pytest.mark.parametrize(
    "name", ["nonsense", "5a4bd3ae-27a2-4d47-8a6b-6f1a2b3c4d5e", "..%2f..%2fetc", "%00", "a" * 300]
)
@pytest.mark.parametrize("path", ["status", "result", "audio"])
async def test_unknown_and_malformed_ids_are_not_found(server: Server, name: str, path: str):
    assert (await server.http.get(f"/tts/{name}/{path}")).status_code == 404


async def test_result_too_early_then_gone_after_cancel(server: Server):
    job_id = await server.enqueue("slow words " * 200, predefined_voice_id="tone-slow")
    early = await server.http.get(f"/tts/{job_id}/result")
    assert early.status_code == 425
    assert early.headers["retry-after"]
    assert early.headers["cache-control"] == "no-store"
    cancelled = await server.http.delete(f"/tts/{job_id}")
    assert cancelled.json() == {"message": f"Job {job_id} cancelled successfully"}
    assert (await server.http.delete(f"/tts/{job_id}")).status_code == 200
    assert (await server.http.get(f"/tts/{job_id}/result")).status_code == 410
    assert (await server.status(job_id))["status"] == "cancelled"


async def test_completed_job_cannot_be_cancelled_but_purged(server: Server):
    job_id = await server.enqueue("Hello.")
    await server.until(job_id, "completed")
    assert (await server.http.delete(f"/tts/{job_id}")).status_code == 409
    assert (await server.http.get(f"/tts/{job_id}/result")).status_code == 200
    assert (await server.http.delete(f"/tts/{job_id}?purge=true")).status_code == 200
    for path in ("status", "result", "audio"):
        assert (await server.http.get(f"/tts/{job_id}/{path}")).status_code == 410
    assert not list(server.settings.job_queue.output_path.glob(f"*{job_id}*"))


async def test_cancelled_job_goes_on_after_retry(server: Server):
    job_id = await server.enqueue("slow words here. " * 60, predefined_voice_id="tone-slow")
    while (await server.status(job_id))["current_chunk"] < 1:
        await asyncio.sleep(0.02)
    await server.http.delete(f"/tts/{job_id}")
    before = await server.status(job_id)
    answer = await server.http.post(f"/tts/{job_id}/retry")
    assert answer.status_code == 202
    after = await server.until(job_id, "completed", timeout_s=60)
    assert after["run"] == 2
    assert after["current_chunk"] >= before["current_chunk"]


async def test_ranges_and_validators(server: Server):
    job_id = await server.enqueue("Hello world.")
    await server.until(job_id, "completed")
    url = f"/tts/{job_id}/result"
    whole = await server.http.get(url)
    part = await server.http.get(url, headers={"Range": "bytes=10-19"})
    assert part.status_code == 206
    assert part.content == whole.content[10:20]
    assert part.headers["content-range"] == f"bytes 10-19/{len(whole.content)}"
    etag = whole.headers["etag"]
    assert (await server.http.get(url, headers={"If-None-Match": etag})).status_code == 304
    same = await server.http.get(url, headers={"Range": "bytes=0-0", "If-Range": etag})
    assert same.status_code == 206
    other = await server.http.get(url, headers={"Range": "bytes=0-0", "If-Range": '"other"'})
    assert other.status_code == 200
    head = await server.http.head(url)
    assert head.headers["content-length"] == whole.headers["content-length"]
    assert not head.content
    assert (await server.http.get(url, headers={"Range": "bytes=99999999-"})).status_code == 416


@pytest.mark.parametrize(
    ("body", "status", "field"),
    [
        ({"text": ""}, 422, "text"),
        ({"text": " \n\t"}, 422, "text"),
        ({}, 422, "text"),
        ({"text": 5}, 422, "text"),
        ({"text": "Hi", "chunk_size": 49}, 422, "chunk_size"),
        ({"text": "Hi", "chunk_size": 501}, 422, "chunk_size"),
        ({"text": "Hi", "chunk_size": "many"}, 422, "chunk_size"),
        ({"text": "Hi", "voice_mode": "other"}, 422, "voice_mode"),
        ({"text": "Hi", "output_format": "ogg"}, 422, "output_format"),
        ({"text": "Hi", "speed_factor": 5}, 422, "speed_factor"),
        ({"text": "Hi", "temperature": -1}, 422, "temperature"),
        ({"text": "Hi", "seed": -2}, 422, "seed"),
        ({"text": "Hi", "priority": "soon"}, 422, "priority"),
        ({"text": "Hi", "predefined_voice_id": "nobody"}, 404, "predefined_voice_id"),
        ({"text": "Hi", "predefined_voice_id": "../../etc/passwd"}, 404, "predefined_voice_id"),
        ({"text": "Hi", "predefined_voice_id": "/etc/passwd"}, 404, "predefined_voice_id"),
        ({"text": "Hi", "predefined_voice_id": "tone\u0000"}, 404, "predefined_voice_id"),
        ({"text": "Hi", "voice_mode": "clone"}, 400, "reference_audio_filename"),
        ({"text": "Hi", "voice_mode": "clone", "reference_audio_filename": "../x.wav"}, 400, "voice_mode"),
        ({"text": "x" * 5_500_001}, 413, "text"),
    ],
)
@pytest.mark.parametrize("path", ["/tts", "/tts/enqueue"])
async def test_bad_input_names_the_field_and_leaves_nothing(server: Server, path: str, body, status: int, field: str):
    before = await jobs(server), sorted(server.settings.job_queue.output_path.iterdir())
    answer = await server.http.post(path, json=body)
    assert answer.status_code == status, answer.text
    problem = answer.json()
    assert answer.headers["content-type"] == "application/problem+json"
    assert isinstance(problem["detail"], str)
    assert field in problem["detail"]
    assert field in problem["errors"][0]["pointer"]
    assert before == (await jobs(server), sorted(server.settings.job_queue.output_path.iterdir()))


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b"null", b'"text"', b"\xff\xfe", b'{"text": "\\ud800"}'])
async def test_what_is_no_json_is_refused(server: Server, data: bytes):
    answer = await server.http.post("/tts/enqueue", content=data)
    assert answer.status_code == 422
    assert answer.json()["detail"]


async def test_body_over_the_limit_is_refused_unread(tmp_path):
    async with serving(settings_for(tmp_path, limits__max_body_bytes=2000)) as server:

        async def pieces():
            for _ in range(100):
                yield b"x" * 1000

        assert (await server.http.post("/tts/enqueue", content=b"x" * 3000)).status_code == 413
        assert (await server.http.post("/tts/enqueue", content=pieces())).status_code == 413


async def test_numbers_as_strings_and_nulls_and_unknown_fields_are_taken(server: Server):
    body = {
        "text": "Hello.",
        "chunk_size": "80",
        "speed_factor": "1.5",
        "seed": "9",
        "temperature": None,
        "exaggeration": None,
        "language": "",
        "output_format": None,
        "split_text": "true",
        "whatever": [1],
    }
    answer = await server.http.post("/tts", json=body)
    assert answer.status_code == 200
    assert answer.headers["x-seed"] == "9"


async def test_control_the_engine_lacks_is_a_warning(server: Server):
    answer = await server.http.post("/tts", json={"text": "Hello.", "exaggeration": 0.7})
    assert answer.status_code == 200
    assert "exaggeration" in answer.headers["x-warnings"]
    assert "exaggeration" in str((await server.status(answer.headers["x-job-id"]))["warnings"])


async def test_text_with_nothing_to_speak_fails_with_a_reason(server: Server):
    answer = await server.http.post("/tts", json={"text": "... !!! —"})
    assert answer.status_code == 500
    assert "nothing" in answer.json()["detail"]


async def test_failed_segment_fails_the_job_and_is_named(server: Server):
    answer = await server.http.post("/tts", json={"text": "Good one. This is !raise! bad. Good again."})
    assert answer.status_code == 500
    assert "segment 1" in answer.json()["detail"]
    found = await server.status(answer.headers["x-job-id"])
    assert found["status"] == "failed"
    assert found["segments"]["failed"] == 1
    assert (await server.http.get(f"/tts/{answer.headers['x-job-id']}/result")).status_code == 500


async def test_client_that_leaves_cancels_its_job(server: Server):
    with pytest.raises(httpx.ReadTimeout):
        await server.http.post(
            "/tts", json={"text": "slow words " * 300, "predefined_voice_id": "tone-slow"}, timeout=0.5
        )
    newest = (await jobs(server))[0]
    found = await server.until(str(newest["job_id"]), "cancelled", timeout_s=5)
    assert found["current_chunk"] < found["total_chunks"]


async def test_live_audio_is_the_finished_file_sample_for_sample(server: Server):
    job_id = await server.enqueue("slow words here. " * 30, predefined_voice_id="tone-slow")
    live = await server.http.get(f"/tts/{job_id}/audio?format=pcm")
    assert live.status_code == 200
    assert "content-length" not in live.headers
    await server.until(job_id, "completed")
    final = await server.http.get(f"/tts/{job_id}/result")
    with wave.open(io.BytesIO(final.content)) as file:
        assert file.readframes(file.getnframes()) == live.content


async def test_live_audio_begins_before_the_job_is_done(server: Server):
    job_id = await server.enqueue("slow words here. " * 60, predefined_voice_id="tone-slow")
    async with server.http.stream("GET", f"/tts/{job_id}/audio?format=mp3") as live:
        assert live.headers["content-type"] == "audio/mpeg"
        async for piece in live.aiter_bytes():
            assert piece
            break
        assert (await server.status(job_id))["status"] == "running"


async def test_stream_of_a_job_that_is_cancelled_breaks_off(server: Server):
    job_id = await server.enqueue("slow words here. " * 100, predefined_voice_id="tone-slow")
    with pytest.raises(httpx.RemoteProtocolError):
        async with server.http.stream("GET", f"/tts/{job_id}/audio?format=mp3") as live:
            async for _ in live.aiter_bytes():
                await server.http.delete(f"/tts/{job_id}")


async def test_live_audio_from_a_later_segment(server: Server):
    job_id = await server.enqueue("slow words here. " * 60, predefined_voice_id="tone-slow", chunk_size=50)
    while not (await server.status(job_id))["segments"]["planned"]:
        await asyncio.sleep(0.02)
    total = (await server.status(job_id))["total_chunks"]
    answer = await server.http.get(f"/tts/{job_id}/audio?format=pcm&segment={total - 2}")
    assert answer.status_code == 200
    assert (await server.status(job_id))["current_chunk"] < total
    assert (await server.http.get(f"/tts/{job_id}/audio?segment={total}")).status_code == 422
    assert (await server.http.get(f"/tts/{job_id}/audio?segment=x")).status_code == 422
    assert (await server.http.get(f"/tts/{job_id}/audio?format=ogg")).status_code == 422


async def test_stream_true_streams_and_leaving_it_cancels(server: Server):
    body = {"text": "slow words here. " * 100, "predefined_voice_id": "tone-slow", "stream": True}
    async with server.http.stream("POST", "/tts", json=body) as live:
        job_id = live.headers["x-job-id"]
        async for _ in live.aiter_bytes():
            break
    assert (await server.until(job_id, "cancelled", timeout_s=5))["status"] == "cancelled"


async def test_idempotency_key_gives_the_same_job(server: Server):
    async def send(text: str) -> httpx.Response:
        return await server.http.post("/tts/enqueue", json={"text": text}, headers={"Idempotency-Key": "k1"})

    first, *others = await asyncio.gather(*(send("Hello.") for _ in range(8)))
    assert {answer.json()["job_id"] for answer in others} == {first.json()["job_id"]}
    assert (await send("Other.")).status_code == 422
    waiting = await server.http.post("/tts", json={"text": "Hello."}, headers={"Idempotency-Key": "k1"})
    assert waiting.status_code == 422  # its job would end with its waiter


async def test_health_and_lists(server: Server):
    assert (await server.http.get("/livez")).json() == {"status": "ok"}
    assert (await server.http.get("/readyz")).status_code == 200
    voices = (await server.http.get("/get_predefined_voices")).json()
    assert {"display_name", "filename"} <= voices[0].keys()
    (server.settings.tts_engine.reference_audio_path).mkdir(parents=True, exist_ok=True)
    (server.settings.tts_engine.reference_audio_path / "me.wav").write_bytes(b"x")
    assert (await server.http.get("/get_reference_files")).json() == ["me.wav"]


async def test_cross_origin_pages_may_call(server: Server):
    answer = await server.http.get("/livez", headers={"Origin": "null"})
    assert answer.headers["access-control-allow-origin"] == "*"
    asked = {"Origin": "http://a", "Access-Control-Request-Method": "DELETE"}
    preflight = await server.http.options("/tts/x", headers=asked)
    assert "DELETE" in preflight.headers["access-control-allow-methods"]


async def test_kept_job_has_no_expiry(server: Server):
    job_id = await server.enqueue("Hello.")
    await server.until(job_id, "completed")
    kept = (await server.http.post(f"/tts/{job_id}/keep")).json()
    assert kept["kept"]
    assert kept["expires_at"] is None


async def test_openapi_describes_the_bodies(server: Server):
    document = (await server.http.get("/openapi.json")).json()
    assert "text" in json.dumps(document["paths"]["/tts"]["post"]["requestBody"])


@pytest.mark.parametrize(
    ("method", "path", "body", "pointer"),
    [
        ("PATCH", "/tts/{}", '{"tags": 5}', "/tags"),
        ("PATCH", "/tts/{}", '{"tags": ["a", 5]}', "/tags/1"),
        ("PATCH", "/tts/{}", "no json", ""),
        ("GET", "/tts?limit=0", "", "/limit"),
        ("POST", "/tts/enqueue", '{"text": "Hi.", "chunk_size": 1}', "/chunk_size"),
        ("POST", "/tts/enqueue", "no json", ""),
    ],
)
async def test_pointers_lead_into_the_body_or_name_a_parameter(
    server: Server, method: str, path: str, body: str, pointer: str
):
    job_id = await server.enqueue("Hello.")
    answer = await server.http.request(method, path.format(job_id), content=body)
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["pointer"] == pointer, answer.text
    assert answer.json()["detail"].startswith(pointer.strip("/").replace("/", ".") or "body")
