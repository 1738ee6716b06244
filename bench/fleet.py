"""Measure what the fleet costs beside the engine alone: ``python bench/fleet.py [--segments 3000] [--slots 2] [--rounds 5]``.

Speaks the same zero-cost segments (tone engine, 0.1 s of audio each, all different) in this process and through worker
processes. The difference is what messages, pipes and scheduling of processes cost; the parent's own share of it is its CPU time.
Rounds are interleaved; medians are printed.
"""

import argparse
import asyncio
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import uvloop

from rhapsode.engines.base import EngineOptions
from rhapsode.engines.tone import ToneEngine
from rhapsode.fleet.base import SynthesisTask
from rhapsode.fleet.layout import LocalFleetOptions
from rhapsode.fleet.local import LocalFleet
from rhapsode.fleet.protocol import Synthesise
from rhapsode.fleet.worker import render

SECONDS_OF_LONG_TAKE = 10


def texts(count: int, start: int) -> Iterator[str]:
    return (f"Segment {n}." for n in range(start, start + count))


def engine_alone(folder: Path, count: int, start: int) -> float:
    """Segments per second in this process, post-processing included."""
    engine = ToneEngine(EngineOptions(1, folder, folder))
    begun = time.perf_counter()
    for text in texts(count, start):
        render(engine, Synthesise(1, text, "tone", 1, {}, "en", 0.2))
    return count / (time.perf_counter() - begun)


async def through(
    fleet: LocalFleet, slot_ids: list[str], segments: Iterator[str], voice: str = "tone"
) -> tuple[float, float]:
    """Seconds, and seconds of this process's CPU, to speak all segments on these slots."""

    async def worker(slot_id: str) -> None:
        for text in segments:
            await fleet.synthesise(slot_id, SynthesisTask("bench", 0, "tone", text, voice, 1, {}, "en", 0.2))

    begun, cpu = time.perf_counter(), time.process_time()
    await asyncio.gather(*(worker(slot_id) for slot_id in slot_ids))
    return time.perf_counter() - begun, time.process_time() - cpu


async def measure(folder: Path, count: int, slots: int, rounds: int) -> None:
    fleet = LocalFleet(LocalFleetOptions("tone", folder, folder, bulk_slots=slots, nice=0))
    await fleet.start()
    ready = asyncio.Event()
    fleet.on_change(ready.set)
    while len(fleet.free_slots()) < slots:
        ready.clear()
        await ready.wait()
    ids = [slot.id for slot in fleet.slots()]
    long_text = "x" * (50 * SECONDS_OF_LONG_TAKE)
    rows: dict[str, list[float]] = {}

    def note(name: str, value: float) -> None:
        rows.setdefault(name, []).append(value)

    for number in range(rounds):
        start = number * count
        note("engine alone, one process: segments/s", engine_alone(folder, count, start))
        for name, chosen in (("one slot", ids[:1]), (f"{slots} slots", ids)):
            seconds, cpu = await through(fleet, chosen, texts(count, start))
            note(f"fleet, {name}: segments/s", count / seconds)
            note(f"fleet, {name}: microseconds per segment and slot", seconds / count * len(chosen) * 1e6)
            note(f"fleet, {name}: parent's CPU, microseconds per segment", cpu / count * 1e6)
        seconds, cpu = await through(fleet, ids[:1], iter([long_text] * 100), "tone-chars")
        note(f"take of {SECONDS_OF_LONG_TAKE} s: milliseconds", seconds / 100 * 1e3)
        note(f"take of {SECONDS_OF_LONG_TAKE} s: parent's CPU, milliseconds", cpu / 100 * 1e3)
    await fleet.stop(1.0)
    for name, values in rows.items():
        print(f"{name:60} {statistics.median(values):10.1f}   ({min(values):.1f} … {max(values):.1f})")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--segments", type=int, default=3000)
    parser.add_argument("--slots", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        uvloop.run(measure(Path(folder), options.segments, options.slots, options.rounds))


if __name__ == "__main__":
    main()
