"""Batches and repeated requests over real HTTP with the tone engine."""

import asyncio
import io
import json
import zipfile
from pathlib import Path

import httpx
import pytest
import pytest_asyncio

from rhapsode.api.schemas import BatchAccepted, BatchJobs, BatchList, BatchStatus
from tests.serving import Server, serving, settings_for

pytestmark = pytest.mark.asyncio(loop_scope="module")

LONG = "A rather long sentence that takes its time. " * 200


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server(tmp_path_factory: pytest.TempPathFactory):
    settings = settings_for(tmp_path_factory.mktemp("batches"), limits__max_batch_requests=300)
    async with serving(settings) as running:
        yield running


def requests(count: int, **fields: object) -> list[dict[str, object]]:
    return [
        {"custom_id": f"c{n}", "text": f"This is number {n}.", "predefined_voice_id": "tone"} | fields
        for n in range(count)
    ]


async def ended(server: Server, batch_id: str) -> dict[str, object]:
    async with asyncio.timeout(60):
        while True:
            found = (await server.http.get(f"/batches/{batch_id}")).json()
            if found["status"] == "completed":
                return dict(found)
            await asyncio.sleep(0.05)


async def test_two_hundred_texts_of_which_five_are_wrong(server: Server) -> None:
    items = requests(200)
    items[3] = {"custom_id": "c3", "text": "  "}
    items[50]["predefined_voice_id"] = "nobody"
    items[51]["custom_id"] = "c0"
    items[52]["chunk_size"] = 7
    items[199] = "no object"  # type: ignore[call-overload]
    answer = await server.http.post("/tts/batch", json={"requests": items, "tags": ["all"], "priority": "batch"})
    assert answer.status_code == 202, answer.text
    BatchAccepted.model_validate_json(answer.content)
    batch = answer.json()
    assert answer.headers["location"] == f"/batches/{batch['batch_id']}"
    assert [(e["index"], e["status"]) for e in batch["errors"]] == [
        (3, 422),
        (50, 404),
        (51, 422),
        (52, 422),
        (199, 422),
    ]
    assert [e["errors"][0]["pointer"] for e in batch["errors"][:4]] == [
        "/text",
        "/predefined_voice_id",
        "/custom_id",
        "/chunk_size",
    ]
    single = await server.http.post("/tts/enqueue", json=items[52])
    assert batch["errors"][3]["detail"] == single.json()["detail"]
    assert batch["request_counts"]["total"] == 200
    assert batch["request_counts"]["refused"] == 5
    assert [job["index"] for job in batch["jobs"]] == [n for n in range(200) if n not in (3, 50, 51, 52, 199)]
    assert all(job["custom_id"] == f"c{job['index']}" for job in batch["jobs"])
    done = await ended(server, batch["batch_id"])
    BatchStatus.model_validate_json(json.dumps(done))
    assert done["progress"] == 100
    assert done["request_counts"] == {
        "total": 200, "queued": 0, "running": 0, "completed": 195, "failed": 0, "cancelled": 0, "refused": 5, "deleted": 0
    }  # fmt: skip
    page = await server.http.get(f"/batches/{batch['batch_id']}/jobs", params={"start": 190, "limit": 3})
    BatchJobs.model_validate_json(page.content)
    assert [job["index"] for job in page.json()["jobs"]] == [194, 195, 196]
    assert page.json()["next_start"] == 193
    assert page.json()["jobs"][0]["tags"] == ["all"]
    assert page.json()["jobs"][0]["priority"] == "batch"

    archive = await server.http.get(f"/batches/{batch['batch_id']}/result")
    assert archive.headers["content-type"] == "application/zip"
    with zipfile.ZipFile(io.BytesIO(archive.content)) as made:
        assert made.testzip() is None
        manifest = json.loads(made.read("manifest.json"))
        assert len(manifest["files"]) == 195
        assert len(made.namelist()) == 196
        for entry in manifest["files"][::40]:
            alone = await server.http.get(f"/tts/{entry['job_id']}/result")
            assert made.read(entry["file"]) == alone.content
            assert entry["file"] == f"{entry['custom_id']}.wav"
            assert entry["duration_seconds"] > 0


