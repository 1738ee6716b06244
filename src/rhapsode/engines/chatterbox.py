"""Chatterbox (Resemble AI): expressive speech with cloned voices, on a GPU, or slowly on a CPU. Three engines of one family.

``chatterbox-turbo`` is fast, speaks English and tags such as ``[laugh]``; ``chatterbox`` has exaggeration and cfg_weight;
``chatterbox-multilingual`` has those and 23 languages.

Seeded: one seed is one waveform on devices of one kind. The models draw from torch's global generator, so that one utterance is
spoken at a time in a process. What a model computes of a voice (its *conditionals*) is computed once per content, and kept as a
file that all workers read.

The library pins its dependencies so tightly that it needs an interpreter of its own: ``rhapsode engines install chatterbox``.
"""

import hashlib
import importlib.metadata
import io
import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from chatterbox import mtl_tts, tts, tts_turbo
from numpy.typing import NDArray

from rhapsode.audio.clip import RATE
from rhapsode.audio.trim import trim_silence
from rhapsode.engines.base import Control, Determinism, EngineInfo, EngineOptions, Speech, Utterance
from rhapsode.engines.chatterbox_files import fetched, folder_of
from rhapsode.engines.recordings import Recordings, computed
from rhapsode.errors import EngineError, NotFound
from rhapsode.model import Voice

MAX_CHARS = 300
"""The models make at most 40 seconds at once."""
TAGS = (
    "[clear throat]", "[sigh]", "[shush]", "[cough]", "[groan]", "[sniff]", "[gasp]", "[chuckle]", "[laugh]",
)  # fmt: skip
"""What turbo performs instead of reading it."""
BUILT_IN = "chatterbox"
"""The voice that comes with the models."""
_STATES_AT_MOST = 16
_SPEED = Control("speed_factor", 0.25, 4.0, 1.0, "How fast it speaks; 2 is twice as fast.")
_TEMPERATURE = Control("temperature", 0.05, 1.5, 0.8, "How lively it speaks.")
_EXAGGERATION = Control("exaggeration", 0.0, 2.0, 0.5, "How much feeling it puts into it; from 1 on it may break.")
_CFG_WEIGHT = Control(
    "cfg_weight", 0.0, 2.0, 0.5, "How closely it keeps to the voice's pace; less is slower and calmer."
)

_GENERATOR = threading.Lock()
"""Held while torch's global generator is in use."""


@dataclass(frozen=True, slots=True)
class Family:
    """One of the engines."""

    name: str
    variant: str
    """Its files; see :mod:`rhapsode.engines.chatterbox_files`."""
    module: ModuleType
    model: str
    """Its class in ``module``."""
    controls: tuple[Control, ...]
    languages: tuple[str, ...] = ("en",)
    tags: tuple[str, ...] = ()
    min_clip_s: float = 0.0
    """Shorter recordings are refused."""


TURBO = Family(
    "chatterbox-turbo", "turbo", tts_turbo, "ChatterboxTurboTTS", (_SPEED, _TEMPERATURE), tags=TAGS, min_clip_s=5.0
)
_EXPRESSIVE = (_SPEED, _TEMPERATURE, _EXAGGERATION, _CFG_WEIGHT)
ORIGINAL = Family("chatterbox", "original", tts, "ChatterboxTTS", _EXPRESSIVE)
MULTILINGUAL = Family(
    "chatterbox-multilingual",
    "multilingual",
    mtl_tts,
    "ChatterboxMultilingualTTS",
    _EXPRESSIVE,
    languages=tuple(mtl_tts.SUPPORTED_LANGUAGES),
)


