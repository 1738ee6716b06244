"""Whoever may no longer read is cut off; and what else keys decide after a stream or a job has begun."""

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from rhapsode.api import auth
from tests.integration.test_access_api import bearer, make
from tests.serving import Server, serving, settings_for

LONG = "A rather long sentence that takes its time. " * 200


@pytest.fixture
async def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Server]:
    monkeypatch.setattr(auth, "_WATCH_S", 0.1)
    async with serving(settings_for(tmp_path)) as found:
        yield found


async def listen(server: Server, headers: dict[str, str], path: str = "/events") -> int:
    """Read a stream to its end; how many lines it had."""
    count = 0
    async with server.http.stream("GET", path, headers=headers) as answer:
        assert answer.status_code == 200
        async for _ in answer.aiter_lines():
            count += 1
    return count


async def opened(server: Server, headers: dict[str, str], path: str = "/events") -> "asyncio.Task[int]":
    task = asyncio.create_task(listen(server, headers, path))
    await asyncio.sleep(0.5)
    assert not task.done()
    return task


@pytest.mark.parametrize("how", ["revoke", "rotate", "scopes", "expiry"])
async def test_a_stream_ends_with_its_key(server: Server, how: str) -> None:
    admin = (await make(server, "admin"))["secret"]
    soon = (datetime.now(UTC) + timedelta(seconds=1.2)).isoformat()
    key = await make(server, "read", by=admin, **({"expires_at": soon} if how == "expiry" else {}))
    staying = await opened(server, bearer(admin))
    stream = await opened(server, bearer(key["secret"]))
    if how == "revoke":
        await server.http.delete(f"/keys/{key['id']}", headers=bearer(admin))
    elif how == "rotate":
        await server.http.post(f"/keys/{key['id']}/rotate", headers=bearer(admin))
    elif how == "scopes":
        await server.http.patch(f"/keys/{key['id']}", json={"scopes": ["submit"]}, headers=bearer(admin))
    assert await asyncio.wait_for(stream, 10) > 0
    assert (await server.http.get("/tts", headers=bearer(key["secret"]))).status_code in (401, 403)
    assert not staying.done()
    staying.cancel()


async def test_the_stream_of_a_job_ends_with_its_key(server: Server) -> None:
    admin = (await make(server, "admin"))["secret"]
    key = await make(server, "read", "submit", by=admin)
    body = {"text": LONG, "predefined_voice_id": "tone-slow"}
    job_id = (await server.http.post("/tts/enqueue", json=body, headers=bearer(key["secret"]))).json()["job_id"]
    stream = await opened(server, bearer(key["secret"]), f"/tts/{job_id}/events")
    await server.http.delete(f"/keys/{key['id']}", headers=bearer(admin))
    await asyncio.wait_for(stream, 10)
    assert (await server.http.get(f"/tts/{job_id}/status", headers=bearer(admin))).json()["status"] == "running"


async def test_a_stream_without_a_key_ends_when_the_first_key_is_made(server: Server) -> None:
    stream = await opened(server, {})
    await make(server, "admin")
    await asyncio.wait_for(stream, 10)


async def test_a_websocket_needs_a_key_and_ends_with_it(server: Server) -> None:
    admin = (await make(server, "admin"))["secret"]
    key = await make(server, "read", by=admin)
    url = server.url.replace("http", "ws") + "/ws"
    for headers in ({}, bearer("rh_wrong"), bearer(key["secret"]) | {"Origin": "https://evil.example"}):
        with pytest.raises((InvalidStatus, ConnectionClosed)):
            async with connect(url, additional_headers=headers) as socket:
                await socket.recv()
    async with connect(url, additional_headers=bearer(key["secret"])) as socket:
        await socket.send(json.dumps({"subscribe": {}}))
        assert json.loads(await socket.recv())["type"] == "hello"
        await server.http.delete(f"/keys/{key['id']}", headers=bearer(admin))
        with pytest.raises(ConnectionClosed) as closed:
            await asyncio.wait_for(socket.recv(), 10)
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1008


