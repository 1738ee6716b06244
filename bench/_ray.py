"""Workers of a Ray cluster beside worker processes of one machine: the same segments, in turns; and what a segment costs the servers.

Two kinds of segments: of Piper, where everything competes for the processors, and of a fixed time in which a worker sleeps, where only the
way to it counts.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import psutil
import uvloop

from bench._rows import Outcome, Row, median, spread
from bench._setup import Setup
from bench._text import planned, prose, spoken
from rhapsode.engines.piper_download import DEFAULT_VOICE
from rhapsode.fleet.base import Fleet, SynthesisTask
from rhapsode.fleet.layout import LocalFleetOptions
from rhapsode.fleet.local import LocalFleet
from rhapsode.fleet.ray import RayFleet
from rhapsode.fleet.ray_hired import RayFleetOptions

LIMIT = 0.9
WORKERS = 2
_SAME = ["x" * 120]
_KINDS = [("piper", DEFAULT_VOICE), ("tone", "tone-slow")]


async def _ready(fleet: Fleet) -> None:
    changed = asyncio.Event()
    fleet.on_change(changed.set)
    await fleet.start()
    while len(fleet.free_slots()) < WORKERS:
        changed.clear()
        await changed.wait()


@asynccontextmanager
async def _fleets(engine: str, folder: Path) -> AsyncIterator[tuple[LocalFleet, RayFleet]]:
    """Both kinds, with all workers up; they are never at work at once."""
    local = LocalFleet(LocalFleetOptions(engine, folder, folder, bulk_slots=WORKERS, nice=0))
    how: dict[str, Any] = {
        "address": "local",
        "min_workers": WORKERS,
        "max_workers": WORKERS,
        "express": False,
        "nice": 0,
    }
    ray = RayFleet(RayFleetOptions(engine, folder, folder, **how))
    try:
        await asyncio.gather(_ready(local), _ready(ray))
        yield local, ray
    finally:
        await asyncio.gather(local.stop(1), ray.stop(1))


async def _rate(fleet: Fleet, engine: str, voice: str, texts: Sequence[str]) -> float:
    """Segments per second on all slots."""
    segments = enumerate(texts, 1)

    async def work(slot_id: str) -> None:
        for number, text in segments:
            await fleet.synthesise(slot_id, SynthesisTask("bench", number, engine, text, voice, number, {}, "en", 0.2))

    begun = time.perf_counter()
    await asyncio.gather(*(work(slot.id) for slot in fleet.slots()))
    return len(texts) / (time.perf_counter() - begun)


async def _compare(setup: Setup, engine: str, voice: str) -> dict[str, list[float]]:
    texts = spoken(planned(prose(setup.size(3_000, 1_500)))) if engine == "piper" else _SAME * setup.size(20, 10)
    found: dict[str, list[float]] = {"local": [], "ray": []}
    async with _fleets(engine, setup.folder) as (local, ray):
        arms: dict[str, Fleet] = {"local": local, "ray": ray}
        for fleet in arms.values():
            await _rate(fleet, engine, voice, texts[: 4 * WORKERS])
        for number in range(setup.runs):
            for name in ("local", "ray") if number % 2 else ("ray", "local"):
                found[name].append(await _rate(arms[name], engine, voice, texts))
        if engine == "tone":
            found |= await _cost(ray, setup.size(2_000, 500))
    return found


async def _cost(ray: RayFleet, count: int) -> dict[str, list[float]]:
    """What a segment takes of the processors beside the speaking, µs: of the server, and of the process that knows Ray."""
    server = psutil.Process()
    driver = next(child for child in server.children() if "rhapsode.fleet.ray_driver" in child.cmdline())
    before = [sum(process.cpu_times()[:2]) for process in (server, driver)]
    rate = await _rate(ray, "tone", "tone", _SAME * count)
    spent = [
        1e6 * (sum(process.cpu_times()[:2]) - old) / count
        for process, old in zip((server, driver), before, strict=True)
    ]
    return {"without cost": [rate], "server": spent[:1], "driver": spent[1:]}


def measure(setup: Setup) -> Outcome:
    """A cluster of its own on this machine."""
    found = {engine: uvloop.run(_compare(setup, engine, voice)) for engine, voice in _KINDS}
    rows = []
    for engine, what in (("piper", "Piper"), ("tone", "of 0.6 s in which a worker sleeps")):
        arms = found[engine]
        local = median(arms["local"])
        rows.append(
            Row(f"segments of {what}, {WORKERS} Ray actors", median(arms["ray"]), "/s", LIMIT * local, True,
                f"{WORKERS} worker processes", local, spread(arms["ray"]))
        )  # fmt: skip
    tone = found["tone"]
    rows += [
        Row("zero-cost segments, one after another on each actor", tone["without cost"][0], "/s"),
        Row("processor time of the server for a segment", tone["server"][0], "µs"),
        Row("processor time of the Ray driver for a segment", tone["driver"][0], "µs"),
    ]
    return Outcome(rows, found)
