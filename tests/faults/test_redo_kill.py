"""``kill -9`` of the server at random moments while segments are made again: each redo lands once, and whole."""

import asyncio
import random
from collections import Counter
from contextlib import suppress
from pathlib import Path

import httpx
import pytest

from tests.faults.harness import LedgerFile, ServerProcess

FEW, MANY = 10, 20
"""Kills of the two versions."""
SEGMENTS = 8
TEXT = "".join(f"This is the paragraph number {n} of a short book.\n\n" for n in range(SEGMENTS))
BODY = {"text": TEXT, "predefined_voice_id": "tone-slow", "seed": 3, "output_format": "wav"}


@pytest.mark.timeout(180)
async def test_kills_during_redos_leave_every_revision_whole(tmp_path: Path, long: bool) -> None:
    kills = MANY if long else FEW
    chance = random.Random(4)
    server = ServerProcess(tmp_path / "killed")
    ledger = LedgerFile(server.data_dir / "ledger.db")
    acknowledged: set[str] = set()
    try:
        async with server.running() as client:
            job_id = await client.enqueue(**BODY)
            await client.ended(job_id)
        for kill in range(kills):
            await server.spawn()
            await server.answering()
            async with server.client() as client:
                with suppress(httpx.TransportError):
                    answer = await client.http.post(f"/tts/{job_id}/segments/{kill % SEGMENTS}/redo")
                    assert answer.status_code in (202, 409), answer.text
                    if answer.status_code == 202:
                        acknowledged.add(answer.json()["redo"]["job_id"])
                    result = await client.http.get(f"/tts/{job_id}/result")
                    assert result.status_code == 200
                await asyncio.sleep(chance.uniform(0.0, 0.5))  # the random moment
                await server.kill()
        async with server.running() as client:
            redos = [row.id for row in ledger.rows("SELECT id FROM jobs WHERE redo_of = ?", job_id)]
            for redo in redos:
                await client.ended(redo)
            made = await client.result(job_id)
        assert acknowledged <= set(redos)
        job = ledger.job(job_id)
        assert job.status == "completed"
        assert job.result_revision == 1 + len(redos)
        revised = [event.data["revision"] for event in ledger.events(job_id, "result.revised")]
        assert revised == list(range(2, 2 + len(redos)))
        ledger.check_events()
        for redo in redos:
            assert len(ledger.events(redo, "segment.completed")) == 1, "finished once"
            assert len(ledger.events(redo, "segment.started")) <= kills
        times = Counter(ledger.segments(redo)[0].idx for redo in redos)
        assert sum(times.values()) >= kills // 2
    finally:
        await server.put_down()
    assert made == await undisturbed(tmp_path / "undisturbed", times)


async def undisturbed(folder: Path, times: Counter[int]) -> bytes:
    """The result after as many redos of each segment."""
    server = ServerProcess(folder)
    try:
        async with server.running() as client:
            job_id = await client.enqueue(**BODY)
            await client.ended(job_id)
            for segment, count in times.items():
                for _ in range(count):
                    answer = await client.http.post(f"/tts/{job_id}/segments/{segment}/redo")
                    await client.ended(answer.json()["redo"]["job_id"])
            return await client.result(job_id)
    finally:
        await server.put_down()
