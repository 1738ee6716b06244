"""Nobody where they don't belong, looked at route by route: foreign names, foreign pages, foreign keys."""

import asyncio
import re
import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx
import pytest
import pytest_asyncio
from fastapi.routing import APIRoute
from starlette.routing import Route
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus
from websockets.typing import Origin

from rhapsode.api.app import routes as all_routes
from rhapsode.api.context import SameSite
from tests.serving import Server, serving, settings_for

pytestmark = pytest.mark.asyncio(loop_scope="module")

OPEN_TO_ALL = {"/", "/docs", "/openapi.json", "/livez", "/readyz", "/favicon.svg", "/session"}
"""Without a key, by intention: the page and its reference, health, and signing in and out."""
PARTS_OF_THE_PAGE = ("/assets/", "/ui/", "/vendor/", "/styles.css", "/script.js")
JOBS = {"/tts", "/tts/enqueue", "/tts/plan", "/tts/batch", "/v1/audio/speech"}
"""What pages of other sites may call while no key is needed (CORS of old), with everything under ``/tts/{id}`` and ``/batches``."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Server]:
    async with serving(settings_for(tmp_path_factory.mktemp("open"))) as running:
        yield running


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def closed(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[tuple[Server, str]]:
    """A server with keys, and the admin's."""
    async with serving(settings_for(tmp_path_factory.mktemp("closed"))) as running:
        answer = await running.http.post("/keys", json={"name": "admin", "scopes": ["admin"]})
        yield running, answer.json()["secret"]


def routes() -> Iterator[tuple[str, str, Route]]:
    """Method and path of everything the application answers."""
    for route in all_routes():
        for method in sorted(route.methods or ()):
            yield method, route.path, route


def address(path: str, **known: str) -> str:
    """The path with its parameters filled in."""
    return re.sub(r"{(\w+)(?::\w+)?}", lambda match: known.get(match[1], "0"), path)


# -- foreign names --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/", "/tts", "/api/ui/initial-data", "/keys", "/metrics", "/no/such"])
@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "10.0.0.7:8004", "[::ffff:a00:7]"])
async def test_a_name_that_is_not_ours_gets_nothing(server: Server, path: str, host: str) -> None:
    answer = await server.http.get(path, headers={"Host": host})
    assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")
    assert "server.allowed_hosts" in answer.json()["detail"]
    assert answer.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:1234", "127.0.0.1", "[::1]:8004", "127.1.2.3"])
async def test_the_names_of_this_machine_are_ours(server: Server, host: str) -> None:
    assert (await server.http.get("/tts", headers={"Host": host})).status_code == 200


async def test_a_websocket_under_a_foreign_name_is_refused(server: Server) -> None:
    port = httpx.URL(server.url).port
    with pytest.raises(InvalidStatus) as refused:
        async with connect(
            "ws://evil.example/ws", host="127.0.0.1", port=port, origin=Origin("http://evil.example"), proxy=None
        ):
            pass
    assert refused.value.response.status_code == 403


async def test_names_can_be_allowed_and_lan_addresses_need_no_list(tmp_path: Path) -> None:
    listed = settings_for(tmp_path / "a", server__allowed_hosts="tts.example, Other.Example")
    async with serving(listed) as named:
        for host, status in (
            ("tts.example", 200),
            ("other.example:444", 200),
            ("127.0.0.1", 200),
            ("evil.example", 403),
        ):
            assert (await named.http.get("/tts", headers={"Host": host})).status_code == status
    async with serving(settings_for(tmp_path / "b", server__host="0.0.0.0")) as lan:
        page = {"Host": "nas.local:8004", "Origin": "http://nas.local:8004"}
        stranger = {"Host": "evil.example", "Origin": "http://evil.example"}
        script = {"Host": "tts.example"}
        async with httpx.AsyncClient(base_url=lan.url) as http:
            for headers in (page, script, {"Host": "192.168.1.5:8004", "Origin": "http://192.168.1.5:8004"}):
                assert (await http.post("/save_settings", json={}, headers=headers)).status_code == 200
            refused = await http.post("/save_settings", json={}, headers=stranger)
            assert (refused.status_code, "server.allowed_hosts" in refused.text) == (403, True)
            assert (await http.post("/tts/enqueue", json={"text": "Hi."}, headers=stranger)).status_code == 202


