"""Pocket TTS (Kyutai): speech on a CPU in seven languages, with voices cloned from a few seconds of sound.

Seeded: one seed is one waveform on processors of one kind. The model draws from torch's global generator, so that one utterance is
spoken at a time in a process, whichever engine object was asked; it computes on one thread, and decodes frame by frame, because
both how many threads and how many frames are decoded together change the last bits.

What the model computes of a voice (its *state*) is computed once per content, and kept as a file that all workers read.

Each sentence is spoken by itself; the silence between sentences is ours. The model has no speed of its own and times no words.
"""

import hashlib
import importlib.metadata
import threading
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from pocket_tts import TTSModel, export_model_state
from pocket_tts.default_parameters import DEFAULT_VOICE_FALLBACK, DEFAULT_VOICE_FOR_LANGUAGE
from pocket_tts.utils.utils import _ORIGINS_OF_PREDEFINED_VOICES  # its catalogue has no public name

from rhapsode.audio.clip import RATE
from rhapsode.audio.trim import trim_silence
from rhapsode.audio.wav import read_wav
from rhapsode.engines.base import Control, Determinism, EngineInfo, EngineOptions, Speech, Utterance
from rhapsode.engines.pocket_files import LANGUAGES, PocketFiles
from rhapsode.engines.recordings import Recordings, computed
from rhapsode.errors import EngineError, NotFound
from rhapsode.model import Voice

MAX_CHARS = 250
"""The model takes 50 tokens at once, some 200 characters, and splits what is longer at commas."""
_MODELS_AT_MOST = 2
"""Languages kept in memory, some 400 MB each."""
_STATES_AT_MOST = 8
"""Voices kept in memory, some 20 MB each."""
_LONGEST_BASE_S = 10.0
_LONGEST_PER_CHAR_S = 1.0
"""Longer speech is stopped: it will not end, or is noise."""
_COMPUTED = ".pocket-"
"""In the names of states computed here, between the digest of the clip and that of the model."""
_SPEED = Control("speed_factor", 0.25, 4.0, 1.0, "How fast it speaks; 2 is twice as fast.")
_TEMPERATURE = Control("temperature", 0.0, 1.5, 0.3, "How lively it speaks; 0 is even and the same for every seed.")

_GENERATOR = threading.Lock()
"""Held while torch's global generator is in use."""

State = dict[str, dict[str, torch.Tensor]]


@dataclass(frozen=True, slots=True)
class _Loaded:
    """A model in memory."""

    model: TTSModel
    digest: str
    """SHA-256 of its weights: a state is worth something only with them."""