async def test_a_browser_that_signed_in_may_open_a_websocket(server: Server) -> None:
    admin = (await make(server, "admin"))["secret"]
    signed = await server.http.post("/session", json={"key": admin})
    cookie = signed.headers["set-cookie"].split(";")[0]
    url = server.url.replace("http", "ws") + "/ws"
    async with connect(url, additional_headers={"Cookie": cookie, "Origin": server.url}) as socket:
        await socket.send(json.dumps({"subscribe": {}}))
        assert json.loads(await socket.recv())["type"] == "hello"


async def test_a_retry_needs_a_place_in_the_queue_too(server: Server) -> None:
    admin = (await make(server, "admin"))["secret"]
    key = (await make(server, "submit", "read", by=admin, limits={"queued_jobs": 1}))["secret"]
    body = {"text": LONG, "predefined_voice_id": "tone-slow"}
    first = (await server.http.post("/tts/enqueue", json=body, headers=bearer(key))).json()["job_id"]
    await server.http.delete(f"/tts/{first}", headers=bearer(key))
    second = (await server.http.post("/tts/enqueue", json=body, headers=bearer(key))).json()["job_id"]
    refused = await server.http.post(f"/tts/{first}/retry", headers=bearer(key))
    assert (refused.status_code, refused.json()["limit"]) == (429, "queued_jobs")
    assert (await server.http.get(f"/tts/{first}/status", headers=bearer(key))).json()["status"] == "cancelled"
    await server.http.delete(f"/tts/{second}", headers=bearer(key))
    assert (await server.http.post(f"/tts/{first}/retry", headers=bearer(key))).status_code == 202


async def test_stored_bytes_are_bounded(server: Server) -> None:
    admin = (await make(server, "admin"))["secret"]
    key = (await make(server, "submit", "read", by=admin, limits={"stored_bytes": 1_000}))["secret"]
    assert (await server.http.post("/tts", json={"text": "First."}, headers=bearer(key))).status_code == 200
    refused = await server.http.post("/tts", json={"text": "Second."}, headers=bearer(key))
    assert (refused.status_code, refused.json()["limit"]) == (429, "stored_bytes")
    job_id = (await server.http.get("/tts", headers=bearer(key))).json()["jobs"][0]["job_id"]
    await server.http.delete(f"/tts/{job_id}?purge=true", headers=bearer(key))
    assert (await server.http.post("/tts", json={"text": "Third."}, headers=bearer(key))).status_code == 200


async def test_a_key_can_be_changed(server: Server) -> None:
    admin = (await make(server, "admin"))["secret"]
    key = await make(server, "read", by=admin)
    changes = {"name": "renamed", "scopes": ["submit"], "limits": {"chars_per_day": 5}}
    answer = await server.http.patch(f"/keys/{key['id']}", json=changes, headers=bearer(admin))
    assert (answer.status_code, answer.json()["name"], answer.json()["scopes"]) == (200, "renamed", ["submit"])
    assert (await server.http.get("/tts", headers=bearer(key["secret"]))).status_code == 403
    refused = await server.http.post("/tts", json={"text": "Too long."}, headers=bearer(key["secret"]))
    assert (refused.status_code, refused.json()["limit"]) == (429, "chars_per_day")
    wrongs: list[dict[str, object]] = [{"name": ""}, {"scopes": []}, {"limits": {"queued_jobs": -1}}, {"other": 1}]
    for wrong in wrongs:
        answer = await server.http.patch(f"/keys/{key['id']}", json=wrong, headers=bearer(admin))
        assert answer.status_code == 422
    assert (await server.http.patch("/keys/nonsense", json={"name": "x"}, headers=bearer(admin))).status_code == 404


async def test_openapi_says_how_to_show_a_key(server: Server) -> None:
    found = (await server.http.get("/openapi.json")).json()
    assert set(found["components"]["securitySchemes"]) == {"key", "keyHeader", "session"}
    assert {} in found["security"]
