"""A day's worth of jobs in a row: memory, files and threads are as many in the evening as in the morning."""

import asyncio

import pytest

from tests.faults.conftest import MakeServer
from tests.faults.harness import Client
from tests.load.tools import LAZY_FILES, LAZY_THREADS, show, usage

AT_ONCE = 4
JOBS = 160
DAY = 17_280
"""One every five seconds."""
WARM = 80
CACHES_BYTES = 60_000_000
"""What the ledger's connections may keep of its pages (16 MB for writing, 4 MB for each of four that read), with what that takes."""
LUCK_BYTES = 15_000_000
"""Of an allocator, once the caches are full."""


async def work(client: Client, numbers: range) -> None:
    """Speak so many texts, some at once; each is fetched as somebody would."""

    async def some(start: int) -> None:
        for number in numbers[start::AT_ONCE]:
            kind = ("wav", "mp3", "opus", "flac")[number % 4]
            body = {"text": f"Text number {number} of a long day.", "seed": number + 1, "output_format": kind}
            job_id = await client.enqueue(**body)
            answer = await client.http.get(f"/tts/{job_id}/result", headers={"Prefer": "wait=60"})
            assert answer.status_code == 200, answer.text

    await asyncio.gather(*map(some, range(AT_ONCE)))


@pytest.mark.timeout(120)
async def test_a_days_jobs_leave_memory_and_files_as_they_were(make_server: MakeServer, long: bool) -> None:
    server = make_server()
    jobs = DAY if long else JOBS
    async with server.running() as client:
        await work(client, range(WARM))
        morning = usage(server)
        begun = asyncio.get_running_loop().time()
        await work(client, range(WARM, WARM + jobs // 2))
        noon = usage(server)
        await work(client, range(WARM + jobs // 2, WARM + jobs))
        seconds = asyncio.get_running_loop().time() - begun
        evening = usage(server)
    assert noon.memory - morning.memory < CACHES_BYTES
    assert evening.memory - noon.memory < LUCK_BYTES
    assert evening.files <= morning.files + LAZY_FILES
    assert evening.threads <= morning.threads + LAZY_THREADS
    show(
        "a day",
        [
            f"{jobs:,} jobs in {seconds:.0f} s",
            f"memory {morning.memory / 1e6:.0f} → {noon.memory / 1e6:.0f} → {evening.memory / 1e6:.0f} MB",
            f"files {morning.files} → {evening.files}",
            f"threads {morning.threads} → {evening.threads}",
        ],
    )
