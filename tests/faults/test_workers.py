"""What becomes of a local fleet when its processes die, hang, stop, leak or talk rubbish: real processes, real signals."""

import asyncio
import dataclasses
import hashlib
import os
import random
import shlex
import signal
import stat
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest

from rhapsode.errors import DeadlineMissed, SynthesisError, Unavailable, WorkerDied
from rhapsode.fleet.base import SynthesisTask
from rhapsode.fleet.layout import LocalFleetOptions
from rhapsode.fleet.local import LocalFleet
from rhapsode.fleet.protocol import Ready, frame
from tests.fleets import Changes


def fleet_of(folder: Path, **changes: Any) -> LocalFleet:
    options = LocalFleetOptions("tone", folder, folder, bulk_slots=1, backoff_base_s=0.05, heartbeat_s=0.1)
    return LocalFleet(dataclasses.replace(options, **changes))


def task(text: str = "Hello there.", voice: str = "tone-chars", index: int = 0) -> SynthesisTask:
    return SynthesisTask("job", index, "tone", text, voice, 7, {}, "en", 0.2)


@asynccontextmanager
async def running(fleet: LocalFleet) -> AsyncIterator[Changes]:
    changes = Changes(fleet)
    others = set(psutil.Process().children(recursive=True))
    """Of tests that ran before in this process: a helper of the interpreter, for instance."""
    try:
        await fleet.start()
        await changes.until(lambda: len(fleet.free_slots()) == len(fleet.slots()))
        yield changes
    finally:
        await fleet.stop(0)
        assert set(psutil.Process().children(recursive=True)) <= others


def interpreter(folder: Path, script: str) -> str:
    """An executable to be used as the workers' interpreter, which runs ``script`` before it becomes a worker.

    ``w`` is the worker module, and ``fd`` its end of the socket.
    """
    module, path = folder / "sabotaged_worker.py", folder / "python"
    lines = ["import os, sys", "fd = int(sys.argv[-1])", "sys.argv = ['worker', str(fd)]"]
    module.write_text("\n".join([*lines, "import rhapsode.fleet.worker as w", script, "w.main()", ""]))
    # by way of a shell, because the path in a first line may not have a space
    path.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} {shlex.quote(str(module))} "$@"\n')
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return str(path)


SABOTAGE = """
render = w.render
def sabotaged(engine, request):
    if request.text == "Rubbish.":
        os.write(fd, {rubbish!r})
    return render(engine, request)
w.render = sabotaged
"""


KILLED_STORING = """
def put(path, data, point):
    os.kill(os.getpid(), 9)
w.put = put
"""
PAUSED_STORING = """
import time
put = w.put
def slowly(path, data, point):
    time.sleep(0.3)
    put(path, data, point)
w.put = slowly
"""


async def stored(fleet: LocalFleet, text: str = "Hello there.") -> tuple[str, bool]:
    rendered = await fleet.synthesise("bulk-0", dataclasses.replace(task(text), store=True))
    assert rendered.stored is not None
    return rendered.take.digest, await rendered.stored


async def test_a_worker_stores_takes_only_when_it_may(tmp_path: Path) -> None:
    takes = tmp_path / "takes"
    takes.mkdir()
    fleet = fleet_of(tmp_path, takes_dir=takes)
    async with running(fleet):
        assert (await fleet.synthesise("bulk-0", task("Nobody keeps this."))).stored is None
        digest, done = await stored(fleet)
        assert done
        assert hashlib.sha256((takes / digest[:2] / digest).read_bytes()).hexdigest() == digest
    assert [path.name for path in takes.rglob("*") if path.is_file()] == [digest]
    fleet = fleet_of(tmp_path)
    async with running(fleet):
        rendered = await fleet.synthesise("bulk-0", dataclasses.replace(task(), store=True))
        assert rendered.stored is None


async def test_a_take_that_a_worker_cannot_store_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    fleet = fleet_of(tmp_path, takes_dir=tmp_path / "file")
    async with running(fleet):
        assert not (await stored(fleet))[1]
        assert not (await stored(fleet, "And the worker lives."))[1]
        assert fleet.deaths == 0


async def test_a_worker_that_dies_while_it_stores_has_not_stored(tmp_path: Path) -> None:
    python = interpreter(tmp_path, KILLED_STORING)
    fleet = fleet_of(tmp_path, python=python, takes_dir=tmp_path / "takes")
    async with running(fleet) as changes:
        assert not (await stored(fleet))[1]
        await changes.until(lambda: fleet.deaths == 1)


