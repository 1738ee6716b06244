"""Workers that die and segments that kill: who is charged, what is given up, what goes on."""

import asyncio
import os
import random
import signal
from typing import Any

import pytest

from tests.faults.conftest import MakeServer
from tests.faults.harness import LedgerFile

KILLS = 20
SLOTS = 2
UNFINISHED = "SELECT 1 FROM jobs WHERE status IN ('queued', 'running')"
RUNNING = "SELECT 1 FROM segments WHERE status = 'running'"


def body(number: int) -> dict[str, Any]:
    """One of many jobs of about two seconds for two workers."""
    return {
        "text": " ".join(f"Slow sentence number {n} of book {number}." for n in range(1, 16)),
        "predefined_voice_id": "tone-slow",
        "chunk_size": 50,
        "seed": 200 + number,
        "output_format": ("wav", "flac")[number % 2],
    }


@pytest.mark.timeout(120)
async def test_twenty_killed_workers_charge_one_segment_each_and_change_no_byte(make_server: MakeServer) -> None:
    chance = random.Random(7)
    server = make_server("killed", {"scheduler": {"segment_failures": KILLS}})
    ledger = LedgerFile(server.data_dir / "ledger.db")
    jobs: dict[str, dict[str, Any]] = {}
    killed = 0
    async with server.running() as client:
        while killed < KILLS:
            if len(ledger.rows(UNFINISHED)) < 2:
                jobs[await client.enqueue(**body(len(jobs)))] = body(len(jobs))
            elif len(ledger.rows(RUNNING)) == SLOTS:
                await asyncio.sleep(chance.uniform(0.0, 0.2))  # the random moment
                if workers := server.workers():  # none while all that died are being replaced
                    os.kill(chance.choice(workers).pid, signal.SIGKILL)
                    killed += 1
            await asyncio.sleep(0.005)
        for job_id in jobs:
            await client.ended(job_id)
        files = [await client.result(job_id) for job_id in jobs]

    charged = 0
    for job_id in jobs:
        started = {(e.data["index"], e.data["attempt"]) for e in ledger.events(job_id, "segment.started")}
        failed = [(e.data["index"], e.data["attempt"]) for e in ledger.events(job_id, "segment.failed")]
        assert len(failed) == len(set(failed)), "an attempt fails once"
        assert set(failed) <= started
        assert all("signal 9" in e.data["error"] for e in ledger.events(job_id, "segment.failed"))
        for segment in ledger.segments(job_id):
            assert segment.failures == sum(index == segment.idx for index, _ in failed)
        charged += len(failed)
        completed = [event.data["index"] for event in ledger.events(job_id, "segment.completed")]
        assert sorted(completed) == list(range(ledger.job(job_id).segments_total))
    assert KILLS // 2 <= charged <= KILLS, "a kill between two segments charges nobody"
    ledger.check_events()

    undisturbed = make_server("undisturbed", {"fleet": {"bulk_slots": 4}})
    async with undisturbed.running() as client:
        assert await client.speak_all(list(jobs.values())) == files


async def test_a_segment_that_kills_its_worker_is_given_up_and_the_others_go_on(make_server: MakeServer) -> None:
    server = make_server()
    ledger = LedgerFile(server.data_dir / "ledger.db")
    text = "A first sentence that is good.\n\nThis one is a !crash! for its worker.\n\nAnd the last one is good again."
    async with server.running() as client:
        poisoned = await client.enqueue(text=text, seed=3)
        others = [await client.enqueue(text=f"Another job. It has number {n}.") for n in range(3)]
        failed = await client.ended(poisoned, "failed")
        for job_id in others:
            await client.ended(job_id)
        assert "segment 1" in failed["error"]
        assert "3 times" in failed["error"]
        assert (await client.http.get(f"/tts/{poisoned}/result")).status_code == 500

        attempts = [event.data["failures"] for event in ledger.events(poisoned, "segment.failed")]
        assert attempts == [1, 2, 3]
        good = {s.idx: s.take_digest for s in ledger.segments(poisoned) if s.status == "done"}

        answer = await client.http.post(f"/tts/{poisoned}/retry")
        assert (answer.status_code, answer.json()["run"]) == (202, 2)
        await client.until(poisoned, lambda status: status["status"] == "failed" and status["run"] == 2)
    attempts = [event.data["failures"] for event in ledger.events(poisoned, "segment.failed")]
    assert attempts == [1, 2, 3, 1, 2, 3], "a new run has a new budget"
    segments = ledger.segments(poisoned)
    assert good.items() <= {s.idx: s.take_digest for s in segments}.items(), "good takes are kept"
    started = [event.data["index"] for event in ledger.events(poisoned, "segment.started")]
    assert started.count(1) == 6
    assert all(started.count(index) == 1 for index in good)
    ledger.check_events()
