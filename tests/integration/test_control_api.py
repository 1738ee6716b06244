"""Search, change, dry run and waiting over real HTTP with the tone engine."""

import asyncio
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
import pytest_asyncio

from rhapsode.api.schemas import JobList, Plan, Resource
from tests.serving import Server, serving, settings_for

pytestmark = pytest.mark.asyncio(loop_scope="module")

SLOW = {"predefined_voice_id": "tone-slow"}
LONG = "A rather long sentence that takes its time. " * 400


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server(tmp_path_factory: pytest.TempPathFactory):
    async with serving(settings_for(tmp_path_factory.mktemp("control"))) as running:
        yield running


async def ids(server: Server, **params: Any) -> list[str]:
    answer = await server.http.get("/tts", params=params)
    assert answer.status_code == 200, answer.text
    JobList.model_validate_json(answer.content)
    return [job["job_id"] for job in answer.json()["jobs"]]


# -- history --------------------------------------------------------------------------------------------------------


async def test_jobs_are_found_by_tags_words_and_time(server: Server) -> None:
    whale = await server.enqueue("Call me Ishmael. Some years ago.", tags=["novel", "sea"], predefined_voice_id="tone")
    await server.enqueue("It was the best of times.", tags=["novel"], predefined_voice_id="tone")
    assert await ids(server, tag=["novel", "sea"]) == [whale]
    assert await ids(server, q="ISHMAEL years") == [whale]
    assert await ids(server, q="ishmael times") == []
    assert await ids(server, q=whale[:8]) == [whale]
    assert len(await ids(server, tag="novel", voice="tone")) == 2
    assert await ids(server, tag="novel", voice="tone-slow") == []
    later = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    assert len(await ids(server, tag="novel", created_before=later)) == 2
    assert await ids(server, tag="novel", created_after=later) == []
    unquoted = f"/tts?tag=novel&created_after=2020-01-01T00:00:00+02:00&created_before={later.replace('+', '%2B')}"
    assert len((await server.http.get(unquoted)).json()["jobs"]) == 2
    assert len(await ids(server, tag="novel", status=["queued", "running", "completed"])) == 2
    assert await ids(server, tag="novel", priority="batch") == []


async def test_the_next_page_keeps_the_filters(server: Server) -> None:
    made = [await server.enqueue(f"Page {n}.", tags=["page"], predefined_voice_id="tone") for n in range(5)]
    url, seen = "/tts?tag=page&q=page&limit=2", []
    while url:
        answer = await server.http.get(url)
        seen += [job["job_id"] for job in answer.json()["jobs"]]
        url = answer.links.get("next", {}).get("url", "")
    assert seen == made[::-1]


async def test_a_job_tells_what_was_asked_for_so_that_it_can_be_asked_again(server: Server) -> None:
    asked = {
        "predefined_voice_id": "tone", "output_format": "mp3", "chunk_size": 80, "seed": 77, "speed_factor": 1.5,
        "priority": "batch", "tags": ["x"],
    }  # fmt: skip
    job_id = await server.enqueue("  One.\n\nTwo.  ", **asked)
    await server.until(job_id, "completed")
    answer = await server.http.get(f"/tts/{job_id}")
    Resource.model_validate_json(answer.content)
    found = answer.json()
    assert found["text_excerpt"] == "One. Two."
    assert {name: found["request"][name] for name in asked} == asked
    assert (await server.http.get(f"/tts/{job_id}/text")).text == "  One.\n\nTwo.  "
    again = await server.enqueue("  One.\n\nTwo.  ", **found["request"])
    await server.until(again, "completed")
    audio = [(await server.http.get(f"/tts/{one}/result")).content for one in (job_id, again)]
    assert audio[0] == audio[1]
    for path in ("", "/text"):
        assert (await server.http.get(f"/tts/nonsense{path}")).status_code == 404


async def test_a_long_text_comes_back_whole(server: Server) -> None:
    text = "Grüße \U0001f600 aus der Ferne.\r\n" * 20_000
    job_id = await server.enqueue(text, **SLOW)
    answer = await server.http.get(f"/tts/{job_id}/text")
    assert answer.content.decode() == text
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    await server.http.delete(f"/tts/{job_id}?purge=true")
    assert (await server.http.get(f"/tts/{job_id}/text")).status_code == 410


# -- change ---------------------------------------------------------------------------------------------------------