# -- foreign pages --------------------------------------------------------------------------------------------------


async def test_everything_but_jobs_that_changes_something_refuses_pages_of_other_sites(server: Server) -> None:
    tried = 0
    for method, path, route in routes():
        if method in {"GET", "HEAD", "OPTIONS"} or path in JOBS or path.startswith(("/tts/{job_id}", "/batches")):
            continue
        assert isinstance(route, APIRoute)
        assert SameSite in route.dependencies, f"{method} {path}"
        for headers in ({"Origin": "http://evil.example"}, {"Origin": "null"}, {"Sec-Fetch-Site": "cross-site"}):
            answer = await server.http.request(method, address(path), headers=headers, json={})
            assert answer.status_code == 403, f"{method} {path}: {answer.text}"
        tried += 1
    assert tried >= 20


async def test_no_page_of_another_site_reads_the_secret_of_webhooks(server: Server) -> None:
    assert (await server.http.get("/webhooks/secret", headers={"Origin": "http://evil.example"})).status_code == 403
    assert (await server.http.get("/webhooks/secret")).status_code == 200


# -- headers --------------------------------------------------------------------------------------------------------


async def test_every_answer_says_what_browsers_may_do_with_it(server: Server) -> None:
    done = await server.http.post("/tts", json={"text": "Hello."})
    known = {"job_id": done.headers["x-job-id"], "n": "0", "voice_id": "tone"}
    seen = 0
    for method, path, _ in routes():
        if method != "GET" or path in {"/events", "/tts/{job_id}/events"}:
            continue
        answer = await server.http.get(address(path, **known))
        assert answer.headers["x-content-type-options"] == "nosniff", path
        assert answer.headers["referrer-policy"] == "no-referrer", path
        if not answer.headers.get("content-type", "").startswith("audio/"):
            assert "frame-ancestors 'none'" in answer.headers["content-security-policy"], path
        assert "unsafe-eval" not in answer.headers.get("content-security-policy", "")
        seen += 1
    assert seen >= 40
    page = (await server.http.get("/")).headers["content-security-policy"]
    assert "default-src 'none'" in page
    assert "script-src 'self'" in page
    assert "unsafe" not in page


async def test_a_page_of_the_operators_own_may_load_what_it_likes(tmp_path: Path) -> None:
    (tmp_path / "own" / "ui").mkdir(parents=True)
    (tmp_path / "own" / "index.html").write_text("<script src=/ui/a.js></script>")
    (tmp_path / "own" / "ui" / "a.js").write_text("1")
    async with serving(settings_for(tmp_path, ui__directory=tmp_path / "own")) as own:
        for path in ("/", "/ui/a.js"):
            answer = await own.http.get(path)
            assert answer.headers["content-security-policy"] == "frame-ancestors 'self'"
            assert answer.headers["x-content-type-options"] == "nosniff"


async def test_a_part_that_is_not_there_is_a_problem_wherever_it_is_asked_for(tmp_path: Path) -> None:
    settings = settings_for(tmp_path)
    settings.paths.output.mkdir(parents=True)
    (settings.paths.output / "saved.wav").write_bytes(bytes(100))
    async with serving(settings) as own:
        for headers, status in (
            ({"Range": "bytes=500-"}, 416),
            ({"Range": "bytes=0-9"}, 206),
            ({"Range": "nonsense"}, 200),
        ):
            answer = await own.http.get("/outputs/saved.wav", headers=headers)
            assert answer.status_code == status, answer.text
            if status == 416:
                assert answer.headers["content-type"] == "application/problem+json"
                assert answer.headers["content-range"] == "bytes */100"
                assert answer.json()["errors"][0]["pointer"] == "/Range"


