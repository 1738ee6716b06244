"""Workers that die and segments that kill: who is charged, what is given up, what goes on."""

import asyncio
import os
import random
import signal
from contextlib import suppress

import pytest

from tests.faults.conftest import MakeServer
from tests.faults.harness import LedgerFile

KILLS = 20

BODIES = [
    {
        "text": " ".join(f"Slow sentence number {n} of book {seed}." for n in range(1, 46)),
        "predefined_voice_id": "tone-slow",
        "chunk_size": 50,
        "seed": seed,
        "output_format": kind,
    }
    for seed, kind in ((21, "wav"), (22, "flac"))
]


@pytest.mark.timeout(120)
async def test_twenty_killed_workers_charge_one_segment_each_and_change_no_byte(make_server: MakeServer) -> None:
    chance = random.Random(7)
    server = make_server("killed", {"scheduler": {"segment_failures": KILLS}})
    ledger = LedgerFile(server.data_dir / "ledger.db")
    async with server.running() as client:
        ids = [await client.enqueue(**body) for body in BODIES]
        killed = 0
        while killed < KILLS:
            await asyncio.sleep(chance.uniform(0.0, 0.3))  # the random moment
            if workers := server.workers():
                with suppress(ProcessLookupError):
                    os.kill(chance.choice(workers).pid, signal.SIGKILL)
                    killed += 1
            assert "running" in [(await client.status(job_id))["status"] for job_id in ids], "too little to do"
        for job_id in ids:
            await client.ended(job_id)
        files = [await client.result(job_id) for job_id in ids]

    charged = 0
    for job_id in ids:
        started = {(e.data["index"], e.data["attempt"]) for e in ledger.events(job_id, "segment.started")}
        failed = [(e.data["index"], e.data["attempt"]) for e in ledger.events(job_id, "segment.failed")]
        assert len(failed) == len(set(failed)), "an attempt fails once"
        assert set(failed) <= started
        for segment in ledger.segments(job_id):
            assert segment.failures == sum(index == segment.idx for index, _ in failed)
        charged += len(failed)
        completed = [event.data["index"] for event in ledger.events(job_id, "segment.completed")]
        assert sorted(completed) == list(range(45))
    assert KILLS // 2 <= charged <= KILLS, "a kill between two segments charges nobody"
    ledger.check_events()

    undisturbed = make_server("undisturbed", {"fleet": {"bulk_slots": 4}})
    async with undisturbed.running() as client:
        assert await client.speak_all(BODIES) == files


async def test_a_segment_that_kills_its_worker_is_given_up_and_the_others_go_on(make_server: MakeServer) -> None:
    server = make_server()
    ledger = LedgerFile(server.data_dir / "ledger.db")
    text = (
        "A first sentence that is good.\n\nThis one is a !crash-4! for its worker.\n\nAnd the last one is good again."
    )
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
        assert answer.status_code == 202
        done = await client.ended(poisoned)
        assert done["run"] == 2
        assert done["error"] is None
        assert (await client.result(poisoned)).startswith(b"RIFF")
    segments = ledger.segments(poisoned)
    assert good.items() <= {s.idx: s.take_digest for s in segments}.items(), "good takes are kept"
    started = [event.data["index"] for event in ledger.events(poisoned, "segment.started")]
    assert {index: started.count(index) for index in set(started)} == {0: 1, 1: 5, 2: 1}
    ledger.check_events()