async def test_another_priority_is_another_place_in_the_queue_at_once(tmp_path) -> None:
    async with serving(settings_for(tmp_path)) as server:
        busy = [await server.enqueue(LONG, **SLOW) for _ in range(2)]
        first, second, third = [await server.enqueue(f"{LONG} {n}", **SLOW, priority="batch") for n in range(3)]

        async def places() -> dict[str, int]:
            return {one: (await server.status(one))["queue_position"] for one in (first, second, third)}

        before = await places()
        assert before[first] < before[second] < before[third]
        answer = await server.http.patch(f"/tts/{third}", json={"priority": "interactive", "tags": ["now"]})
        assert (answer.status_code, answer.json()["priority"], answer.json()["tags"]) == (200, "interactive", ["now"])
        async with asyncio.timeout(20):
            while (await server.status(third))["status"] != "running" or not (await server.status(third))[
                "current_chunk"
            ]:
                await asyncio.sleep(0.02)
        assert (await server.status(first))["status"] == "queued"
        answer = await server.http.patch(
            f"/tts/{first}", content='{"tags": ["a"]}', headers={"Content-Type": "application/merge-patch+json"}
        )
        assert answer.json()["tags"] == ["a"]
        assert (await server.http.patch(f"/tts/{first}", json={"tags": None})).json()["tags"] == []
        for one in (*busy, first, second, third):
            await server.http.delete(f"/tts/{one}")
        assert (await server.http.patch(f"/tts/{first}", json={"priority": "normal"})).status_code == 409
        assert (await server.http.patch(f"/tts/{first}", json={"tags": ["over"]})).json()["tags"] == ["over"]


@pytest.mark.parametrize(
    ("body", "named"),
    [({}, "priority"), ({"other": 1}, "priority"), ({"priority": "soon"}, "priority"), ({"priority": None}, "priority"),
     ({"tags": "x"}, "tags"), ({"tags": [""]}, "tags"), ({"tags": ["x" * 65]}, "tags"), ({"tags": ["x"] * 33}, "tags")],
)  # fmt: skip
async def test_a_wrong_change_names_the_field(server: Server, body: object, named: str) -> None:
    job_id = await server.enqueue("Short.", predefined_voice_id="tone")
    answer = await server.http.patch(f"/tts/{job_id}", json=body)
    assert answer.status_code == 422
    assert named in answer.json()["detail"]


async def test_a_key_gets_no_more_than_its_priority(tmp_path) -> None:
    async with serving(settings_for(tmp_path)) as server:
        admin = (await server.http.post("/keys", json={"name": "root", "scopes": ["admin"]})).json()["secret"]
        as_admin = {"Authorization": f"Bearer {admin}"}
        made = await server.http.post(
            "/keys",
            json={"name": "slow", "scopes": ["submit", "read"], "limits": {"priority": "batch"}},
            headers=as_admin,
        )
        headers = {"Authorization": f"Bearer {made.json()['secret']}"}
        body = {"text": LONG, **SLOW}
        asked = await server.http.post("/tts/enqueue", json=body | {"priority": "high"}, headers=headers)
        job_id = asked.json()["job_id"]
        assert any("priority" in warning for warning in asked.json()["warnings"])
        plain = await server.http.post("/tts/enqueue", json=body, headers=headers)
        assert plain.json()["warnings"] == []
        for one in (job_id, plain.json()["job_id"]):
            assert (await server.http.get(f"/tts/{one}/status", headers=headers)).json()["priority"] == "batch"
        changed = await server.http.patch(f"/tts/{job_id}", json={"priority": "normal"}, headers=headers)
        assert changed.json()["priority"] == "batch"
        assert any("normal is more than" in warning for warning in changed.json()["warnings"])
        raised = await server.http.patch(f"/tts/{job_id}", json={"priority": "normal"}, headers=as_admin)
        assert raised.json()["priority"] == "normal"


# -- dry run --------------------------------------------------------------------------------------------------------


async def test_a_dry_run_tells_what_then_happens_and_stores_nothing(server: Server) -> None:
    await server.until(
        await server.enqueue("Something to measure by, said at length. " * 300, predefined_voice_id="tone-chars"),
        "completed",
    )
    body = {
        "text": "# One\n\n" + "It is a sentence of some length, which goes on. " * 300,
        "predefined_voice_id": "tone-chars",
    }
    before = await ids(server, limit=500)
    answer = await server.http.post("/tts/plan", json=body)
    assert answer.status_code == 200, answer.text
    Plan.model_validate_json(answer.content)
    plan = answer.json()
    assert await ids(server, limit=500) == before
    job_id = await server.enqueue(**body)
    status = await server.until(job_id, "completed")
    assert plan["totals"]["segments"] == status["total_chunks"] == len(plan["segments"])
    made = (await server.http.get(f"/tts/{job_id}/segments", params={"limit": 1000})).json()["segments"]
    names = ("index", "start", "end", "text", "chars", "boundary", "voice", "pause_before_seconds", "speed")
    assert plan["segments"] == [{name: segment[name] for name in names} for segment in made]
    length = (await server.http.get(f"/tts/{job_id}/peaks?points=1")).json()["duration_seconds"]
    assert plan["audio_seconds"] == pytest.approx(length, rel=0.25)
    assert (
        plan["eta_seconds"]["p90"] >= plan["eta_seconds"]["p50"] >= 0
    )  # the tone engine takes no time worth a decimal
    size = int((await server.http.head(f"/tts/{job_id}/result")).headers["content-length"])
    assert plan["disk_bytes"] == pytest.approx(2 * size, rel=0.25)