async def test_a_worker_that_is_told_to_stop_stores_first(tmp_path: Path) -> None:
    python = interpreter(tmp_path, PAUSED_STORING)
    (tmp_path / "takes").mkdir()
    fleet = fleet_of(tmp_path, python=python, takes_dir=tmp_path / "takes")
    async with running(fleet):
        rendered = await fleet.synthesise("bulk-0", dataclasses.replace(task(), store=True))
        assert rendered.stored is not None
        assert fleet.free_slots(), "the slot does not wait for the disk"
        await fleet.unload()
        assert await rendered.stored
    assert (tmp_path / "takes" / rendered.take.digest[:2] / rendered.take.digest).is_file()


async def test_twenty_kills_at_random_moments_charge_the_segment_in_flight_and_nothing_else(tmp_path: Path) -> None:
    chance = random.Random(1)
    fleet = fleet_of(tmp_path, bulk_slots=2, express_threads=1)
    done: dict[int, str] = {}
    charged = 0
    in_flight: set[str] = set()
    async with running(fleet) as changes:
        pending: list[int] = []
        started = 0
        kills = 0

        async def speak(slot_id: str, index: int) -> None:
            nonlocal charged
            in_flight.add(slot_id)
            try:
                rendered = await fleet.synthesise(slot_id, task(f"Segment {index} of a text.", "tone-slow", index))
            except WorkerDied:
                charged += 1
                pending.append(index)
            except Unavailable:
                pending.append(index)
            else:
                assert index not in done
                done[index] = rendered.take.digest
            finally:
                in_flight.discard(slot_id)

        async def work() -> None:
            nonlocal started
            async with asyncio.TaskGroup() as group:
                while kills < 20 or pending or in_flight:
                    for slot in fleet.free_slots():
                        if not pending and kills < 20:
                            pending.append(started)
                            started += 1
                        if pending:
                            group.create_task(speak(slot.id, pending.pop(0)))
                    await asyncio.sleep(0.001)

        async def kill() -> None:
            nonlocal kills
            while kills < 20:
                await asyncio.sleep(chance.uniform(0.0, 0.3))
                processes = fleet.processes()
                if victims := [processes[slot_id] for slot_id in sorted(in_flight) if slot_id in processes]:
                    os.kill(chance.choice(victims), signal.SIGKILL)
                    kills += 1

        async with asyncio.timeout(60), asyncio.TaskGroup() as group:
            group.create_task(work())
            group.create_task(kill())
        assert set(done) == set(range(started))
        assert 15 <= charged <= 20, "a kill between two segments charges nobody"
        await changes.until(lambda: len(fleet.free_slots()) == 3)
        undisturbed = await fleet.synthesise("express", task("Segment 3 of a text.", "tone-slow", 3))
        assert undisturbed.take.digest == done[3]


async def test_a_killed_idle_worker_is_replaced_and_charges_nobody(tmp_path: Path) -> None:
    fleet = fleet_of(tmp_path)
    async with running(fleet) as changes:
        before = fleet.processes()
        os.kill(before["bulk-0"], signal.SIGKILL)
        await changes.until(lambda: not fleet.free_slots())
        await changes.until(lambda: bool(fleet.free_slots()))
        assert fleet.processes() != before
        assert (await fleet.synthesise("bulk-0", task())).take.samples


async def test_a_stopped_worker_is_missed_and_ended(tmp_path: Path) -> None:
    fleet = fleet_of(tmp_path, heartbeat_timeout_s=1.0)
    async with running(fleet) as changes:
        speaking = asyncio.create_task(fleet.synthesise("bulk-0", task("!hang!")))
        await asyncio.sleep(0)
        os.kill(fleet.processes()["bulk-0"], signal.SIGSTOP)
        with pytest.raises(DeadlineMissed, match="no sign of life"):
            await speaking
        await changes.until(lambda: bool(fleet.free_slots()))
        assert (await fleet.synthesise("bulk-0", task())).take.samples