async def test_defaults_apply_where_a_request_says_nothing(server: Server) -> None:
    body = {
        "requests": [{"text": "One."}, {"text": "Two.", "output_format": "flac", "tags": ["own"]}],
        "defaults": {"output_format": "mp3", "predefined_voice_id": "tone"},
        "tags": ["all"],
    }
    batch = (await server.http.post("/tts/batch", json=body)).json()
    await ended(server, batch["batch_id"])
    jobs = (await server.http.get(f"/batches/{batch['batch_id']}/jobs")).json()["jobs"]
    assert [job["output_format"] for job in jobs] == ["mp3", "flac"]
    assert [job["tags"] for job in jobs] == [["all"], ["own", "all"]]
    archive = await server.http.get(f"/batches/{batch['batch_id']}/result")
    assert zipfile.ZipFile(io.BytesIO(archive.content)).namelist() == ["manifest.json", "0.mp3", "1.flac"]


@pytest.mark.parametrize(
    ("body", "named"),
    [({}, "requests"), ({"requests": []}, "requests"), ({"requests": [{"text": ""}]}, "text"), ({"requests": [{}] * 301}, "300"),
     ({"requests": [{"text": "x"}], "priority": "soon"}, "priority"), ({"requests": [{"text": "x"}], "webhook_url": "ftp://x"}, "webhook_url"),
     ({"requests": [{"text": "x", "custom_id": "x" * 129}]}, "custom_id")],
)  # fmt: skip
async def test_a_wrong_batch_stores_nothing_and_says_why(server: Server, body: object, named: str) -> None:
    before = (await server.http.get("/batches")).json()
    answer = await server.http.post("/tts/batch", json=body)
    assert answer.status_code == 422, answer.text
    assert named in answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert (await server.http.get("/batches")).json() == before


async def test_a_batch_is_cancelled_partly_fetched_and_deleted(server: Server) -> None:
    items = [*requests(2), *requests(2, text=LONG, predefined_voice_id="tone-slow")]
    for item in items[2:]:
        del item["custom_id"]
    batch_id = (await server.http.post("/tts/batch", json={"requests": items})).json()["batch_id"]
    async with asyncio.timeout(30):
        while (await server.http.get(f"/batches/{batch_id}")).json()["request_counts"]["completed"] < 2:
            await asyncio.sleep(0.05)
    early = await server.http.get(f"/batches/{batch_id}/result")
    assert (early.status_code, int(early.headers["retry-after"]) > 0) == (425, True)
    partial = await server.http.get(f"/batches/{batch_id}/result?partial=true")
    assert zipfile.ZipFile(io.BytesIO(partial.content)).namelist() == ["manifest.json", "c0.wav", "c1.wav"]
    cancelled = await server.http.delete(f"/batches/{batch_id}")
    assert cancelled.json()["cancelled"] == 2
    assert (await server.http.delete(f"/batches/{batch_id}")).json()["cancelled"] == 0
    found = await ended(server, batch_id)
    assert found["request_counts"]["cancelled"] == 2  # type: ignore[index]
    manifest = json.loads(
        zipfile.ZipFile(io.BytesIO((await server.http.get(f"/batches/{batch_id}/result")).content)).read(
            "manifest.json"
        )
    )
    assert [entry["status"] for entry in manifest["files"]] == ["completed", "completed", "cancelled", "cancelled"]
    assert (await server.http.delete(f"/batches/{batch_id}?purge=true")).status_code == 200
    assert (await server.http.get(f"/batches/{batch_id}/result")).status_code == 410
    assert (await server.http.get(f"/batches/{batch_id}")).json()["request_counts"]["deleted"] == 4
    assert (await server.http.delete(f"/batches/{batch_id}?purge=true")).status_code == 200


async def test_batches_are_listed_by_page(server: Server) -> None:
    made = [(await server.http.post("/tts/batch", json={"requests": requests(1)})).json()["batch_id"] for _ in range(3)]
    answer = await server.http.get("/batches?limit=2")
    BatchList.model_validate_json(answer.content)
    following = await server.http.get(answer.links["next"]["url"])
    seen = [batch["batch_id"] for page in (answer, following) for batch in page.json()["batches"]]
    assert seen[:3] == made[::-1]
    assert (await server.http.get("/batches?cursor=x")).status_code == 422


@pytest.mark.parametrize("batch_id", ["nonsense", "00000000-0000-4000-8000-000000000000", "%2e%2e"])
async def test_an_unknown_batch_is_not_found(server: Server, batch_id: str) -> None:
    for method, path in [("GET", ""), ("GET", "/jobs"), ("GET", "/result"), ("DELETE", "")]:
        assert (await server.http.request(method, f"/batches/{batch_id}{path}")).status_code == 404