class PocketEngine:
    """Speaks with Pocket TTS; see the module's docstring."""

    def __init__(self, options: EngineOptions) -> None:
        self._options = options
        self._files = PocketFiles(options.model_cache)
        self._models: OrderedDict[str, _Loaded] = OrderedDict()
        self._states: OrderedDict[str, State] = OrderedDict()
        self._recordings = Recordings(options.voices_dir)

    @property
    def info(self) -> EngineInfo:
        """What it can do."""
        parts = [f"{name} {importlib.metadata.version(name)}" for name in ("pocket-tts", "torch")]
        return EngineInfo(
            name="pocket",
            revision=", ".join(filter(None, [*parts, self._files.revision()])),
            determinism=Determinism.SEEDED,
            max_chars=MAX_CHARS,
            can_clone=self._files.can_clone("en"),
            controls=(_SPEED, _TEMPERATURE),
            languages=tuple(LANGUAGES),
            sample_rate=RATE,
            reads_digits=False,
        )

    def voices(self) -> Sequence[Voice]:
        """The catalogue, as far as it is here or the model has yet to be fetched, then the recordings of the voices folder."""
        found = {voice.id: voice for voice in self._catalogue()}
        if self._files.can_clone("en"):
            found |= {voice.id: voice for voice in self._recordings.voices("en")}
        return list(found.values())

    def load(self, voice: str) -> None:
        """Bring a voice and the model of its language into memory."""
        found = self._voice(voice)
        self._state_of_voice(found, self._model(found.language))

    def synthesise(self, utterance: Utterance) -> Speech:
        """Speak one utterance, sentence by sentence."""
        if utterance.reference is not None:
            loaded = self._model(_language(utterance.language))
            state = self._state_of_clip(utterance.reference, loaded)
        else:
            voice = self._voice(utterance.voice)
            loaded = self._model(voice.language)
            state = self._state_of_voice(voice, loaded)
        speed = utterance.controls.get("speed_factor", 1.0)
        parts: list[NDArray[np.float32]] = []
        with _GENERATOR:
            torch.set_num_threads(1)
            torch.manual_seed(utterance.seed)
            loaded.model.temp = utterance.controls.get("temperature", _TEMPERATURE.default)
            for line in utterance.text.split("\n"):
                sound = _speak(loaded.model, state, line)
                if sound.size and parts:  # the worker's time-stretch makes it as long as it is to be
                    parts.append(np.zeros(round(utterance.sentence_pause_s * speed * RATE), np.float32))
                parts.append(sound)
        samples = np.concatenate(parts)
        if not samples.size:
            raise EngineError(f"the model has no sound for {utterance.text[:60]!r}")
        return Speech(samples, RATE)

    # -- voices -------------------------------------------------------------------------------------------------

    def _catalogue(self) -> Iterator[Voice]:
        """Voices that the makers of the model offer, the default first; where it is here already, only those here as well."""
        version = importlib.metadata.version("pocket-tts")
        foreign = {voice: language for language, voice in DEFAULT_VOICE_FOR_LANGUAGE.items()}
        for code, language in LANGUAGES.items():
            offered = [name for name in _ORIGINS_OF_PREDEFINED_VOICES if foreign.get(name, "english") == language]
            names = self._files.voices(code) if self._files.is_here(code) else sorted(offered)
            for name in sorted(names, key=lambda one: one != DEFAULT_VOICE_FALLBACK):
                suffix = "" if name in offered else f"-{code}"
                shown = f"{name.replace('_', ' ').title()} ({code})"
                yield Voice(name + suffix, f"{name}{suffix}.safetensors", shown, code, f"{version} {name}", RATE)

    def _voice(self, name: str) -> Voice:
        """The voice called so.

        Raises:
            NotFound: There is none.
        """
        voices = {voice.id: voice for voice in self.voices()}
        if name not in voices:
            raise NotFound(f"voice {name!r} is not one of: {', '.join(voices)}", "voice")
        return voices[name]

    def _state_of_voice(self, voice: Voice, loaded: _Loaded) -> State:
        key = f"{loaded.digest} {voice.id} {voice.revision}"
        if key in self._states:
            return self._kept(key)
        if not self._recordings.has(voice):
            name = voice.id.removesuffix(f"-{voice.language}")
            return self._read(key, self._files.voice(voice.language, name), loaded)
        clip = self._recordings.clip(voice)
        folder = self._options.model_cache / "pocket-states"
        return self._read(key, _clone(loaded, clip, folder, hashlib.sha256(clip).hexdigest()), loaded)

    def _state_of_clip(self, clip: Path, loaded: _Loaded) -> State:
        key = f"{loaded.digest} {clip.stem}"
        if key in self._states:
            return self._kept(key)
        return self._read(key, _clone(loaded, clip.read_bytes(), clip.parent, clip.stem), loaded)

    def _read(self, key: str, path: Path, loaded: _Loaded) -> State:
        """The state in a file, kept in memory from now on.

        Raises:
            EngineError: It is damaged; a computed one is removed, so that the next attempt makes it anew.
        """
        while len(self._states) >= _STATES_AT_MOST:
            self._states.popitem(last=False)
        try:
            self._states[key] = loaded.model.get_state_for_audio_prompt(path)
        except Exception as error:
            if _COMPUTED in path.name:
                path.unlink(missing_ok=True)
            raise EngineError(f"{path.name} is damaged ({error})") from error
        return self._states[key]

    def _kept(self, key: str) -> State:
        self._states.move_to_end(key)
        return self._states[key]

    # -- models -------------------------------------------------------------------------------------------------

    def _model(self, language: str) -> _Loaded:
        """The model of a language, loaded now if it was not.

        Raises:
            EngineError: It cannot be had.
        """
        if language not in self._models:
            while len(self._models) >= _MODELS_AT_MOST:
                self._models.popitem(last=False)
            with self._files.configuration(language) as config:
                try:
                    model = TTSModel.load_model(config=config)
                    digest = _digest_of_weights(model)
                except Exception as error:
                    raise EngineError(f"the model of {language} cannot be loaded: {error}") from error
            model.has_voice_cloning = self._files.can_clone(language)
            model.max_decoder_frames_per_call = 1
            self._models[language] = _Loaded(model, digest)
        self._models.move_to_end(language)
        return self._models[language]


