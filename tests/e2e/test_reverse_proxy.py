"""docs/reverse-proxy.md with real proxies: nothing that a client relies on is lost on the way."""

import asyncio
import json
import re
import shutil
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
import pytest_asyncio
from websockets.asyncio.client import connect

from rhapsode.client import AsyncClient
from tests.integration.test_voices_api import recording
from tests.proxying import PREFIX, Proxy, proxying
from tests.serving import Server, serving, settings_for

pytestmark = pytest.mark.asyncio(loop_scope="module")

LONG = "A sentence that goes on and on, for nobody. " * 20_000


@dataclass(frozen=True, slots=True)
class Site:
    """A server, and how it is seen through its proxy."""

    server: Server
    proxy: Proxy
    http: httpx.AsyncClient


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=["nginx", "nginx-cut", "caddy"])
async def site(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Site]:
    folder = tmp_path_factory.mktemp("site")
    settings = settings_for(folder, server__root_path=PREFIX, tts_engine__default_voice_id="tone")
    async with serving(settings) as server:
        (folder / "p").mkdir()
        with proxying(request.param, httpx.URL(server.url).port or 0, folder / "p") as proxy:
            async with httpx.AsyncClient(verify=proxy.tls, base_url=proxy.url, timeout=30) as http:
                yield Site(server, proxy, http)


async def enqueue(site: Site, text: str) -> str:
    answer = await site.http.post("/tts/enqueue", json={"text": text})
    return str(answer.json()["job_id"])


async def test_addresses_lead_back_through_the_proxy(site: Site) -> None:
    answer = await site.http.post("/tts/enqueue", json={"text": "Hello."})
    job = answer.json()
    assert job["status_url"] == f"{PREFIX}/tts/{job['job_id']}/status"
    assert all(link.startswith(f"{PREFIX}/tts/") for link in [answer.headers["location"], *job["links"].values()])
    here = httpx.URL(site.proxy.url)
    status = await site.http.get(here.join(job["status_url"]), headers={"Prefer": "wait=20"})
    assert status.json()["status"] == "completed"
    whole = await site.http.get(here.join(job["result_url"]))
    assert int(whole.headers["content-length"]) == len(whole.content)
    part = await site.http.get(
        f"/tts/{job['job_id']}/result", headers={"Range": "bytes=-10", "If-Range": whole.headers["etag"]}
    )
    assert (part.status_code, part.content) == (206, whole.content[-10:])
    assert part.headers["content-range"].endswith(f"/{len(whole.content)}")
    await enqueue(site, "Another one.")
    assert f"<{PREFIX}/tts?" in (await site.http.get("/tts?limit=1")).headers["link"]
    direct = await site.server.http.get(
        f"/tts/{job['job_id']}/status"
    )  # programs on the same machine leave the path out
    assert direct.status_code == 200


async def test_the_page_and_its_parts(site: Site) -> None:
    moved = await site.http.get(site.proxy.url)
    assert (moved.status_code in (301, 302), moved.headers["location"]) == (True, f"{PREFIX}/")
    for path in ("/", "/docs"):
        page = await site.http.get(path)
        assert page.status_code == 200
        parts = [part for part in re.findall(r'(?:src|href)="([^"#:]+)"', page.text) if not part.startswith("data")]
        for part in parts:
            found = await site.http.get(str(page.url.join(part)))
            assert found.status_code == 200, part
        assert parts
    assert (await site.http.get("/openapi.json")).json()["servers"] == [{"url": PREFIX}]


async def test_news_and_sound_come_as_they_are_made(site: Site) -> None:
    job_id = await enqueue(site, LONG)
    async with asyncio.timeout(20), site.http.stream("GET", f"/tts/{job_id}/events") as events:
        assert events.headers["content-type"].startswith("text/event-stream")
        seen = 0
        async for line in events.aiter_lines():
            seen += line.startswith("event: segment")
            if seen == 3:
                break
    async with asyncio.timeout(20), site.http.stream("GET", f"/tts/{job_id}/audio?format=mp3") as audio:
        assert await anext(audio.aiter_bytes())
    async with (
        asyncio.timeout(20),
        connect(f"wss://{site.proxy.url.removeprefix('https://')}/ws", ssl=site.proxy.tls) as socket,
    ):
        assert json.loads(await socket.recv())["type"] == "hello"
        assert json.loads(await socket.recv())["job_id"] == job_id
    assert (await site.server.status(job_id))["status"] == "running"
    await site.http.delete(f"/tts/{job_id}")


async def test_our_own_client_goes_through(site: Site, tmp_path: Path) -> None:
    async with AsyncClient(site.proxy.url, verify=site.proxy.tls) as client:
        job_id = await client.submit("Hello through a proxy.")
        assert [event.type async for event in client.events(job_id)][-1] == "job.completed"
        assert await client.download(job_id, tmp_path / "a.wav") == (tmp_path / "a.wav").stat().st_size


async def test_a_client_that_leaves_takes_its_job_along(site: Site) -> None:
    body = {"text": LONG}
    asking = asyncio.create_task(site.http.post("/tts", json=body))
    async with asyncio.timeout(20):
        while not (jobs := (await site.server.http.get("/tts?status=running")).json()["jobs"]):
            await asyncio.sleep(0.02)
    asking.cancel()
    await asyncio.gather(asking, return_exceptions=True)
    assert (await site.server.until(jobs[0]["job_id"], "cancelled", "completed"))["status"] == "cancelled"


async def test_large_uploads_and_changes_of_settings(site: Site) -> None:
    large = recording(29, rate=44_100)
    assert len(large) > 2_000_000
    answer = await site.http.post("/upload_reference", files=[("files", ("me.wav", large))])
    assert answer.json()["uploaded_files"] == ["me.wav"]
    origin = f"https://{site.proxy.host}:{site.proxy.port}"
    saved = await site.http.post("/save_settings", json={"ui_state": {"theme": "light"}}, headers={"Origin": origin})
    assert saved.status_code == 200
    foreign = await site.http.post("/save_settings", json={}, headers={"Origin": "https://evil.example"})
    assert foreign.status_code == 403


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed, and the set-up cannot bring it")
async def test_http_2(site: Site) -> None:
    command = [
        "curl",
        "-s",
        "--http2",
        "--cacert",
        str(site.proxy.certificate),
        "-w",
        "%{http_version}",
        f"{site.proxy.url}/livez",
    ]
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    output, _ = await process.communicate()
    assert output.decode().endswith("2")


async def test_signing_in_is_for_the_path_and_for_https_only(site: Site) -> None:
    key = (await site.http.post("/keys", json={"name": "a", "scopes": ["admin"]})).json()["secret"]
    assert (await site.http.get("/tts")).status_code == 401
    signed_in = await site.http.post("/session", json={"key": key})
    cookie = signed_in.headers["set-cookie"]
    assert f"Path={PREFIX};" in cookie
    assert "Secure" in cookie
    assert "HttpOnly" in cookie
    assert (await site.http.get("/tts")).status_code == 200  # the client keeps it, as a browser does
    assert (await site.http.get(f"{site.proxy.url}/session")).json()["signed_in"] is True
