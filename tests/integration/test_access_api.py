"""Who may do what: keys, sessions, quotas, and that nobody sees what is somebody else's."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import httpx
import pytest
from starlette.requests import HTTPConnection

from rhapsode.api.auth import Gate
from rhapsode.api.hosts import Hosts
from rhapsode.datadir import read_holder
from rhapsode.jobs.shop import Shop
from rhapsode.model import LOCAL
from rhapsode.settings import Auth
from rhapsode.settings import Server as ServerSection
from tests.serving import Server, serving, settings_for


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Server]:
    async with serving(settings_for(tmp_path)) as found:
        yield found


async def make(server: Server, *scopes: str, by: str = "", **fields: object) -> dict[str, str]:
    """A key, made with the key ``by``."""
    body = {"name": "a key", "scopes": list(scopes) or ["submit", "read"]} | fields
    answer = await server.http.post("/keys", json=body, headers=bearer(by) if by else {})
    assert answer.status_code == 201, answer.text
    return dict(answer.json())


def bearer(secret: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {secret}"}


async def test_the_first_key_must_grant_admin_and_closes_the_server(server: Server) -> None:
    assert (await server.http.get("/tts")).status_code == 200
    refused = await server.http.post("/keys", json={"name": "k", "scopes": ["read"]})
    assert (refused.status_code, refused.json()["errors"][0]["pointer"]) == (422, "/scopes")
    assert (await server.http.get("/tts")).status_code == 200
    key = await make(server, "admin")
    assert key["secret"].startswith(key["hint"])
    assert key["hint"].startswith("rh_")
    closed = await server.http.get("/tts")
    assert (closed.status_code, closed.headers["WWW-Authenticate"]) == (401, "Bearer")
    assert closed.json()["code"] == "unauthorized"
    assert (await server.http.get("/tts", headers=bearer(key["secret"]))).status_code == 200
    assert (await server.http.get("/tts", headers={"X-API-Key": key["secret"]})).status_code == 200
    assert (await server.http.get("/tts", params={"api_key": key["secret"]})).status_code == 401
    assert (await server.http.get("/tts", headers=bearer("rh_wrong"))).status_code == 401
    for path in ("/livez", "/readyz", "/openapi.json"):
        assert (await server.http.get(path)).status_code == 200
    listed = await server.http.get("/keys", headers=bearer(key["secret"]))
    assert "secret" not in listed.json()[0]


async def test_a_revoked_rotated_or_expired_key_opens_nothing(server: Server) -> None:
    admin = (await make(server, "admin"))["secret"]
    key = await make(server, "read", by=admin)
    assert (await server.http.get("/tts", headers=bearer(key["secret"]))).status_code == 200
    rotated = (await server.http.post(f"/keys/{key['id']}/rotate", headers=bearer(admin))).json()
    assert (await server.http.get("/tts", headers=bearer(key["secret"]))).status_code == 401
    assert (await server.http.get("/tts", headers=bearer(rotated["secret"]))).status_code == 200
    assert (await server.http.delete(f"/keys/{key['id']}", headers=bearer(admin))).status_code == 204
    assert (await server.http.get("/tts", headers=bearer(rotated["secret"]))).status_code == 401
    past = {"name": "k", "scopes": ["read"], "expires_at": "2001-01-01T00:00:00Z"}
    assert (await server.http.post("/keys", json=past, headers=bearer(admin))).status_code == 422
    last = (await server.http.get("/keys", headers=bearer(admin))).json()[0]["id"]
    assert (await server.http.delete(f"/keys/{last}", headers=bearer(admin))).status_code == 204
    assert (await server.http.get("/tts")).status_code == 401


async def test_scopes_stand_each_for_itself(server: Server) -> None:
    admin = (await make(server, "admin"))["secret"]
    reader, submitter = [(await make(server, scope, by=admin))["secret"] for scope in ("read", "submit")]
    spoken = await server.http.post("/tts", json={"text": "Hello."}, headers=bearer(submitter))
    assert spoken.status_code == 200
    assert spoken.content[:4] == b"RIFF"
    refused = [
        await server.http.post("/tts", json={"text": "Hello."}, headers=bearer(reader)),
        await server.http.get("/tts", headers=bearer(submitter)),
        await server.http.get("/keys", headers=bearer(reader)),
    ]
    assert [answer.status_code for answer in refused] == [403, 403, 403]


async def test_nobody_reaches_the_job_of_another_owner_by_any_route(server: Server) -> None:
    admin = (await make(server, "admin"))["secret"]
    mine, other = [bearer((await make(server, by=admin))["secret"]) for _ in range(2)]
    answer = await server.http.post("/tts/enqueue", json={"text": "Mine."}, headers=mine)
    job_id = answer.json()["job_id"]
    tried = 0
    for path, methods in (await server.http.get("/openapi.json")).json()["paths"].items():
        if "{job_id}" not in path:
            continue
        address = path.replace("{job_id}", job_id)
        while "{" in address:
            address = address[: address.index("{")] + "0" + address[address.index("}") + 1 :]
        for method in methods:
            body: dict[str, str] | None = {} if method in {"post", "put", "patch"} else None
            found = await server.http.request(method, address, headers=other, json=body)
            assert found.status_code in {404, 422}, (method, path, found.text)
            tried += 1
    assert tried >= 7
    assert (await server.http.get("/tts", headers=other)).json()["jobs"] == []
    for owner in (mine, bearer(admin)):
        assert [job["job_id"] for job in (await server.http.get("/tts", headers=owner)).json()["jobs"]] == [job_id]
        assert (await server.http.get(f"/tts/{job_id}/status", headers=owner)).status_code == 200


async def test_a_browser_signs_in_and_out(server: Server) -> None:
    admin = (await make(server, "admin"))["secret"]
    async with httpx.AsyncClient(base_url=server.url) as browser:
        assert (await browser.get("/session")).json() == {
            "signed_in": False, "owner": None, "scopes": [], "auth_required": True,
        }  # fmt: skip
        assert (await browser.post("/session", json={"key": "wrong"})).status_code == 401
        signed = await browser.post("/session", json={"key": admin})
        cookie = signed.headers["set-cookie"].lower()
        assert "httponly" in cookie
        assert "samesite=strict" in cookie
        assert admin not in cookie
        assert (await browser.get("/session")).json()["signed_in"]
        assert (await browser.get("/tts")).status_code == 200
        for headers in ({"Origin": "https://evil.example"}, {"Sec-Fetch-Site": "cross-site"}, {"Origin": "null"}):
            stolen = await browser.post("/tts/enqueue", json={"text": "x"}, headers=headers)
            assert (stolen.status_code, stolen.json()["code"]) == (403, "forbidden")
        own = await browser.post("/tts/enqueue", json={"text": "x"}, headers={"Origin": server.url})
        assert own.status_code == 202
        assert (await browser.delete("/session")).status_code == 204
        assert (await browser.get("/tts")).status_code == 401


async def test_a_session_ends_with_its_key(server: Server) -> None:
    admin = (await make(server, "admin"))["secret"]
    key = await make(server, by=admin)
    async with httpx.AsyncClient(base_url=server.url) as browser:
        await browser.post("/session", json={"key": key["secret"]})
        assert (await browser.get("/tts")).status_code == 200
        await server.http.delete(f"/keys/{key['id']}", headers=bearer(admin))
        assert (await browser.get("/tts")).status_code == 401


async def test_attempts_to_sign_in_are_counted(server: Server) -> None:
    answers = [await server.http.post("/session", json={"key": "rh_guess"}) for _ in range(11)]
    assert [answer.status_code for answer in answers] == [401] * 10 + [429]
    assert "rh_guess" not in "".join(answer.text for answer in answers)


async def test_pages_of_other_sites_may_call_only_while_no_key_is_needed(server: Server) -> None:
    foreign = {"Origin": "https://other.example"}
    assert (await server.http.get("/livez", headers=foreign)).headers["access-control-allow-origin"] == "*"
    made = await server.http.post("/keys", json={"name": "k", "scopes": ["admin"]}, headers=foreign)
    assert made.status_code == 403
    await make(server, "admin")
    assert "access-control-allow-origin" not in (await server.http.get("/livez", headers=foreign)).headers


async def test_requests_per_minute(server: Server) -> None:
    admin = (await make(server, "admin"))["secret"]
    key = bearer((await make(server, by=admin, limits={"requests_per_minute": 2}))["secret"])
    answers = [await server.http.get("/tts", headers=key) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [200, 200, 429]
    assert answers[0].headers["RateLimit-Policy"] == '"requests";q=2;w=60'
    assert answers[0].headers["RateLimit"].startswith('"requests";r=1;t=')
    assert answers[2].json()["limit"] == "requests_per_minute"
    assert 1 <= int(answers[2].headers["Retry-After"]) <= 61


async def test_usage_and_the_characters_of_a_day(server: Server) -> None:
    admin = (await make(server, "admin"))["secret"]
    key = bearer((await make(server, by=admin, limits={"chars_per_day": 10}))["secret"])
    first = {**key, "Idempotency-Key": "one"}
    sent = [
        await server.http.post("/tts/enqueue", json={"text": "12345678", "seed": 1}, headers=first) for _ in range(2)
    ]
    assert [answer.status_code for answer in sent] == [202, 202]
    over = await server.http.post("/tts/enqueue", json={"text": "123"}, headers=key)
    assert (over.status_code, over.json()["limit"]) == (429, "chars_per_day")
    assert 0 < int(over.headers["Retry-After"]) <= 86_400
    found = (await server.http.get("/usage", headers=key)).json()
    assert (found["used"]["chars_today"], found["used"]["jobs_today"], found["limits"]["chars_per_day"]) == (8, 1, 10)


async def test_the_local_token_opens_a_keyed_server_and_is_only_ours(tmp_path: Path) -> None:
    async with serving(settings_for(tmp_path, auth__mode="keys")) as server:
        assert (await server.http.get("/tts")).status_code == 401
        token = str(read_holder(server.settings.data_dir)["token"])
        assert (await server.http.get("/keys", headers=bearer(token))).status_code == 200
        assert ((server.settings.data_dir / "server.lock").stat().st_mode & 0o777) == 0o600


async def test_off_never_asks_for_a_key(tmp_path: Path) -> None:
    async with serving(settings_for(tmp_path, auth__mode="off")) as server:
        await make(server, "admin")
        assert (await server.http.get("/tts")).status_code == 200


async def test_many_submits_at_once_keep_to_the_bound(server: Server) -> None:
    admin = (await make(server, "admin"))["secret"]
    key = bearer((await make(server, by=admin, limits={"chars_per_day": 40}))["secret"])
    answers = await asyncio.gather(
        *(server.http.post("/tts/enqueue", json={"text": "abcd"}, headers=key) for _ in range(30))
    )
    assert sorted(answer.status_code for answer in answers) == [202] * 10 + [429] * 20


async def test_while_no_key_is_needed_nothing_is_read_to_know_who_asks() -> None:
    class Counting:
        reads = 0

        async def has_keys(self) -> bool:
            self.reads += 1
            return False

    access = Counting()
    gate = Gate(cast(Shop, SimpleNamespace(access=access)), Auth(), Hosts(ServerSection()))
    asked = HTTPConnection({"type": "http", "method": "GET", "headers": [(b"x-api-key", b"rh_any")]})
    assert [await gate.caller(asked) for _ in range(100)] == [LOCAL] * 100
    assert access.reads == 1


@pytest.mark.parametrize(
    "never", ["9999-12-31T23:59:59.9999999Z", "9999-12-31T23:59:59-05:00", "0001-01-01T00:00:00+01:00"]
)
async def test_an_expiry_that_no_calendar_has_is_refused_and_makes_no_key(server: Server, never: str) -> None:
    key = await make(server, "admin")
    for method, path in (("POST", "/keys"), ("PATCH", f"/keys/{key['id']}")):
        body = {"name": "k", "scopes": ["admin"], "expires_at": never}
        answer = await server.http.request(method, path, json=body, headers=bearer(key["secret"]))
        assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (422, "/expires_at"), answer.text
        assert "9999-12-31T00:00:00+00:00" in answer.json()["detail"]
    (only,) = (await server.http.get("/keys", headers=bearer(key["secret"]))).json()
    assert only["expires_at"] is None
    late = {"expires_at": "9999-12-31T00:00:00Z"}
    changed = await server.http.patch(f"/keys/{key['id']}", json=late, headers=bearer(key["secret"]))
    assert changed.json()["expires_at"] == "9999-12-31T00:00:00.000+00:00"


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/keys"),
        ("PATCH", "/keys/x"),
        ("PATCH", "/voices/tone"),
        ("PATCH", "/tts/x"),
        ("POST", "/tts/x/segments/0/redo"),
        ("POST", "/webhooks"),
    ],
)
async def test_a_body_is_read_for_those_alone_who_may_and_never_more_than_is_allowed(
    server: Server, method: str, path: str
) -> None:
    key = await make(server, "admin", "submit")
    refused = await server.http.request(method, path, content=b"no json")
    assert (refused.status_code, refused.json()["code"]) == (401, "unauthorized")
    large = await server.http.request(method, path, content=b" " * 300_000, headers=bearer(key["secret"]))
    assert (large.status_code, large.json()["code"]) == (413, "too_large")
    assert "262,144" in large.json()["detail"]


async def test_a_large_sign_in_is_refused(server: Server) -> None:
    await make(server, "admin")
    assert (await server.http.post("/session", content=b" " * 300_000)).status_code == 413
