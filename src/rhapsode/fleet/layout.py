"""How the local fleet is laid out: its slots, and the processes behind them."""

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rhapsode.fleet.base import EngineChoice
from rhapsode.fleet.common import EXPRESS_NICE
from rhapsode.fleet.crew import Member
from rhapsode.fleet.process import ProcessOptions
from rhapsode.fleet.protocol import Start
from rhapsode.fleet.seat import Place, Seat


@dataclass(frozen=True, slots=True)
class Layout:
    """How many worker processes of which kind."""

    bulk_slots: int
    """Niced processes for the mass of segments."""
    bulk_threads: int
    """Threads of each."""
    express_threads: int | None
    """Threads of the process at normal priority; None: no such process."""


def default_layout(cpu_count: int) -> Layout:
    """What is fastest on a CPU (FACTS.md): a single-threaded bulk process per core, and an express process that may use all."""
    return Layout(bulk_slots=cpu_count, bulk_threads=1, express_threads=cpu_count)


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalFleetOptions(EngineChoice):
    """Which engines a local fleet has, and how it is laid out. Times in seconds."""

    bulk_slots: int
    bulk_threads: int = 1
    express_threads: int | None = None
    """None: no express process."""
    interpreters: Callable[[], Mapping[str, Path]] = dict
    """Interpreters of engines that have an environment of their own, by engine; asked at each start of a worker."""
    nice: int = 10
    """Of the bulk processes."""
    takes_dir: Path | None = None
    """Where the processes store takes; None: the server does."""
    python: str = sys.executable
    """Interpreter of the workers; it must have this package and the engine."""
    start_timeout_s: float = 120.0
    """For importing the engine, and again for loading a voice."""
    deadline_base_s: float = 30.0
    deadline_per_char_s: float = 1.0
    """A segment may take the base and this for each of its characters."""
    heartbeat_s: float = 1.0
    heartbeat_timeout_s: float = 20.0
    memory_cap_bytes: int | None = None
    """A process that is larger after a segment is replaced; None: no cap."""
    idle_unload_s: float | None = None
    """A process without work for so long ends, and starts again on demand; None: never."""
    memory_budget_bytes: int | None = None
    """Of all processes together; above it idle ones end, those that were used longest ago first. None: no budget."""
    backoff_base_s: float = 0.5
    backoff_max_s: float = 30.0
    """The pause before a worker is started anew: none after the first death, then from base to max, doubling."""


def process_options(options: LocalFleetOptions, member: Member, seat: Seat, places: Sequence[Place]) -> ProcessOptions:
    """How the process of an engine is started in one of the places."""
    place, setup = seat.place, member.setup
    start = Start(
        id=0,
        engine=member.name,
        threads=place.threads if place.express else setup.threads or place.threads,
        voices_dir=str(options.voices_dir),
        model_cache=str(options.model_cache),
        device=member.device(place, places) or options.device,
        nice=min(EXPRESS_NICE, options.nice) if place.express else options.nice,
        heartbeat_s=options.heartbeat_s,
        clips_dir=str(options.clips_dir) if options.clips_dir else None,
        takes_dir=str(options.takes_dir) if options.takes_dir else None,
    )
    own = None if setup.python else options.interpreters().get(member.name)
    python = setup.python or str(own or options.python)
    return ProcessOptions(str(seat), python, start, options.start_timeout_s, options.heartbeat_timeout_s)
