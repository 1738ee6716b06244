"""Each write, sync, truncation and rename fails once: whatever is hit, nothing is lost and nothing is half-done."""

import errno
import itertools
import random
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import pytest

from rhapsode.ledger.writer import EXIT_CODE
from tests.faults.checker import check_files, check_ledger, check_undisturbed
from tests.faults.conftest import MakeServer
from tests.faults.harness import Client, ServerProcess
from tests.faults.shim import KILL, Shim, with_shim

ERRORS = (errno.EIO, errno.ENOSPC, KILL)
SAMPLE = 14
START_SAMPLE = 3
LAST = 24
"""Of the writes that make a new ledger: the file gets its contents in these."""
FEW = 15
"""A small job writes more often than that, or the shim sees nothing."""
PARTS = 6
"""The long versions come in so many tests, each of minutes."""


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "part" in metafunc.fixturenames:
        metafunc.parametrize("part", range(PARTS) if metafunc.config.getoption("--long") else [0])


def body(seed: int) -> dict[str, Any]:
    """A small job: three segments, one file."""
    return {
        "text": "A first paragraph.\n\nThen a second one.\n\nAnd here is a third.",
        "predefined_voice_id": "tone-chars",
        "chunk_size": 50,
        "seed": seed,
        "output_format": ("wav", "mp3")[seed % 2],
    }


async def writes_of_a_job(server: ServerProcess, client: Client) -> int:
    """How often a small job writes."""
    before = server.shim.calls
    job_id = await client.enqueue(**body(1))
    await client.ended(job_id)
    await client.result(job_id)
    return server.shim.calls - before


async def speak_with_fault(server: ServerProcess, seed: int, nth: int, error: int) -> bool:
    """A small job during which the ``nth`` write fails; whether one did."""
    job_ids: list[str] = []
    async with server.client() as client:
        server.shim.fail(nth, error)
        with suppress(httpx.TransportError):  # it ended: on purpose, or because the ledger is no longer to be trusted
            answer = await client.http.post("/tts/enqueue", json=body(seed))
            if answer.status_code == 500:  # the last word of a server that ends
                assert "could not be made durable" in answer.text
                await server.died()
            else:
                assert answer.status_code in (202, 503, 507), answer.text
            if answer.status_code == 202:
                job_ids.append(answer.json()["job_id"])
                await client.ended(job_ids[0])
        fired = server.shim.mend()
        with suppress(httpx.TransportError):  # behind it: a write that failed late has ended the server by now
            job_ids.append(await client.enqueue(**body(seed)))
            fired = server.shim.fired
            await client.ended(job_ids[-1])
            check_ledger(server.ledger)
            return bool(fired)
    assert await server.died() in (EXIT_CODE, -9)
    assert fired
    await server.start()
    async with server.client() as client:
        for job_id in job_ids:
            await client.ended(job_id)
    check_ledger(server.ledger)
    return True


@pytest.mark.timeout(180)
async def test_no_failing_write_loses_or_spoils_anything(
    make_server: MakeServer, shim_library: Path, part: int, long: bool
) -> None:
    server = make_server(library=shim_library)
    await server.start()
    async with server.client() as client:
        writes = max([await writes_of_a_job(server, client) for _ in range(2)])
    assert writes > FEW
    cases = list(itertools.product(range(1, writes + 1), ERRORS))[part::PARTS]
    if not long:
        spread = random.Random(writes)
        cases = [(n, ERRORS[k % 3]) for k, n in enumerate(sorted(spread.sample(range(1, writes + 1), SAMPLE)))]
    fired = [await speak_with_fault(server, 10 + k, nth, error) for k, (nth, error) in enumerate(cases)]
    print(f"{sum(fired)} of {len(cases)} faults struck; a job writes {writes} times")
    assert sum(fired) >= len(cases) * 0.7, "most must strike"
    assert await server.stop() == 0
    await check_files(server)
    assert await check_undisturbed(server, make_server("undisturbed")) > len(cases) // 2


@pytest.mark.timeout(120)
async def test_a_start_on_a_failing_disk_says_what_is_wrong_and_can_be_repeated(
    make_server: MakeServer, shim_library: Path, part: int, long: bool
) -> None:
    probe = make_server("probe", library=shim_library)
    await probe.start()
    writes = probe.shim.calls
    await probe.stop()
    assert writes > FEW
    cases = list(itertools.product(range(1, writes + 1), (errno.EIO, errno.ENOSPC)))
    for nth, error in cases[part::PARTS] if long else random.Random(5).sample(cases, START_SAMPLE):
        server = make_server(f"start-{nth}-{error}", library=shim_library)
        server.shim.fail(nth, error)
        process = await server.spawn()
        with suppress(AssertionError):  # it ended before it answered
            await server.answering()
        if server.alive:
            await server.stop()
        said = server.log
        assert "Traceback" not in said or process.returncode == EXIT_CODE, (nth, error, said)
        if process.returncode not in (0, EXIT_CODE):
            assert process.returncode == 1, (nth, error, process.returncode)
            assert str(server.data_dir) in said, said
        server.shim.mend()
        async with server.running() as client:
            await client.ended(await client.enqueue(**body(2)))
        await check_files(server)
    print(f"a start writes {writes} times")


CHILD = """
import errno, sys
from pathlib import Path
from rhapsode.errors import RhapsodeError
from rhapsode.ledger.sqlite import SqliteDatabase
from tests.faults.shim import Shim

folder, library, last = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
shim = Shim(library, folder.parent / "control", folder, fresh=False)

def create(path):
    database = SqliteDatabase(path)
    try:
        database.begin_epoch(1.0, "")
    finally:
        database.close()

before = shim.calls
create(folder / "whole" / "ledger.db")
writes = shim.calls - before
refused = 0
for error in (errno.EIO, errno.ENOSPC):
    for nth in range(max(writes - last, 0) + 1, writes + 1):
        path = folder / f"{nth}-{error}" / "ledger.db"
        shim.fail(nth, error)
        try:
            create(path)
        except RhapsodeError as told:
            assert str(path) in str(told), told
            refused += 1
        shim.mend()
        create(path)
print(writes, refused)
"""


@pytest.mark.timeout(300)
def test_a_ledger_that_could_not_be_made_whole_is_made_anew(tmp_path: Path, shim_library: Path, long: bool) -> None:
    folder = tmp_path / "ledgers"
    shim = Shim(shim_library, tmp_path / "control", folder)
    done = subprocess.run(
        [sys.executable, "-c", CHILD, folder, shim_library, str(1_000 if long else LAST)],
        check=False,
        capture_output=True,
        text=True,
        env=with_shim(shim),
        cwd=Path(__file__).parents[2],
    )
    assert done.returncode == 0, done.stderr
    writes, refused = map(int, done.stdout.split())
    assert writes > LAST
    assert refused > LAST
