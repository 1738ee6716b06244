"""Chatterbox (Resemble AI): expressive speech with cloned voices, on a GPU, or slowly on a CPU. Three engines of one family.

``chatterbox-turbo`` is fast, speaks English and tags such as ``[laugh]``; ``chatterbox`` has exaggeration and cfg_weight;
``chatterbox-multilingual`` has those and 23 languages.

Seeded: one seed is one waveform on devices of one kind. The models draw from torch's global generator, so that one utterance is
spoken at a time in a process. What a model computes of a voice (its *conditionals*) is computed once per content, and kept as a
file that all workers read.

The library pins its dependencies so tightly that it needs an interpreter of its own: ``rhapsode engines install chatterbox``.
"""

import hashlib
import importlib
import importlib.metadata
import io
import threading
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from rhapsode.audio.clip import RATE
from rhapsode.audio.trim import trim_silence
from rhapsode.engines.base import Determinism, EngineInfo, EngineOptions, Speech, Utterance
from rhapsode.engines.chatterbox_variants import MULTILINGUAL, ORIGINAL, TURBO, Variant
from rhapsode.engines.recordings import Recordings, computed
from rhapsode.errors import EngineError, NotFound
from rhapsode.model import Voice

MAX_CHARS = 300
"""The models make at most 40 seconds at once."""
BUILT_IN = "chatterbox"
"""The voice that comes with the models."""
_STATES_AT_MOST = 16
_GENERATOR = threading.Lock()
"""Held while torch's global generator is in use."""


class _Chatterbox:
    """Speaks with one model of the family."""

    variant: Variant

    def __init__(self, options: EngineOptions) -> None:
        self._options = options
        self._device = _device(options.device)
        self._recordings = Recordings(options.voices_dir)
        self._module = importlib.import_module(self.variant.module)
        self._model: Any = None
        self._conditionals: OrderedDict[str, Any] = OrderedDict()

    @property
    def info(self) -> EngineInfo:
        """What it can do."""
        variant = self.variant
        parts = [f"{name} {importlib.metadata.version(name)}" for name in ("chatterbox-tts", "torch")]
        return EngineInfo(
            name=variant.engine,
            revision=", ".join([*parts, variant.name]),
            determinism=Determinism.SEEDED,
            max_chars=MAX_CHARS,
            can_clone=True,
            controls=variant.controls,
            tags=variant.tags,
            device=self._device,
            languages=variant.languages,
            sample_rate=RATE,
            reads_digits=False,
            min_clip_s=variant.min_clip_s,
            processes=torch.cuda.device_count() if self._device.startswith("cuda") else None,
        )

    def voices(self) -> Sequence[Voice]:
        """The built-in one, then the recordings of the voices folder."""
        built_in = Voice(BUILT_IN, f"{BUILT_IN}.pt", "Chatterbox", "en", self.variant.name, RATE)
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
            made = self._model.generate(line, **self.variant.arguments(utterance.controls, utterance.language))
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
        folder = self.variant.fetched(self._options.model_cache)
        try:
            self._model = getattr(self._module, self.variant.model).from_local(folder, self._device)
        except Exception as error:
            raise EngineError(f"the model in {folder} cannot be loaded: {error}") from error
        if level := getattr(self._model, "norm_loudness", None):
            # with numpy 2 it gives doubles, which the model refuses
            self._model.norm_loudness = lambda samples, rate: level(samples, rate).astype(np.float32)
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
                raise EngineError(f"there is no conds.pt in {self.variant.folder(self._options.model_cache)}")
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
            version = importlib.metadata.version("chatterbox-tts")
            path = folder / f"{digest}.{self.variant.engine}-{version}.pt"
            try:
                computed(path, lambda draft: self._prepare(clip, draft))
            except Exception as error:
                raise EngineError(f"the voice of the clip cannot be computed: {error}") from error
            try:
                read = self._module.Conditionals.load(path, map_location=self._device).to(self._device)
            except Exception as error:
                path.unlink(missing_ok=True)  # the next attempt computes it anew
                raise EngineError(f"{path.name} is damaged ({error})") from error
            self._keep(digest, read)
        self._conditionals.move_to_end(digest)
        return self._conditionals[digest]

    def _prepare(self, clip: bytes, draft: Path) -> None:
        """Compute the conditionals of a clip into a file."""
        built_in = self._model.conds
        try:
            self._model.prepare_conditionals(io.BytesIO(clip))
            with draft.open("wb") as file:  # a name without an ending torch refuses
                self._model.conds.save(file)
        finally:
            self._model.conds = built_in

    def _keep(self, key: str, conditionals: Any) -> None:
        while len(self._conditionals) >= _STATES_AT_MOST:
            self._conditionals.pop(next(one for one in self._conditionals if one != BUILT_IN))
        self._conditionals[key] = conditionals


class TurboEngine(_Chatterbox):
    """Fast, English, with tags."""

    variant = TURBO


class OriginalEngine(_Chatterbox):
    """English, with exaggeration and cfg_weight."""

    variant = ORIGINAL


class MultilingualEngine(_Chatterbox):
    """23 languages, with exaggeration and cfg_weight."""

    variant = MULTILINGUAL


def _device(wanted: str) -> str:
    """The device that is meant by ``auto``, or the one that was named."""
    if wanted != "auto":
        return wanted
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"
