"""The engine contract: one interface for every TTS model family.

An engine is one class in one file plus an entry point in the group ``rhapsode.engines``. Only
``rhapsode.fleet.worker`` loads engines; everything else knows them by :class:`EngineInfo`, which the worker sends.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from rhapsode.model import Voice, WordTiming

GROUP = "rhapsode.engines"
"""Of the entry points that engines are."""


class Determinism(StrEnum):
    """How far the same input gives the same audio."""

    EXACT = "exact"  # same bits on every worker and thread count
    SEEDED = "seeded"  # same bits on one device class
    NONE = "none"


@dataclass(frozen=True, slots=True)
class Control:
    """One knob of an engine."""

    name: str
    minimum: float
    maximum: float
    default: float
    help: str


@dataclass(frozen=True, slots=True)
class EngineInfo:
    """What an engine is and can do; plain data that crosses process borders."""

    name: str
    revision: str
    """Changes when the same input would sound different: part of every input key."""
    determinism: Determinism
    max_chars: int
    """Longest ``spoken`` text of one segment, in characters; the planner never exceeds it."""
    can_clone: bool
    controls: tuple[Control, ...] = ()
    tags: tuple[str, ...] = ()
    """Paralinguistic tags it speaks, such as ``[sigh]``."""
    device: str = "cpu"
    """What it computes on: cpu, mps, cuda or cuda:N."""
    languages: tuple[str, ...] = ()
    """Codes of the languages that it speaks with a cloned voice; predefined voices say their own."""
    sample_rate: int = 0
    """Of cloned voices, Hz; predefined voices say their own. 0: it cannot clone."""
    min_clip_s: float = 0.0
    """Least sound that it clones a voice from, seconds."""
    mixes_voices: bool = False
    """Whether a voice may be a blend of its voices, as ``af_heart:0.6+bf_emma:0.4``."""
    processes: int | None = None
    """Most workers that are worth having, such as one per graphics card; None: one per slot."""

    def control(self, name: str) -> Control | None:
        """The control of that name, or None when the engine lacks it."""
        return next((c for c in self.controls if c.name == name), None)


@dataclass(frozen=True, slots=True)
class EngineOptions:
    """How a worker wants its engine."""

    threads: int
    """Threads that one synthesis may use."""
    voices_dir: Path
    model_cache: Path
    device: str = "auto"
    clips_dir: Path | None = None
    """Folder of the clips that voices are cloned from, ``<SHA-256>.wav``. What an engine computes of a clip it may keep beside it, in a
    file whose name begins with that digest and the engine's name: ``<SHA-256>.pocket-….safetensors``. None: nothing is cloned."""


@dataclass(frozen=True, slots=True)
class Utterance:
    """One segment to speak."""

    text: str
    """Sentences separated by a newline, at most ``EngineInfo.max_chars`` characters, never blank."""
    voice: str
    seed: int
    controls: Mapping[str, float]
    language: str
    sentence_pause_s: float
    """Silence that the engine puts between the sentences of one utterance, seconds."""
    reference: Path | None = None
    """The clip whose voice is to be cloned, named by the SHA-256 of its content; ``voice`` is then only what users call it."""


@dataclass(frozen=True, slots=True)
class Speech:
    """What an engine gives back: mono float32, shape (n,), range [-1, 1], at ``rate`` Hz."""

    samples: NDArray[np.float32]
    rate: int
    words: tuple[WordTiming, ...] = ()
    speed: float = 1.0
    """How much faster than at ``speed_factor`` 1 this is; the worker stretches by what is missing."""


class Engine(Protocol):
    """One loaded (or loadable) model family. Constructed in the worker as ``EngineClass(EngineOptions)``; cheap until the first use.

    An engine that has the control ``speed_factor`` applies as much of it as the model does well and says so in
    ``Speech.speed``; the worker time-stretches what is left, so that the length is true.
    """

    @property
    def info(self) -> EngineInfo:
        """What it can do. Available without loading a model."""
        ...

    def voices(self) -> Sequence[Voice]:
        """Voices that can be spoken now; reads the voices folder anew at each call. The first is the engine's own default."""
        ...

    def load(self, voice: str) -> None:
        """Bring a predefined voice into memory (a no-op when it is there). Not called for clones.

        Raises:
            NotFound: No such voice.
            EngineError: It cannot be loaded.
        """
        ...

    def synthesise(self, utterance: Utterance) -> Speech:
        """Speak one utterance.

        Raises:
            EngineError: The model failed.
        """
        ...
