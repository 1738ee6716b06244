"""The list of jobs over real HTTP with the tone engine."""

import httpx
import pytest
import pytest_asyncio

from tests.serving import Server, serving, settings_for

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server(tmp_path_factory):
    async with serving(settings_for(tmp_path_factory.mktemp("history"))) as running:
        yield running


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def submitted(server: Server) -> list[str]:
    """Ids of seven jobs, newest first; the newest but one is cancelled."""
    ids = [await server.enqueue(f"Job number {n}.", predefined_voice_id="tone") for n in range(5)]
    for job_id in ids:
        await server.until(job_id, "completed")
    slow = await server.enqueue("A long sentence. " * 200, predefined_voice_id="tone-slow")
    assert (await server.http.delete(f"/tts/{slow}")).status_code == 200
    last = await server.enqueue("The last one.", predefined_voice_id="tone")
    await server.until(last, "completed")
    return [last, slow, *reversed(ids)]


async def test_newest_first_and_as_their_status_says(server: Server, submitted: list[str]):
    answer = await server.http.get("/tts")
    assert [job["job_id"] for job in answer.json()["jobs"]] == submitted
    assert answer.json()["next_cursor"] is None
    assert "link" not in answer.headers
    first = answer.json()["jobs"][0]
    assert first == await server.status(submitted[0]) | {
        "text_excerpt": "The last one.", "batch_id": None, "custom_id": None
    }  # fmt: skip


async def test_pages_leave_nothing_out_and_show_nothing_twice(server: Server, submitted: list[str]):
    url: httpx.URL | str = "/tts?limit=3&status=completed"
    seen, pages = [], 0
    while url:
        answer = await server.http.get(url)
        seen += [job["job_id"] for job in answer.json()["jobs"]]
        pages += 1
        url = answer.links.get("next", {}).get("url", "")
        assert bool(url) == bool(answer.json()["next_cursor"])
        if pages == 1:
            await server.until(await server.enqueue("In between.", predefined_voice_id="tone"), "completed")
    assert seen == [job_id for job_id in submitted if job_id != submitted[1]]
    assert pages == 2


async def test_only_one_status(server: Server, submitted: list[str]):
    found = (await server.http.get("/tts", params={"status": "cancelled"})).json()["jobs"]
    assert [job["job_id"] for job in found] == [submitted[1]]


@pytest.mark.parametrize(
    ("query", "named"),
    [("status=done", "status"), ("limit=0", "limit"), ("limit=many", "limit"), ("cursor=abc", "cursor"),
     ("priority=urgent", "priority"), ("created_after=yesterday", "created_after"), ("created_before=0000-01-01", "created_before"),
     ("q=" + "x" * 201, "q"), ("tag=", "tag"), ("cursor=%C3%A9", "cursor"), ("cursor=bmFuIHg", "cursor")],
)  # fmt: skip
async def test_bad_input_names_the_field(server: Server, query: str, named: str):
    answer = await server.http.get(f"/tts?{query}")
    assert answer.status_code == 422
    assert named in answer.json()["detail"]
