"""The engine by itself: one worker process, no server, no queue, no data directory."""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace

from rhapsode.compose import fleet_options
from rhapsode.errors import EngineError
from rhapsode.fleet.base import SynthesisTask, find_voice
from rhapsode.fleet.local import LocalFleet
from rhapsode.model import Voice
from rhapsode.settings import Settings

_TRIAL = "This is a test."


@dataclass(frozen=True, slots=True)
class Trial:
    """How it went to speak a few words."""

    start_s: float
    """From nothing to an engine that answers."""
    first_s: float
    """The first words, with loading the voice."""
    again_s: float
    """The same once more."""
    audio_s: float
    voice: str


@asynccontextmanager
async def lone_worker(settings: Settings) -> AsyncIterator[LocalFleet]:
    """A fleet of one worker.

    Raises:
        EngineError: The engine cannot be started.
    """
    fleet = LocalFleet(replace(fleet_options(settings), bulk_slots=1, express_threads=None, others=()))
    try:
        await fleet.start()
        yield fleet
    finally:
        await fleet.stop(0.0)


async def list_voices(settings: Settings) -> Sequence[Voice]:
    """What the engine can speak with now; the first is its own default.

    Raises:
        EngineError: The engine cannot be started.
    """
    async with lone_worker(settings) as fleet:
        return (await fleet.describe()).voices


async def try_engine(settings: Settings) -> tuple[Sequence[Voice], Trial | None]:
    """Start the engine and speak a few words with the default voice; no trial when there is no voice at all.

    Raises:
        EngineError, WorkerDied, DeadlineMissed, Unavailable: It cannot.
    """
    began = time.perf_counter()
    async with lone_worker(settings) as fleet:
        described = await fleet.describe()
        started = time.perf_counter()
        voices = described.voices
        if not voices:
            return voices, None
        voice = find_voice(voices, settings.tts_engine.default_voice_id) or voices[0]
        controls = {control.name: control.default for control in described.info.controls}
        task = SynthesisTask("doctor", 0, described.info.name, _TRIAL, voice.id, 1, controls, voice.language, 0.0)
        patience_s = settings.fleet.start_timeout_sec
        take = (await fleet.synthesise(await _free_slot(fleet, patience_s), task)).take
        first = time.perf_counter()
        await fleet.synthesise(await _free_slot(fleet, patience_s), task)
        again = time.perf_counter()
    return voices, Trial(started - began, first - started, again - first, take.samples / take.rate, voice.id)


async def _free_slot(fleet: LocalFleet, patience_s: float) -> str:
    """The slot's id, once it is free: after its start it loads the default voice ahead of need."""
    changed = asyncio.Event()
    fleet.on_change(changed.set)
    try:
        async with asyncio.timeout(patience_s):
            while not fleet.free_slots():
                changed.clear()
                await changed.wait()
    except TimeoutError:
        raise EngineError(fleet.waiting_for() or f"no worker was free within {patience_s:g} s") from None
    return fleet.free_slots()[0].id
