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
MOST_BLENDED = 8
"""Voices in one blend."""
_MOST_WEIGHT = 1_000.0


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
    reads_numbers: bool = False
    """It reads numbers, dates and abbreviations well by itself: the text front end leaves them as they are written."""
    reads_digits: bool = True
    """It can read digits, if only plainly, as espeak does; else the text front end writes numbers in words in all languages that it can."""
    takes_ipa: bool = False
    """It takes phonemes: ``[[`` and ``]]`` in a text enclose IPA, and nothing else is between such brackets."""

    def control(self, name: str) -> Control | None:
        """The control of that name, or None when the engine lacks it."""
        return next((c for c in self.controls if c.name == name), None)


def parse_blend(name: str) -> Mapping[str, float]:
    """Voices and their shares of a blend such as ``af_heart:3+bf_emma:2``, by name, summing to 1; a weight left out is 1.

    Empty when ``name`` is no blend at all. :func:`blend_name` gives the one name that equal blends have.

    Raises:
        ValueError: A weight is no positive number, or there are too many voices.
    """
    if "+" not in name and ":" not in name:
        return {}
    weights: dict[str, float] = {}
    for part in name.split("+"):
        voice, _, written = part.strip().partition(":")
        try:
            weight = float(written or 1)
        except ValueError:
            raise ValueError(f"the weight {written[:20]!r} of voice {voice[:60]!r} is no number") from None
        if not (0 < weight <= _MOST_WEIGHT):
            raise ValueError(
                f"the weight of voice {voice[:60]!r} is {weight:g}; it must be over 0, at most {_MOST_WEIGHT:g}"
            )
        weights[voice.strip()] = weights.get(voice.strip(), 0.0) + weight
    if len(weights) > MOST_BLENDED:
        raise ValueError(f"a blend of {len(weights)} voices; at most {MOST_BLENDED} can be blended")
    total = sum(weights.values())
    return {voice: weights[voice] / total for voice in sorted(weights)}


def blend_name(shares: Mapping[str, float]) -> str:
    """The blend as it is written, shares rounded to thousandths."""
    return "+".join(f"{voice}:{share:.3g}" for voice, share in sorted(shares.items()))


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