async def test_a_foreign_batch_is_not_found(tmp_path) -> None:
    async with serving(settings_for(tmp_path)) as server:
        secrets = []
        headers: dict[str, str] = {}
        for name, scopes in (("root", ["admin"]), ("a", ["submit", "read"]), ("b", ["submit", "read"])):
            made = await server.http.post("/keys", json={"name": name, "scopes": scopes}, headers=headers)
            secrets.append({"Authorization": f"Bearer {made.json()['secret']}"})
            headers = secrets[0]
        batch = (await server.http.post("/tts/batch", json={"requests": requests(2)}, headers=secrets[1])).json()
        for method, path in [("GET", ""), ("GET", "/jobs"), ("GET", "/result"), ("DELETE", "")]:
            address = f"/batches/{batch['batch_id']}{path}"
            assert (await server.http.request(method, address, headers=secrets[2])).status_code == 404
            assert (await server.http.request(method, address)).status_code == 401
        assert (await server.http.get("/batches", headers=secrets[2])).json()["batches"] == []
        for own in (secrets[0], secrets[1]):
            assert len((await server.http.get("/batches", headers=own)).json()["batches"]) == 1


# -- repeated requests ----------------------------------------------------------------------------------------------


async def test_sixty_four_duplicates_at_once_are_one_job(server: Server) -> None:
    body = {"text": "Only once, please.", "predefined_voice_id": "tone"}
    headers = {"Idempotency-Key": "sixty-four"}
    answers = await asyncio.gather(*(server.http.post("/tts/enqueue", json=body, headers=headers) for _ in range(64)))
    assert {answer.status_code for answer in answers} == {202}
    assert len({answer.json()["job_id"] for answer in answers}) == 1
    assert len({answer.json()["seed"] for answer in answers}) == 1
    assert sorted(answer.headers.get("idempotent-replayed", "") for answer in answers) == [""] + ["true"] * 63
    assert (await server.http.post("/tts/enqueue", json=body | {"seed": 5}, headers=headers)).status_code == 422
    job_id = answers[0].json()["job_id"]
    await server.http.delete(f"/tts/{job_id}?purge=true")
    fresh = await server.http.post("/tts/enqueue", json=body | {"seed": 5}, headers=headers)
    assert fresh.json()["job_id"] != job_id
    assert "idempotent-replayed" not in fresh.headers


async def test_duplicates_that_wait_get_the_same_audio(server: Server) -> None:
    body = {"text": "Said once, heard by many. " * 4, "predefined_voice_id": "tone-slow"}
    headers = {"Idempotency-Key": "waiting"}
    answers = await asyncio.gather(*(server.http.post("/tts", json=body, headers=headers) for _ in range(8)))
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.headers["x-job-id"] for answer in answers}) == 1
    assert len({answer.content for answer in answers}) == 1


async def test_sixteen_duplicates_of_a_batch_are_one(server: Server) -> None:
    body = {"requests": requests(3)}
    headers = {"Idempotency-Key": "batch"}
    answers = await asyncio.gather(*(server.http.post("/tts/batch", json=body, headers=headers) for _ in range(16)))
    assert {answer.status_code for answer in answers} == {202}
    assert len({json.dumps(answer.json()["jobs"]) for answer in answers}) == 1
    assert sum("idempotent-replayed" in answer.headers for answer in answers) == 15
    assert (await server.http.post("/tts/batch", json={"requests": requests(2)}, headers=headers)).status_code == 422


@pytest.mark.parametrize("key", ["", "two words", "x" * 256, "\u00fc"])
@pytest.mark.parametrize("path", ["/tts", "/tts/enqueue", "/tts/batch"])
async def test_a_wrong_key_names_the_header(server: Server, path: str, key: str) -> None:
    headers = httpx.Headers([(b"Idempotency-Key", key.encode("latin-1"))])
    answer = await server.http.post(path, json={"text": "x", "requests": requests(1)}, headers=headers)
    assert answer.status_code == 422
    assert "Idempotency-Key" in answer.json()["detail"]


async def test_what_was_taken_before_is_answered_again_when_nothing_more_is(tmp_path: Path) -> None:
    slow = {"text": "So slow, so slow. " * 50, "predefined_voice_id": "tone-slow"}
    async with serving(settings_for(tmp_path, limits__max_queued_jobs=2)) as full:

        async def send(path: str, key: str) -> httpx.Response:
            body = {"requests": [slow]} if path == "/tts/batch" else slow
            return await full.http.post(path, json=body, headers={"Idempotency-Key": key})

        paths = ("/tts/enqueue", "/tts/batch")
        first = [await send(path, "one") for path in paths]
        assert [(await send(path, "two")).status_code for path in paths] == [503, 503]
        again = [await send(path, "one") for path in paths]
        assert [answer.headers["idempotent-replayed"] for answer in again] == ["true", "true"]
        for before, now in zip(first, again, strict=True):
            assert now.headers["location"] == before.headers["location"]