async def test_a_busy_worker_that_beats_is_left_alone_until_its_deadline(tmp_path: Path) -> None:
    fleet = fleet_of(tmp_path, heartbeat_timeout_s=1.0, deadline_base_s=2.0, deadline_per_char_s=0.0)
    async with running(fleet) as changes:
        begun = asyncio.get_running_loop().time()
        with pytest.raises(DeadlineMissed, match="2 s to synthesise"):
            await fleet.synthesise("bulk-0", task("!hang!"))
        assert asyncio.get_running_loop().time() - begun > 1.9
        await changes.until(lambda: bool(fleet.free_slots()))
        assert (await fleet.synthesise("bulk-0", task())).take.samples


async def test_workers_are_not_blamed_when_it_was_the_parent_that_slept(tmp_path: Path) -> None:
    fleet = fleet_of(tmp_path, heartbeat_timeout_s=1.0)
    async with running(fleet):
        before = fleet.processes()
        time.sleep(1.5)  # noqa: ASYNC251 - the event loop is to stand still
        assert (await fleet.synthesise("bulk-0", task("x" * 60, "tone-slow"))).take.samples
        assert fleet.processes() == before


async def test_the_deadline_grows_with_the_text_and_does_not_count_a_cold_start(tmp_path: Path) -> None:
    slow_start = interpreter(tmp_path, "import time; time.sleep(0.5)")
    fleet = fleet_of(
        tmp_path,
        python=slow_start,
        deadline_base_s=0.3,
        deadline_per_char_s=0.01,
        idle_unload_s=0.2,
        start_timeout_s=20.0,
    )
    async with running(fleet):
        async with asyncio.timeout(20):
            while fleet.processes():  # the slot stays free: nothing changes that would be told
                await asyncio.sleep(0.01)
        assert (await fleet.synthesise("bulk-0", task("x" * 80, "tone-slow"))).take.samples


@pytest.mark.parametrize(
    "rubbish",
    [
        pytest.param(b"\xff\xff\xff\xff", id="huge frame"),
        pytest.param(b"\x00\x00\x00\x05hello", id="no message"),
        pytest.param(bytes(frame(Ready(99))), id="answer to nothing"),
    ],
)
async def test_rubbish_in_the_pipe_counts_as_a_death(tmp_path: Path, rubbish: bytes) -> None:
    fleet = fleet_of(tmp_path, python=interpreter(tmp_path, SABOTAGE.format(rubbish=rubbish)))
    async with running(fleet) as changes:
        with pytest.raises(WorkerDied, match="rubbish"):
            await fleet.synthesise("bulk-0", task("Rubbish."))
        await changes.until(lambda: bool(fleet.free_slots()))
        assert (await fleet.synthesise("bulk-0", task())).take.samples


async def test_a_worker_that_exits_by_itself_is_told_with_its_last_words(tmp_path: Path) -> None:
    script = "def bad(engine, request):\n    print('out of luck', file=sys.stderr)\n    os._exit(3)\nw.render = bad"
    fleet = fleet_of(tmp_path, python=interpreter(tmp_path, script))
    async with running(fleet):
        with pytest.raises(WorkerDied, match="exited with code 3: out of luck"):
            await fleet.synthesise("bulk-0", task())


async def test_a_leaking_worker_is_replaced_after_its_segment_without_a_charge(tmp_path: Path) -> None:
    fleet = fleet_of(tmp_path, memory_cap_bytes=250_000_000)
    async with running(fleet) as changes:
        pids = set()
        for _ in range(8):
            await changes.until(lambda: bool(fleet.free_slots()))
            pids |= set(fleet.processes().values())
            assert (await fleet.synthesise("bulk-0", task("!leak!"))).take.samples
            assert all(p.memory_info().rss < 400_000_000 for p in psutil.Process().children())
        assert 2 <= len(pids) <= 4


