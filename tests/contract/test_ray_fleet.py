"""What concerns a fleet on a Ray cluster only: nodes that go and come, size by what waits, files that travel."""

import asyncio
import hashlib
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import psutil
import pytest

from rhapsode.errors import Unavailable, WorkerDied
from rhapsode.fleet.base import Fleet, SynthesisTask
from rhapsode.fleet.ray import RayFleet
from rhapsode.fleet.ray_hired import RayFleetOptions
from rhapsode.fleet.ray_seat import SEGMENTS_PER_WORKER, wanted_workers
from tests.clusters import RayCluster, running_cluster
from tests.fleets import Changes, running

TOKEN = "0123456789abcdef" * 2


def fleet_of(folder: Path, address: str, **changes: Any) -> RayFleet:
    (folder / "voices").mkdir(exist_ok=True)
    plain: dict[str, Any] = {
        "engine": "tone",
        "voices_dir": folder / "voices",
        "model_cache": folder / "models",
        "clips_dir": folder / "clips",
        "address": address,
        "node_cache": str(folder / "node"),
        "express": False,
    }
    return RayFleet(RayFleetOptions(**plain | changes))


def task(text: str = "Hello there.", voice: str = "tone-chars", reference: str | None = None) -> SynthesisTask:
    return SynthesisTask("job", 0, "tone", text, voice, 7, {}, "en", 0.2, reference)


@asynccontextmanager
async def started(fleet: Fleet) -> AsyncIterator[Changes]:
    changes = Changes(fleet)
    try:
        await fleet.start()
        yield changes
    finally:
        await fleet.stop(0)


