"""The fleet contract: all workers, wherever they run."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePath
from typing import Protocol

from rhapsode.engines.base import EngineInfo, blend_name, parse_blend
from rhapsode.model import Take, Voice


@dataclass(frozen=True, slots=True)
class Slot:
    """A place where one segment can be synthesised at a time."""

    id: str
    express: bool
    """All cores at normal priority: for interactive work and first segments. Other slots are bulk: niced."""
    engines: frozenset[str]
    """Engines that it could speak with now, or, while it is busy, afterwards. Whichever it is, it speaks one segment at a time."""
    warm: frozenset[tuple[str, str]]
    """Engines and voices that it holds in memory; of a clone the digest of its clip stands for the voice."""


@dataclass(frozen=True, slots=True)
class SynthesisTask:
    """One attempt at one segment, self-contained."""

    job_id: str
    index: int
    engine: str
    text: str
    """The segment's ``spoken`` text."""
    voice: str
    seed: int
    controls: Mapping[str, float]
    language: str
    sentence_pause_s: float
    reference: str | None = None
    """SHA-256 of the clip whose voice is cloned; the worker finds it as ``<clips_dir>/<digest>.wav``."""
    rate: int = 0
    """Sample rate that the take shall have, Hz; 0: the voice's own."""
    store: bool = False
    """The worker may store the take: see :attr:`Rendered.stored`."""

    @property
    def warmth(self) -> tuple[str, str]:
        """What a slot holds in memory after this: see :attr:`Slot.warm`."""
        return self.engine, self.reference or self.voice


@dataclass(frozen=True, slots=True)
class Rendered:
    """A take with its bytes (a mono 16-bit WAV file whose SHA-256 is ``take.digest``)."""

    take: Take
    data: bytes
    stored: Awaitable[bool] | None = None
    """Whether the worker has stored it durably among the takes, once that is known; None: it does not try. Raises nothing."""


@dataclass(frozen=True, slots=True)
class EngineDescription:
    """What an engine can do now."""

    info: EngineInfo
    voices: tuple[Voice, ...]

    def voice(self, name: str) -> Voice | None:
        """The voice called ``name``: its id or file name, with or without extension, or a blend where the engine mixes voices."""
        voice = find_voice(self.voices, name)
        if voice is None and self.info.mixes_voices:
            with suppress(ValueError):
                return self._blend(parse_blend(name))
        return voice

    def _blend(self, parts: Mapping[str, float]) -> Voice | None:
        """A blend as a voice; the heaviest part says its language. None when it is none, or of voices there are not."""
        shares: dict[str, float] = {}
        found: dict[str, Voice] = {}
        for part, share in parts.items():
            voice = find_voice(self.voices, part)
            if voice is None:
                return None
            found[voice.id] = voice
            shares[voice.id] = shares.get(voice.id, 0.0) + share
        if len(found) < 2:
            return next(iter(found.values()), None)
        own = blend_name(shares)
        heaviest = found[max(shares, key=lambda voice: shares[voice])]
        revision = ", ".join(f"{voice}={found[voice].revision}" for voice in sorted(found))
        return replace(heaviest, id=own, filename=own, display_name=own, revision=revision)


def find_voice(voices: Sequence[Voice], name: str) -> Voice | None:
    """The voice called ``name``: its id or file name, with or without extension."""
    for voice in voices:
        if name in (voice.id, voice.filename, PurePath(voice.filename).stem):
            return voice
    return next((voice for voice in voices if PurePath(name).suffix and PurePath(name).stem == voice.id), None)


@dataclass(frozen=True, slots=True)
class EngineSetup:
    """How the workers of one engine are run; None: as those of all others."""

    python: str | None = None
    """Interpreter of its own, which has this package and the engine."""
    device: str | None = None
    """Several, with commas between, are given out in turn to its workers."""
    threads: int | None = None
    """Of a bulk worker."""
    processes: int | None = None
    """Most workers at once; None: as the engine says."""
    memory_cap_bytes: int | None = None
    """A worker that is larger after a segment is replaced; 0: no cap."""


@dataclass(frozen=True, slots=True)
class EngineChoice:
    """Which engines the workers load, and where they find their files."""

    engine: str
    """The active one: kept loaded, and spoken with when a request names none."""
    voices_dir: Path
    model_cache: Path
    device: str = "auto"
    default_voice: str | None = None
    """Of the active engine, loaded ahead of need; None, or one there is not: the engine's first."""
    clips_dir: Path | None = None
    """Folder of the clips that voices are cloned from; None: none are."""
    others: tuple[str, ...] = ()
    """Engines that requests may name, loaded when they do."""
    setups: Mapping[str, EngineSetup] = field(default_factory=dict)
    """By engine, of those that differ."""


class Fleet(Protocol):
    """Workers with slots. Used from one event loop."""

    async def start(self) -> None:
        """Start workers and wait until the active engine has described itself.

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
        """Slots that can take a segment now, of one of their ``engines``, express ones first. Empty while unloaded."""
        ...

    def slots(self) -> Sequence[Slot]:
        """All slots that exist, busy ones included."""
        ...

    def engines(self) -> Sequence[str]:
        """Names of the engines that can be spoken with, the active one first, the others sorted."""
        ...

    def known(self, engine: str) -> EngineDescription | None:
        """The engine as it last described itself, without asking; None before its first time, or when that failed."""
        ...

    def express_slots(self) -> Sequence[Slot]:
        """Those of :meth:`slots` that are express."""
        ...

    def expect(self, segments: int) -> None:
        """About so many segments wait for a slot: a fleet that can grow and shrink heeds it."""
        ...

    def waiting_for(self, engine: str | None = None) -> str | None:
        """Why no slot can be had at all (``engine unloaded``, ``engine restarting: …``), or None when work can flow.

        Args:
            engine: For a segment of this one (``engine kokoro`` when it is not one of :meth:`engines`); None: of the active one.
        """
        ...

    async def synthesise(self, slot_id: str, task: SynthesisTask) -> Rendered:
        """Speak one segment on a free slot; the slot is busy until this returns or raises.

        Raises:
            EngineError, DeadlineMissed, WorkerDied: Charged to the segment.
            Unavailable: The fleet is going down or was unloaded, or the slot cannot have the engine now; not charged.
        """
        ...

    async def describe(self, engine: str | None = None, refresh: bool = False) -> EngineDescription:
        """Capabilities and voices of an engine, None: of the active one; ``refresh`` asks a worker to read the voices folder again.

        Raises:
            NotFound: It is not one of :meth:`engines`; names those.
            EngineError, Unavailable: It cannot be asked, and was not before.
        """
        ...

    async def unload(self) -> None:
        """End all workers and stay down until :meth:`load`; segments in flight are given back uncharged."""
        ...

    async def load(self, choice: EngineChoice | None = None) -> None:
        """Bring workers back, or new ones instead of those there are, and wait until one has loaded the active engine's default voice.

        Args:
            choice: Other engines than now; None: the same. A segment that is being spoken is spoken to its end.

        Raises:
            EngineError: The active engine cannot be loaded; the fleet stays as it was.
        """
        ...