async def test_allow_names_every_method(server: Server) -> None:
    answer = await server.http.put("/voices/tone")
    assert answer.status_code == 405
    assert set(answer.headers["allow"].split(", ")) >= {"GET", "PATCH", "DELETE"}


async def test_the_reference_needs_no_other_site(server: Server) -> None:
    answer = await server.http.get("/docs")
    assert answer.status_code == 200
    found = re.findall(r"(?:src|href)=[\"']?([^\"' >]+)", answer.text)
    assert found
    for link in found:
        assert not re.match(r"https?:|//", link), link
        assert (await server.http.get(link)).status_code == 200
    assert "connect-src 'self'" in answer.headers["content-security-policy"]


# -- foreign keys ---------------------------------------------------------------------------------------------------


async def test_without_a_key_nothing_but_the_page_is_there(closed: tuple[Server, str]) -> None:
    server, _ = closed
    tried = 0
    for method, path, _route in routes():
        if path in OPEN_TO_ALL or path.startswith(PARTS_OF_THE_PAGE):
            continue
        answer = await server.http.request(method, address(path), json=None if method in {"GET", "HEAD"} else {})
        assert answer.status_code == 401, f"{method} {path}: {answer.status_code} {answer.text}"
        tried += 1
    assert tried >= 60


async def test_what_is_another_owners_is_not_there(closed: tuple[Server, str]) -> None:
    """Every route with an id in it, asked with the key of somebody else: 404 as for an id that does not exist."""
    server, admin = closed
    own = {"X-API-Key": admin}

    async def key(*scopes: str) -> dict[str, str]:
        answer = await server.http.post("/keys", json={"name": "k", "scopes": scopes}, headers=own)
        return {"X-API-Key": answer.json()["secret"]}

    mine, other = await key("submit", "read"), await key("submit", "read")
    job = (await server.http.post("/tts/enqueue", json={"text": "Mine. And mine."}, headers=mine)).json()["job_id"]
    async with asyncio.timeout(30):
        while (await server.http.get(f"/tts/{job}/status", headers=mine)).json()["status"] != "completed":
            await asyncio.sleep(0.02)
    batch = await server.http.post("/tts/batch", json={"requests": [{"custom_id": "a", "text": "Mine."}]}, headers=mine)
    hook = await server.http.post("/webhooks", json={"url": "https://example.com/hook"}, headers=mine)
    known = {
        "job_id": job, "n": "0", "batch_id": batch.json()["batch_id"], "endpoint_id": hook.json()["id"], "delivery_id": "msg_0",
    }  # fmt: skip
    bodies = {"/tts/{job_id}": {"tags": ["stolen"]}, "/webhooks/{endpoint_id}": {"enabled": False}}
    tried = 0
    for method, path, _ in routes():
        if not re.search("|".join(f"{{{name}" for name in ("job_id", "batch_id", "endpoint_id", "delivery_id")), path):
            continue
        answers = []
        for ids in (
            known,
            {"n": "0", "job_id": str(uuid.uuid4()), "batch_id": "b", "endpoint_id": "e", "delivery_id": "d"},
        ):
            body = None if method in {"GET", "HEAD"} else bodies.get(path, {})
            answers.append(await server.http.request(method, address(path, **ids), headers=other, json=body))
        assert [answer.status_code for answer in answers] == [404, 404], f"{method} {path}: {answers[0].text}"
        tried += 1
    assert tried >= 20
    for path in ("/tts", "/batches", "/webhooks", "/webhooks/deliveries"):
        answer = await server.http.get(path, headers=other)
        assert answer.status_code in {200, 404, 405}
        assert job not in answer.text
        assert known["batch_id"] not in answer.text
    status = (await server.http.get(f"/tts/{job}", headers=mine)).json()
    assert (status["status"], status["tags"]) == ("completed", [])
    assert (await server.http.get("/outputs/x.wav", headers=mine)).status_code == 403, (
        "saved files are nobody's in particular"
    )