async def test_a_crash_loop_at_start_is_visible_backs_off_and_ends_when_the_cause_does(tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    starts = tmp_path / "starts"
    script = (
        f"open({str(starts)!r}, 'a').write('.')\n"
        f"if os.path.exists({str(broken)!r}):\n    sys.stderr.write('no such driver')\n    sys.exit(4)"
    )
    fleet = fleet_of(tmp_path, python=interpreter(tmp_path, script), backoff_base_s=0.2, backoff_max_s=0.8)
    async with running(fleet) as changes:
        begun = len(starts.read_text())
        broken.touch()
        os.kill(fleet.processes()["bulk-0"], signal.SIGKILL)
        await changes.until(lambda: "code 4" in (fleet.waiting_for() or ""))
        assert fleet.waiting_for() == "engine restarting: the worker exited with code 4: no such driver"
        assert fleet.free_slots() == []
        with pytest.raises(Unavailable, match="not free"):
            await fleet.synthesise("bulk-0", task())
        await asyncio.sleep(2.0)
        assert 2 <= len(starts.read_text()) - begun <= 6, "no restart storm"
        broken.unlink()
        await changes.until(lambda: bool(fleet.free_slots()))
        assert fleet.waiting_for() is None
        assert (await fleet.synthesise("bulk-0", task())).take.samples


async def test_a_cold_worker_that_does_not_start_charges_nobody(tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    script = f"if os.path.exists({str(broken)!r}):\n    sys.exit(4)"
    fleet = fleet_of(tmp_path, python=interpreter(tmp_path, script), idle_unload_s=0.1)
    async with running(fleet):
        async with asyncio.timeout(20):
            while fleet.processes():  # the slot stays free: nothing changes that would be told
                await asyncio.sleep(0.01)
        broken.touch()
        with pytest.raises(Unavailable, match="code 4"):
            await fleet.synthesise("bulk-0", task())
        assert fleet.free_slots() == []


async def test_no_start_is_waited_for_longer_than_its_timeout(tmp_path: Path) -> None:
    before = psutil.Process().children()  # of other tests in this process
    fleet = fleet_of(tmp_path, python=interpreter(tmp_path, "import time; time.sleep(60)"), start_timeout_s=0.5)
    with pytest.raises(SynthesisError, match="to start"):
        await fleet.start()
    await fleet.stop(0)
    assert set(psutil.Process().children()) <= set(before)


async def test_bulk_workers_are_niced_and_each_knows_its_threads(tmp_path: Path) -> None:
    fleet = fleet_of(tmp_path, express_threads=2, nice=7)
    async with running(fleet):
        workers = {slot_id: psutil.Process(pid) for slot_id, pid in fleet.processes().items()}
        own = os.getpriority(os.PRIO_PROCESS, 0)
        assert {slot_id: worker.nice() - own for slot_id, worker in workers.items()} == {"express": 3, "bulk-0": 7}
        threads = {slot_id: worker.environ()["OMP_NUM_THREADS"] for slot_id, worker in workers.items()}
        assert threads == {"express": "2", "bulk-0": "1"}


async def test_interrupt_and_terminate_are_the_parents_to_answer(tmp_path: Path) -> None:
    fleet = fleet_of(tmp_path)
    async with running(fleet):
        speaking = asyncio.create_task(fleet.synthesise("bulk-0", task("x" * 60, "tone-slow")))
        await asyncio.sleep(0)
        for signal_number in (signal.SIGINT, signal.SIGTERM):
            os.kill(fleet.processes()["bulk-0"], signal_number)
        assert (await speaking).take.samples


PARENT = """
import asyncio, pathlib, sys
from rhapsode.fleet.base import SynthesisTask
from rhapsode.fleet.layout import LocalFleetOptions
from rhapsode.fleet.local import LocalFleet
from rhapsode.fleet.protocol import Ready, frame

async def main():
    folder = pathlib.Path(sys.argv[1])
    fleet = LocalFleet(LocalFleetOptions("tone", folder, folder, bulk_slots=2, python=sys.argv[2], heartbeat_s=0.5))
    await fleet.start()
    while len(fleet.free_slots()) < 2:
        await asyncio.sleep(0.01)
    hanging = asyncio.create_task(
        fleet.synthesise("bulk-0", SynthesisTask("job", 0, "tone", "!hang!", "tone", 1, {}, "en", 0.2)))
    await asyncio.sleep(0.1)
    print(*fleet.processes().values(), flush=True)
    await hanging

asyncio.run(main())
"""


@pytest.mark.parametrize("kernel_tells", [True, False], ids=["death signal", "broken socket only"])
def test_no_worker_outlives_a_killed_parent(tmp_path: Path, kernel_tells: bool) -> None:
    python = sys.executable if kernel_tells else interpreter(tmp_path, "w._PR_SET_PDEATHSIG = 0")
    with subprocess.Popen([sys.executable, "-c", PARENT, str(tmp_path), python], stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        line = parent.stdout.readline()
        children = [psutil.Process(int(pid)) for pid in line.split()]
        assert len(children) == 2
        parent.kill()
    _, alive = psutil.wait_procs(children, timeout=2)
    alive = [process for process in alive if process.status() != psutil.STATUS_ZOMBIE]
    for process in alive:
        process.kill()
    assert alive == []
