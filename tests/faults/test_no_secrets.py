"""What users say and what opens doors stands in no log, no metrics and no start-up data, at the most talkative level."""

import asyncio
import json
from pathlib import Path

import httpx

from rhapsode.datadir import read_holder
from tests.faults.harness import ServerProcess
from tests.receiver import receiving, status

CANARY = "canarytext"
"""In everything that is to be spoken."""
FAILING = [
    f"!raise! {CANARY}",
    f"!nan! {CANARY} here",
    f"!crash! {CANARY} again",
    f"!empty! {CANARY}",
    f"!long! {CANARY}",
    f"!hang! {CANARY}",
]


async def use(server: ServerProcess, receiver_url: str) -> list[str]:
    """Do everything that has to do with texts and secrets; the secrets."""
    errors: list[str] = []

    async def note(answer: httpx.Response) -> None:
        if answer.is_error:
            errors.append((await answer.aread()).decode())

    hooks = {"response": [note]}
    async with httpx.AsyncClient(base_url=server.url, timeout=60, event_hooks=hooks) as http:
        admin = (await http.post("/keys", json={"name": "k", "scopes": ["admin"]})).json()["secret"]
        http.headers["X-API-Key"] = admin
        secrets = [admin, str(read_holder(server.data_dir)["token"])]
        hook = await http.post("/webhooks", json={"url": f"{receiver_url}/canaryurl?token=canarytoken"})
        assert hook.status_code == 201, hook.text
        secrets += [hook.json()["secret"], (await http.get("/webhooks/secret")).json()["secret"]]
        spoken = await http.post("/tts", json={"text": f"Hello {CANARY}.", "webhook_url": f"{receiver_url}/canaryurl"})
        job_id = spoken.headers["x-job-id"]
        ids = [
            (await http.post("/tts/enqueue", json={"text": text, "tags": [CANARY]})).json()["job_id"]
            for text in FAILING
        ]
        await http.post("/tts/batch", json={"requests": [{"custom_id": CANARY, "text": CANARY}, {"text": 5}]})
        await http.post("/v1/audio/speech", json={"model": "tts-1", "input": CANARY, "voice": "alloy"})
        await http.post("/tts/plan", json={"text": CANARY})
        await http.post("/tts", json={"text": CANARY, "chunk_size": 5})
        await http.post("/tts", content=f'{{"text": "{CANARY}'.encode())
        await http.post(f"/tts/{job_id}/segments/0/redo", json={"text": f"{CANARY} redone"})
        await http.get("/tts", params={"q": CANARY})
        await http.post("/save_settings", json={"ui_state": {"last_text": CANARY}, CANARY: CANARY})
        await http.post("/upload_reference", files={"files": ("a.wav", CANARY.encode())})
        async with httpx.AsyncClient(base_url=server.url) as browser:
            signed_in = await browser.post("/session", json={"key": admin})
            secrets.append(signed_in.cookies["rhapsode_session"])
            await browser.get("/tts")
        async with httpx.AsyncClient(
            base_url=server.url, headers={"Authorization": "Bearer rh_canarykey"}, event_hooks=hooks
        ) as stranger:
            await stranger.get("/tts")
            await stranger.post("/session", json={"key": "rh_canarykey"})
            await stranger.get("/api/ui/initial-data")
        for failing in ids:
            async with asyncio.timeout(60):
                while (await http.get(f"/tts/{failing}/status")).json()["status"] != "failed":
                    await asyncio.sleep(0.02)
        await http.delete(f"/tts/{job_id}?purge=true")
        metrics = (await http.get("/metrics")).text
        data = (await http.get("/api/ui/initial-data")).json()
        settings = (await http.get("/settings")).text
    assert CANARY not in metrics
    assert data["config"]["ui_state"].pop("last_text") == CANARY, "the page's own memory"
    data["config"].pop(CANARY, None)
    assert len(errors) > 5
    for shown in (metrics, json.dumps(data), settings, *errors):
        assert not [secret for secret in [*secrets, "rh_canarykey", "canarytoken"] if secret in shown], shown
    return secrets


async def test_a_log_at_every_level_holds_neither_texts_nor_secrets(tmp_path: Path) -> None:
    changes = {
        "server": {"log_level": "debug", "log_format": "json"},
        "fleet": {"express_threads": 1, "deadline_base_sec": 1.0, "deadline_per_char_sec": 0.0},
        "webhooks": {"allow_private": True},
        "scheduler": {"segment_failures": 1},
    }
    server = ServerProcess(tmp_path, changes)
    async with receiving(lambda _: status(500, body=b"no")) as receiver:
        await server.start()
        try:
            secrets = await use(server, receiver.url)
            await server.stop()
        finally:
            await server.put_down()
    lines = [json.loads(line) for line in server.log.splitlines()]
    found = [line for line in server.log.splitlines() if "canary" in line.lower()]
    assert not found, found[:5]
    assert not [secret for secret in secrets if secret in server.log]
    failed = [line for line in lines if "failed" in line["message"] and "segment" in line["message"]]
    assert len({line["job_id"] for line in failed}) >= len(FAILING) - 1
