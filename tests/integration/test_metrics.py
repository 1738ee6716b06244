"""``GET /metrics``: what is counted, by what names, and for whom."""

import asyncio
import re
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_open
from prometheus_client.parser import text_string_to_metric_families as parse

from tests.serving import Server, serving, settings_for


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Server]:
    async with serving(settings_for(tmp_path, tts_engine__default_voice_id="tone-chars")) as found:
        yield found


async def samples(server: Server, **headers: str) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    answer = await server.http.get("/metrics", headers=headers)
    assert answer.status_code == 200, answer.text
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in parse(answer.text)
        for sample in family.samples
    }


def value(found: dict[tuple[str, frozenset[tuple[str, str]]], float], name: str, **labels: str) -> float:
    return found[name, frozenset(labels.items())]


async def test_what_was_done_is_counted(server: Server) -> None:
    before = await samples(server)
    assert value(before, "rhapsode_segments_total", outcome="spoken") == 0
    done = await server.http.post("/tts", json={"text": "Hello there. And once more.", "seed": 5})
    job_id = done.headers["x-job-id"]
    await server.http.post("/tts", json={"text": "Hello there. And once more.", "seed": 5})  # the same takes
    await server.http.post("/tts", json={"text": "!raise!"})
    await server.http.get(f"/tts/{job_id}/status")
    await server.http.get("/tts/nonsense/status")
    await server.http.get("/no/such/address")
    found = await samples(server)
    segments = (await server.status(job_id))["segments"]["done"]
    assert value(found, "rhapsode_segments_total", outcome="spoken") == segments
    assert value(found, "rhapsode_segments_total", outcome="reused") == segments
    assert value(found, "rhapsode_segments_total", outcome="failed") == 3
    assert value(found, "rhapsode_jobs_ended_total", status="completed") == 2
    assert value(found, "rhapsode_jobs_ended_total", status="failed") == 1
    assert value(found, "rhapsode_job_first_audio_seconds_count", priority="interactive") == 2
    assert value(found, "rhapsode_segment_synthesis_seconds_count") == segments
    assert value(found, "rhapsode_segment_realtime_factor_count") == segments
    assert value(found, "rhapsode_audio_seconds_total") > 0.1
    assert (
        value(found, "rhapsode_ledger_commit_seconds_count") > value(before, "rhapsode_ledger_commit_seconds_count") + 3
    )
    assert value(found, "rhapsode_worker_deaths_total") == 0
    assert value(found, "rhapsode_ready", check="store") == 1
    assert value(found, "rhapsode_disk_free_bytes", store="takes") > 0
    http = "http_server_request_duration_seconds_count"
    of = {"http_request_method": "GET", "http_route": "/tts/{job_id}/status"}
    assert value(found, http, **of, http_response_status_code="200") == 1
    assert value(found, http, **of, http_response_status_code="404") == 1
    gone = {"http_request_method": "GET", "http_route": "unmatched", "http_response_status_code": "404"}
    assert value(found, http, **gone) == 1


async def test_below_a_path_of_a_proxy_routes_have_the_same_names(tmp_path: Path) -> None:
    async with serving(settings_for(tmp_path, server__root_path="/speech")) as below:
        await below.http.get("/speech/tts")
        of = {"http_request_method": "GET", "http_route": "/tts", "http_response_status_code": "200"}
        assert value(await samples(below), "http_server_request_duration_seconds_count", **of) == 1


async def test_nothing_that_is_sent_becomes_a_label(server: Server) -> None:
    await server.http.get("/canary-path")
    await server.http.request("CANARY", "/tts")
    await server.http.post(
        "/tts", json={"text": "canary-text", "tags": ["canary-tag"], "predefined_voice_id": "canary-voice"}
    )
    text = (await server.http.get("/metrics")).text
    assert "canary" not in text.lower()
    names = set(re.findall(r"^# TYPE (\S+)", text, re.MULTILINE))
    assert all(name.startswith(("rhapsode_", "http_server_", "process_")) for name in names)


async def test_a_worker_that_dies_is_counted(server: Server) -> None:
    await server.enqueue("!crash once! It goes on.")
    async with asyncio.timeout(30):
        while value(await samples(server), "rhapsode_worker_deaths_total") < 1:
            await asyncio.sleep(0.05)


async def test_openmetrics_when_it_is_asked_for(server: Server) -> None:
    answer = await server.http.get("/metrics", headers={"Accept": "application/openmetrics-text; version=1.0.0"})
    assert answer.headers["content-type"].startswith("application/openmetrics-text")
    assert any(family.name == "rhapsode_build_info" for family in parse_open(answer.text))


async def test_two_servers_in_one_process_count_apart(server: Server, tmp_path: Path) -> None:
    async with serving(settings_for(tmp_path / "other")) as other:
        answer = await server.http.post("/tts", json={"text": "Hello."})
        await server.until(answer.headers["x-job-id"], "completed")
        assert value(await samples(server), "rhapsode_jobs_ended_total", status="completed") == 1
        assert value(await samples(other), "rhapsode_jobs_ended_total", status="completed") == 0


async def test_with_keys_metrics_need_one_that_may_read(server: Server) -> None:
    async def key(scope: str, by: str = "") -> str:
        headers = {"X-API-Key": by} if by else {}
        answer = await server.http.post("/keys", json={"name": "k", "scopes": [scope]}, headers=headers)
        return str(answer.json()["secret"])

    admin = await key("admin")
    reader, submitter = await key("read", admin), await key("submit", admin)
    for secret, status in ((admin, 200), (reader, 200), (submitter, 403), ("rh_wrong", 401)):
        assert (await server.http.get("/metrics", headers={"X-API-Key": secret})).status_code == status
    assert (await server.http.get("/metrics")).status_code == 401
    text = (await server.http.get("/metrics", headers={"X-API-Key": admin})).text
    assert not {secret for secret in (admin, reader, submitter) if secret in text}


async def test_asking_often_asks_the_ledger_rarely(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    await server.enqueue("Hello.")
    first = await samples(server)
    began = time.monotonic()
    for _ in range(20):
        found = await samples(server)
    assert value(found, "rhapsode_jobs", status="queued") == value(first, "rhapsode_jobs", status="queued")
    assert time.monotonic() - began < 10


async def test_the_runbook_names_what_there_is(server: Server) -> None:
    page = (Path(__file__).parents[2] / "docs" / "operations.md").read_text(encoding="utf-8")
    table = page[page.index("| metric |") : page.index("## Logs")]
    cells = [re.sub(r"\{[^}]*\}", "", line.split("|")[1]) for line in table.splitlines() if line]
    told = set(re.findall(r"`((?:rhapsode|http)_\w+)", " ".join(cells)))
    await server.http.get("/livez")
    families = {family.name: family.type for family in parse((await server.http.get("/metrics")).text)}
    there = {f"{name}_total" if kind == "counter" else name for name, kind in families.items()}
    assert told == {name for name in there if name.startswith(("rhapsode_", "http_")) and not name.endswith("_created")}
