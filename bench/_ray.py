"""Measure a Ray fleet beside worker processes of one machine: ``python bench/ray_fleet.py [--slots 2] [--rounds 5]``.

Both speak the same segments with the same engine (tone-slow: a fixed time for each character), in turns; the ratio of their
throughput is printed, and what a segment without cost takes of the Ray driver process and of the server.
"""

import argparse
import asyncio
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import uvloop

from rhapsode.fleet.base import Fleet, SynthesisTask
from rhapsode.fleet.layout import LocalFleetOptions
from rhapsode.fleet.local import LocalFleet
from rhapsode.fleet.ray import RayFleet
from rhapsode.fleet.ray_hired import RayFleetOptions

TEXT = "x" * 120


async def ready(fleet: Fleet, slots: int) -> None:
    changed = asyncio.Event()
    fleet.on_change(changed.set)
    await fleet.start()
    while len(fleet.free_slots()) < slots:
        changed.clear()
        await changed.wait()


async def rate(fleet: Fleet, count: int, voice: str) -> float:
    """Segments per second on all slots."""
    segments = iter(range(count))

    async def worker(slot_id: str, segments: Iterator[int]) -> None:
        for number in segments:
            task = SynthesisTask("bench", number, "tone", TEXT, voice, number + 1, {}, "en", 0.2)
            await fleet.synthesise(slot_id, task)

    begun = time.perf_counter()
    await asyncio.gather(*(worker(slot.id, segments) for slot in fleet.slots()))
    return count / (time.perf_counter() - begun)


def driver_of(process: psutil.Process) -> psutil.Process:
    return next(child for child in process.children() if "rhapsode.fleet.ray_driver" in child.cmdline())


async def measure(folder: Path, slots: int, rounds: int, count: int, address: str) -> None:
    local = LocalFleet(LocalFleetOptions("tone", folder, folder, bulk_slots=slots, nice=0))
    ray = RayFleet(
        RayFleetOptions(
            "tone", folder, folder, address=address, min_workers=slots, max_workers=slots, express=False, nice=0
        )
    )
    await asyncio.gather(ready(local, slots), ready(ray, slots))
    await rate(ray, slots * 4, "tone")
    ratios: list[float] = []
    for number in range(rounds):
        here, there = await rate(local, count, "tone-slow"), await rate(ray, count, "tone-slow")
        ratios.append(there / here)
        print(f"round {number + 1}: local {here:.1f} segments/s, Ray {there:.1f}, ratio {there / here:.3f}", flush=True)
    print(f"ratio: {statistics.median(ratios):.3f} ({min(ratios):.3f} … {max(ratios):.3f})")
    own, driver = psutil.Process(), driver_of(psutil.Process())
    before = [sum(process.cpu_times()[:2]) for process in (own, driver)]
    fast = await rate(ray, 1_000, "tone")
    spent = [sum(process.cpu_times()[:2]) - old for process, old in zip((own, driver), before, strict=True)]
    print(
        f"without cost: {fast:.0f} segments/s; CPU per segment: server {spent[0] * 1e3:.0f} µs, driver {spent[1] * 1e3:.0f} µs"
    )
    await asyncio.gather(local.stop(1), ray.stop(1))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--slots", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--segments", type=int, default=20, help="of each round")
    parser.add_argument("--address", default="local")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        uvloop.run(measure(Path(folder), options.slots, options.rounds, options.segments, options.address))


if __name__ == "__main__":
    main()