def _language(code: str) -> str:
    """The language of a model that speaks ``code``.

    Raises:
        EngineError: None does.
    """
    base = code.lower().replace("_", "-").partition("-")[0]
    if base not in LANGUAGES:
        raise EngineError(f"Pocket TTS has no language {code!r}; it has: {', '.join(LANGUAGES)}")
    return base


def _speak(model: TTSModel, state: State, sentence: str) -> NDArray[np.float32]:
    """One sentence, trimmed; empty when there is nothing to say in it.

    Raises:
        EngineError: The model failed, or does not come to an end.
    """
    if not any(c.isalnum() for c in sentence):
        return np.zeros(0, np.float32)
    longest = round((_LONGEST_BASE_S + _LONGEST_PER_CHAR_S * len(sentence)) * RATE)
    stop = threading.Event()
    parts: list[NDArray[np.float32]] = []
    try:
        for chunk in model.generate_audio_stream(state, sentence, stop=stop):
            parts.append(chunk.detach().numpy().astype(np.float32))
            if sum(part.size for part in parts) > longest:
                raise EngineError(f"the model does not come to an end with {sentence[:60]!r}")
    except EngineError:
        raise
    except Exception as error:
        raise EngineError(f"the model failed with {sentence[:60]!r}: {error}") from error
    finally:
        stop.set()  # ends the model's own threads, whatever happened
    samples = np.clip(np.concatenate([np.zeros(0, np.float32), *parts]), -1.0, 1.0)
    return trim_silence(samples, RATE)[0]


def _clone(loaded: _Loaded, clip: bytes, folder: Path, digest: str) -> Path:
    """The file with the state of a clip, computed now if no process did before.

    Raises:
        EngineError: The model does not clone, or failed.
    """
    if not loaded.model.has_voice_cloning:
        raise EngineError("this model of Pocket TTS does not clone voices; fetch the one that does")
    samples, rate = read_wav(clip)
    if rate != loaded.model.sample_rate:
        raise EngineError(f"the clip has {rate} Hz and the model {loaded.model.sample_rate}")

    def compute(draft: Path) -> None:
        export_model_state(loaded.model.get_state_for_audio_prompt(torch.from_numpy(samples)[None]), draft)

    try:
        return computed(folder / f"{digest}{_COMPUTED}{loaded.digest[:16]}.safetensors", compute)
    except Exception as error:
        raise EngineError(f"the voice of the clip cannot be computed: {error}") from error


def _digest_of_weights(model: TTSModel) -> str:
    digest = hashlib.sha256()
    tensors: dict[str, Any] = model.state_dict()
    for name in sorted(tensors):
        digest.update(name.encode())
        digest.update(tensors[name].detach().contiguous().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