@pytest.fixture
def guarded_cluster(tmp_path: Path) -> Iterator[str]:
    """Address of a cluster, started as users start one, that wants a token."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    ray = str(Path(sys.executable).with_name("ray"))
    plain = ["--num-cpus=1", "--include-dashboard=false", "--object-store-memory=80000000", "--block"]
    env = os.environ | {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": TOKEN, "RAY_USAGE_STATS_ENABLED": "0"}
    head = subprocess.Popen(
        [ray, "start", "--head", f"--port={port}", "--node-ip-address=127.0.0.1", f"--temp-dir=/tmp/rh-{port}", *plain],
        env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip
    yield f"127.0.0.1:{port}"
    processes = [head.pid, *(child.pid for child in psutil.Process(head.pid).children(recursive=True))]
    for pid in processes:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    head.wait()
    shutil.rmtree(f"/tmp/rh-{port}", ignore_errors=True)


@pytest.mark.timeout(120)
async def test_a_cluster_that_wants_a_token_says_so_and_takes_it(
    guarded_cluster: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    fleet = fleet_of(tmp_path, guarded_cluster)
    async with started(fleet), asyncio.timeout(90):
        while "RAY_AUTH_MODE=token" not in str(fleet.waiting_for()):
            await asyncio.sleep(0.05)
        monkeypatch.setenv("RAY_AUTH_MODE", "token")
        monkeypatch.setenv("RAY_AUTH_TOKEN", TOKEN)
        while not fleet.free_slots():
            await asyncio.sleep(0.05)
        assert fleet.waiting_for() is None


@pytest.mark.parametrize(
    ("busy", "waiting", "wanted"),
    [
        (0, 0, 1), (1, 0, 1), (1, 1, 2), (1, SEGMENTS_PER_WORKER, 2), (1, SEGMENTS_PER_WORKER + 1, 3), (3, 1_000_000, 8),
        (8, 0, 8), (8, 5, 8),
    ],
)  # fmt: skip
def test_the_size_follows_what_waits_within_its_bounds(busy: int, waiting: int, wanted: int) -> None:
    assert wanted_workers(busy, waiting, 1, 8) == wanted


async def test_workers_come_with_work_and_go_without(ray_cluster: RayCluster, tmp_path: Path) -> None:
    fleet = fleet_of(tmp_path, ray_cluster.address, min_workers=0, max_workers=2, idle_s=0.3)
    async with started(fleet) as changes:
        await changes.until(lambda: not fleet.slots())
        assert (await fleet.describe()).info.name == "tone", "known since the start"
        fleet.expect(1)
        await changes.until(lambda: len(fleet.free_slots()) == 1)
        fleet.expect(100)
        await changes.until(lambda: len(fleet.free_slots()) == 2)
        fleet.expect(0)
        await changes.until(lambda: not fleet.slots())
        async with asyncio.timeout(20):
            while ray_cluster.workers():
                await asyncio.sleep(0.02)


async def test_a_cluster_without_room_says_so_and_work_goes_on_with_those_there_are(
    ray_cluster: RayCluster, tmp_path: Path
) -> None:
    fleet = fleet_of(
        tmp_path, ray_cluster.address, max_workers=2, resources={"": {"nowhere": 1.0}}, start_timeout_s=4.0
    )
    async with started(fleet) as changes:
        assert fleet.free_slots() == []
        room = "the cluster has no room for a worker (1 CPU, 1 nowhere)"
        await changes.until(lambda: fleet.waiting_for() == room)
        with pytest.raises(Unavailable, match="no room"):
            await fleet.describe()


async def test_workers_share_a_graphics_card_and_no_more_of_them_than_fit(
    ray_cluster: RayCluster, tmp_path: Path
) -> None:
    half: dict[str, Any] = {"gpus": 0.5, "cpus": 0.5}
    async with running(fleet_of(tmp_path, ray_cluster.address, min_workers=2, max_workers=2, **half)) as changes:
        assert changes.count
        late = fleet_of(tmp_path, ray_cluster.address, start_timeout_s=4.0, **half)
        async with started(late) as others:
            await others.until(lambda: "(0.5 CPU, 0.5 GPU)" in (late.waiting_for() or ""))


async def test_voices_clips_and_models_reach_other_nodes_by_content(ray_cluster: RayCluster, tmp_path: Path) -> None:
    fleet = fleet_of(tmp_path, ray_cluster.address)
    (tmp_path / "clips").mkdir()
    clip = b"RIFF, so to speak" * 1000
    digest = hashlib.sha256(clip).hexdigest()
    (tmp_path / "clips" / f"{digest}.wav").write_bytes(clip)
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "some.onnx").write_bytes(b"weights")
    async with running(fleet):
        (tmp_path / "voices" / "extra.tone").write_text("one more")
        assert [voice.id for voice in (await fleet.describe(refresh=True)).voices][4:] == ["extra"]
        await fleet.synthesise("bulk-0", task(voice="extra"))
        await fleet.synthesise("bulk-0", task(reference=digest))
        content = tmp_path / "node" / "content"
        assert (content / digest).read_bytes() == clip
        (model,) = (tmp_path / "node" / "folders").glob("models-*/some.onnx")
        assert model.readlink() == content / hashlib.sha256(b"weights").hexdigest()
        (shown,) = (tmp_path / "node" / "folders").glob(f"clips-*/{digest}.wav")
        assert shown.read_bytes() == clip
        (tmp_path / "voices" / "extra.tone").unlink()
        assert [voice.id for voice in (await fleet.describe(refresh=True)).voices][4:] == []


async def test_a_killed_node_is_charged_to_nobody_and_others_take_over(tmp_path: Path) -> None:
    with running_cluster() as cluster:
        cluster.add_node(cpus=0)
        nodes = [cluster.add_node(cpus=1) for _ in range(2)]
        fleet = fleet_of(tmp_path, cluster.address, min_workers=2, max_workers=2)
        async with running(fleet) as changes:
            victim = cluster.node_of(next(iter(fleet.processes().values())))
            speaking = {seat: asyncio.create_task(fleet.synthesise(seat, task("!hang!"))) for seat in fleet.processes()}
            await asyncio.sleep(0)
            lost = next(seat for seat, pid in fleet.processes().items() if cluster.node_of(pid) is victim)
            other = next(seat for seat in speaking if seat != lost)
            cluster.kill_node(victim)
            with pytest.raises(Unavailable, match="lost"):
                await asyncio.wait_for(speaking[lost], 30)
            assert not speaking[other].done()
            cluster.kill_worker(fleet.processes()[other])
            with pytest.raises(WorkerDied):
                await asyncio.wait_for(speaking[other], 30)
            assert victim in nodes
            await changes.until(lambda: len(fleet.free_slots()) == 1)
            slot = fleet.free_slots()[0].id
            assert (await fleet.synthesise(slot, task())).take.samples
            # the whole cluster goes, and another one comes at the same address
            address = cluster.address
            hanging = asyncio.create_task(fleet.synthesise(slot, task("!hang!")))
            await asyncio.sleep(0)
            cluster.stop()
            with pytest.raises(Unavailable, match=r"lost|away"):
                await asyncio.wait_for(hanging, 30)
            await changes.until(lambda: "cluster away" in (fleet.waiting_for() or ""))
            assert (await fleet.describe()).info.name == "tone"
            cluster.start_again(address)
            cluster.add_node(cpus=2)
            await changes.until(lambda: bool(fleet.free_slots()))
            rendered = await fleet.synthesise(fleet.free_slots()[0].id, task())
            assert hashlib.sha256(rendered.data).hexdigest() == rendered.take.digest
