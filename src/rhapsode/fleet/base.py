"""The fleet contract: all workers, wherever they run."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from rhapsode.engines.base import EngineInfo
from rhapsode.model import Take, Voice


@dataclass(frozen=True, slots=True)
class Slot:
    """A place where one segment can be synthesised at a time."""

    id: str
    express: bool
    """All cores at normal priority: for interactive work and first segments. Other slots are bulk: niced."""
    warm: frozenset[str]
    """Voices that it holds in memory."""


@dataclass(frozen=True, slots=True)
class SynthesisTask:
    """One attempt at one segment, self-contained."""

    job_id: str
    index: int
    text: str
    """The segment's ``spoken`` text."""
    voice: str
    seed: int
    controls: Mapping[str, float]
    language: str
    sentence_pause_s: float
    rate: int = 0
    """Sample rate that the take shall have, Hz; 0: the voice's own."""


@dataclass(frozen=True, slots=True)
class Rendered:
    """A take with its bytes (a mono 16-bit WAV file whose SHA-256 is ``take.digest``)."""

    take: Take
    data: bytes


@dataclass(frozen=True, slots=True)
class EngineDescription:
    """What the fleet's engine can do now."""

    info: EngineInfo
    voices: tuple[Voice, ...]


@dataclass(frozen=True, slots=True)
class EngineChoice:
    """Which engine the workers load, and where it finds its files."""

    engine: str
    voices_dir: Path
    model_cache: Path
    device: str = "auto"
    default_voice: str | None = None
    """Loaded ahead of need; None, or one there is not: the engine's first."""


class Fleet(Protocol):
    """Workers with slots. Used from one event loop."""

    async def start(self) -> None:
        """Start workers and wait until the engine has described itself.

        Raises:
            EngineError: The engine cannot be started at all.
        """
        ...

    async def stop(self, grace_s: float) -> None:
        """End all workers; segments in flight get ``grace_s`` seconds."""
        ...

    def on_change(self, callback: Callable[[], None]) -> None:
        """Call ``callback`` whenever a slot becomes free, appears or disappears."""
        ...

    def free_slots(self) -> Sequence[Slot]:
        """Slots that can take a segment now. Empty while unloaded."""
        ...

    def slots(self) -> Sequence[Slot]:
        """All slots that exist, busy ones included."""
        ...

    def waiting_for(self) -> str | None:
        """Why no slot can be had at all (``engine unloaded``, ``engine restarting: …``), or None when work can flow."""
        ...

    async def synthesise(self, slot_id: str, task: SynthesisTask) -> Rendered:
        """Speak one segment on a free slot; the slot is busy until this returns or raises.

        Raises:
            EngineError, DeadlineMissed, WorkerDied: Charged to the segment.
            Unavailable: The fleet is going down or was unloaded; not charged.
        """
        ...

    async def describe(self, refresh: bool = False) -> EngineDescription:
        """Capabilities and voices; ``refresh`` asks a worker to read the voices folder again."""
        ...

    async def unload(self) -> None:
        """End all workers and stay down until :meth:`load`; segments in flight are given back uncharged."""
        ...

    async def load(self, choice: EngineChoice | None = None) -> None:
        """Bring workers back, or new ones instead of those there are, and wait until one has loaded its default voice.

        Args:
            choice: Another engine than now; None: the same.

        Raises:
            EngineError: It cannot be loaded; the fleet stays as it was.
        """
        ...