async def test_nothing_is_estimated_before_anything_was_spoken(tmp_path) -> None:
    async with serving(settings_for(tmp_path)) as server:
        plan = (await server.http.post("/tts/plan", json={"text": "Hello there."})).json()
        assert (plan["audio_seconds"], plan["eta_seconds"], plan["disk_bytes"]) == (None, None, None)
        assert plan["totals"]["segments"] == 1


async def test_a_long_dry_run_shows_a_part_and_counts_all(server: Server) -> None:
    plan = (await server.http.post("/tts/plan", json={"text": "One short sentence is here.\n\n" * 3_000})).json()
    assert len(plan["segments"]) == 1_000
    assert plan["segments_truncated"]
    assert plan["totals"]["segments"] == 3_000


@pytest.mark.parametrize(
    ("body", "status"), [({}, 422), ({"text": " "}, 422), ({"text": "x", "predefined_voice_id": "no"}, 404)]
)
async def test_a_wrong_dry_run_is_refused_as_a_submit_is(server: Server, body: object, status: int) -> None:
    answers = [await server.http.post(path, json=body) for path in ("/tts/plan", "/tts/enqueue")]
    assert [answer.status_code for answer in answers] == [status, status]
    assert answers[0].json()["detail"] == answers[1].json()["detail"]


# -- Prefer: wait ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("what", ["result", "status"])
async def test_the_answer_waits_for_the_end(server: Server, what: str) -> None:
    job_id = await server.enqueue("A sentence that takes a moment. " * 8, **SLOW)
    answer = await server.http.get(f"/tts/{job_id}/{what}", headers={"Prefer": "wait=30"})
    assert answer.status_code == 200
    assert answer.headers["preference-applied"] == "wait=30"
    assert "Prefer" in answer.headers["vary"]
    if what == "status":
        assert answer.json()["status"] == "completed"


async def test_the_wait_is_over_in_time_and_a_client_that_leaves_is_forgotten(server: Server) -> None:
    job_id = await server.enqueue(LONG, **SLOW)
    begun = time.monotonic()
    answer = await server.http.get(f"/tts/{job_id}/result", headers={"Prefer": "wait=1"})
    assert 0.9 < time.monotonic() - begun < 10
    assert (answer.status_code, answer.headers["preference-applied"]) == (425, "wait=1")
    assert "preference-applied" not in (await server.http.get(f"/tts/{job_id}/result")).headers
    with pytest.raises(httpx.ReadTimeout):
        await server.http.get(f"/tts/{job_id}/result", headers={"Prefer": "wait=60"}, timeout=0.3)
    waiting = asyncio.create_task(server.http.get(f"/tts/{job_id}/status", headers={"Prefer": "wait=60"}))
    await asyncio.sleep(0.3)
    await server.http.delete(f"/tts/{job_id}")
    assert (await waiting).json()["status"] == "cancelled"


async def test_a_job_that_is_deleted_meanwhile_is_gone(server: Server) -> None:
    job_id = await server.enqueue(LONG, **SLOW)
    waiting = asyncio.create_task(server.http.get(f"/tts/{job_id}/result", headers={"Prefer": "wait=60"}))
    await asyncio.sleep(0.3)
    await server.http.delete(f"/tts/{job_id}?purge=true")
    assert (await waiting).status_code == 410


async def test_a_server_that_stops_waits_for_nobody(tmp_path) -> None:
    async with serving(settings_for(tmp_path)) as server:
        job_id = await server.enqueue(LONG, **SLOW)
        waiting = asyncio.create_task(server.http.get(f"/tts/{job_id}/result", headers={"Prefer": "wait=60"}))
        await asyncio.sleep(0.3)
        begun = time.monotonic()
        server.stop()
        assert (await waiting).status_code == 425
        assert time.monotonic() - begun < 10