class _Chatterbox:
    """Speaks with one model of the family."""

    family: Family

    def __init__(self, options: EngineOptions) -> None:
        self._options = options
        self._device = _device(options.device)
        self._recordings = Recordings(options.voices_dir)
        self._model: Any = None
        self._conditionals: OrderedDict[str, Any] = OrderedDict()

    @property
    def info(self) -> EngineInfo:
        """What it can do."""
        family = self.family
        parts = [f"{name} {importlib.metadata.version(name)}" for name in ("chatterbox-tts", "torch")]
        return EngineInfo(
            name=family.name,
            revision=", ".join([*parts, family.variant]),
            determinism=Determinism.SEEDED,
            max_chars=MAX_CHARS,
            can_clone=True,
            controls=family.controls,
            tags=family.tags,
            device=self._device,
            languages=family.languages,
            sample_rate=RATE,
            min_clip_s=family.min_clip_s,
            processes=torch.cuda.device_count() if self._device.startswith("cuda") else None,
        )

    def voices(self) -> Sequence[Voice]:
        """The built-in one, then the recordings of the voices folder."""
        built_in = Voice(BUILT_IN, f"{BUILT_IN}.pt", "Chatterbox", "en", self.family.variant, RATE)
        return [built_in, *(voice for voice in self._recordings.voices("en") if voice.id != BUILT_IN)]

    def load(self, voice: str) -> None:
        """Bring the model and a voice into memory."""
        self._of_voice(voice)

    def synthesise(self, utterance: Utterance) -> Speech:
        """Speak one utterance, sentence by sentence."""
        if utterance.reference is not None:
            clip = utterance.reference
            conditionals = self._of_clip(clip.stem, clip.read_bytes(), clip.parent)
        else:
            conditionals = self._of_voice(utterance.voice)
        speed = utterance.controls.get("speed_factor", 1.0)
        pause = np.zeros(round(utterance.sentence_pause_s * speed * RATE), np.float32)
        parts: list[NDArray[np.float32]] = []
        with _GENERATOR:
            torch.set_num_threads(self._options.threads)
            torch.manual_seed(utterance.seed)
            for line in utterance.text.split("\n"):
                sound = self._speak(line, conditionals, utterance)
                parts += [pause, sound] if parts and sound.size else [sound]
        samples = np.concatenate(parts)
        if not samples.size:
            raise EngineError(f"the model has no sound for {utterance.text[:60]!r}")
        return Speech(samples, RATE)

    def _speak(self, line: str, conditionals: Any, utterance: Utterance) -> NDArray[np.float32]:
        if not any(c.isalnum() for c in line):
            return np.zeros(0, np.float32)
        self._model.conds = conditionals
        try:
            made = self._model.generate(line, **arguments(self.family, utterance.controls, utterance.language))
        except Exception as error:
            raise EngineError(f"the model failed with {line[:60]!r}: {error}") from error
        samples = made.squeeze(0).detach().cpu().numpy().astype(np.float32)
        return trim_silence(np.clip(samples, -1.0, 1.0), RATE)[0]

    # -- model and voices ---------------------------------------------------------------------------------------

    def _load_model(self) -> None:
        """Bring the model into memory, fetched first when it is not here.

        Raises:
            EngineError: It cannot be had.
        """
        if self._model is not None:
            return
        folder = fetched(self.family.variant, self._options.model_cache)
        try:
            self._model = getattr(self.family.module, self.family.model).from_local(folder, self._device)
        except Exception as error:
            raise EngineError(f"the model in {folder} cannot be loaded: {error}") from error
        if self._model.conds is not None:
            self._conditionals[BUILT_IN] = self._model.conds

    def _of_voice(self, name: str) -> Any:
        """Conditionals of a voice.

        Raises:
            NotFound: No such voice.
            EngineError: They cannot be had.
        """
        voice = next((one for one in self.voices() if one.id == name), None)
        if voice is None:
            raise NotFound(f"voice {name!r} is not one of: {', '.join(one.id for one in self.voices())}", "voice")
        self._load_model()
        if name == BUILT_IN:
            if self._model.conds is None:
                raise EngineError(
                    f"there is no conds.pt in {folder_of(self.family.variant, self._options.model_cache)}"
                )
            return self._conditionals[BUILT_IN]
        key = f"{voice.id} {voice.revision}"
        if key not in self._conditionals:
            clip = self._recordings.clip(voice)
            digest = hashlib.sha256(clip).hexdigest()
            self._keep(key, self._of_clip(digest, clip, self._options.model_cache / "chatterbox-states"))
        return self._conditionals[key]

    def _of_clip(self, digest: str, clip: bytes, folder: Path) -> Any:
        """Conditionals of a clip, computed now if no process did before.

        Raises:
            EngineError: They cannot be computed.
        """
        self._load_model()
        if digest not in self._conditionals:
            kept = self.family.module.Conditionals

            def compute(draft: Path) -> None:
                built_in = self._model.conds
                self._model.prepare_conditionals(io.BytesIO(clip))
                self._model.conds.save(draft)
                self._model.conds = built_in

            try:
                path = computed(folder / f"{digest}.chatterbox-{self.family.variant}.pt", compute)
                self._keep(digest, kept.load(path, map_location=self._device).to(self._device))
            except Exception as error:
                raise EngineError(f"the voice of the clip cannot be computed: {error}") from error
        self._conditionals.move_to_end(digest)
        return self._conditionals[digest]

    def _keep(self, key: str, conditionals: Any) -> None:
        while len(self._conditionals) >= _STATES_AT_MOST:
            self._conditionals.pop(next(one for one in self._conditionals if one != BUILT_IN))
        self._conditionals[key] = conditionals


class TurboEngine(_Chatterbox):
    """Fast, English, with tags."""

    family = TURBO


class OriginalEngine(_Chatterbox):
    """English, with exaggeration and cfg_weight."""

    family = ORIGINAL


class MultilingualEngine(_Chatterbox):
    """23 languages, with exaggeration and cfg_weight."""

    family = MULTILINGUAL


def arguments(family: Family, controls: Mapping[str, float], language: str) -> dict[str, Any]:
    """What ``generate`` is called with, besides the text: the family's controls as asked for, and the language if it has several."""
    given: dict[str, Any] = {
        control.name: controls.get(control.name, control.default)
        for control in family.controls
        if control is not _SPEED  # the worker's time-stretch does that
    }
    if len(family.languages) > 1:
        given["language_id"] = language.lower().replace("_", "-").partition("-")[0]
    return given


def _device(wanted: str) -> str:
    """The device that is meant by ``auto``, or the one that was named."""
    if wanted != "auto":
        return wanted
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"
