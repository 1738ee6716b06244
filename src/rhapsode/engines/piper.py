"""Piper: neural speech on a CPU. Exact: one seed is one waveform, whichever worker and however many threads made it.

Noise is drawn outside the model (see ``piper_model``), each sentence is one inference, and the silence between sentences is
ours: a sentence's own edges are trimmed, so that exactly ``sentence_pause_s`` of it stands there, also after the worker's
time-stretch.

Speed: the model itself speaks between :data:`SLOWEST` and :data:`FASTEST` times its own speed, where it is understood best;
the worker's time-stretch adds the rest. Word error rate of faster-whisper tiny.en over six sentences and two seeds, all done by
the model / within these bounds / all stretched: 0.83 / 0.61 / 0.99 at 3 times, 0.22 / 0.13 / 0.10 at 2 times, 0.13 / 0.03 / 0.17 at a quarter.

Temperature scales both noises in parts of the voice's own (``noise_scale``, ``noise_w``, at 0.667). That of durations grows
no further than :data:`MOST_DURATION_NOISE`: at twice its own amount single sounds last for seconds.
"""

import importlib.metadata
import re
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from itertools import accumulate, pairwise

import numpy as np
import piper
from numpy.typing import NDArray
from piper.config import PhonemeType
from piper.const import BOS, EOS, PAD
from piper.phonemize_espeak import ESPEAK_DATA_DIR

from rhapsode.audio.trim import trim_silence
from rhapsode.engines.base import Control, Determinism, EngineInfo, EngineOptions, Speech, Utterance
from rhapsode.engines.piper_model import PATCH_VERSION, Noise, SeededModel, load_model
from rhapsode.engines.piper_voices import VoiceFile, find_voices, stamp_of
from rhapsode.engines.words import IPA, as_espeak, shown, sounds, word_spans, words_of
from rhapsode.errors import EngineError, NotFound
from rhapsode.model import Voice, WordTiming

MAX_CHARS = 300
"""Memory and time per second of audio grow with the length of one inference."""
_MOST_PHONEMES = 350
"""In one inference: about 20 seconds. Only text that is spelled or counted out is longer at :data:`MAX_CHARS`; it is cut between words."""
SLOWEST = 0.5
FASTEST = 1.4
DEFAULT_TEMPERATURE = 0.667
MOST_DURATION_NOISE = 1.5
"""In parts of the voice's own ``noise_w``."""
_LOADED_AT_MOST = 3
"""Models kept in memory, some 100 MB each."""
_WORDS = 4096
"""Words whose phonemes are remembered per model: espeak takes longer to change its voice than to read one."""
_EDGES_S = 0.055
"""What trimming leaves of the silence around a sentence, whatever its speed."""
_MEASURED_BELOW_S = 3.0
"""Shorter sentences are spoken at pace 1 too, only to know their length: a frame more or less is a percent of them."""
_ELLIPSIS = re.compile(r"\s*(?:\.{2,}|…)\s*(?=\w)")
"""Inside a sentence: espeak runs the words around it together."""

_SPEED = Control("speed_factor", 0.25, 4.0, 1.0, "How fast it speaks; 2 is twice as fast.")
_TEMPERATURE = Control(
    "temperature", 0.0, 1.5, DEFAULT_TEMPERATURE, "How lively it speaks; 0 is even and the same for every seed."
)


@dataclass(frozen=True, slots=True)
class _Loaded:
    """A model in memory."""

    model: SeededModel
    phonemiser: piper.PiperVoice
    stamp: tuple[int, ...]
    alone: Callable[[str], Sequence[str]]
    """Phonemes of a word by itself; those of the words of late are remembered."""


@dataclass(frozen=True, slots=True)
class _Sentence:
    """A spoken sentence, trimmed, with the words in it (samples from its own start)."""

    samples: NDArray[np.float32]
    words: tuple[WordTiming, ...]
    natural: float
    """How many samples it would have at pace 1."""


class PiperEngine:
    """Speaks with Piper voices; see the module's docstring. One synthesis at a time."""

    def __init__(self, options: EngineOptions) -> None:
        self._options = options
        self._known: dict[str, VoiceFile] = {}
        self._loaded: OrderedDict[str, _Loaded] = OrderedDict()

    @property
    def info(self) -> EngineInfo:
        """What it can do; the revision names everything that has a part in the bits."""
        parts = [f"{name} {importlib.metadata.version(name)}" for name in ("piper-tts", "onnxruntime", "numpy")]
        with (ESPEAK_DATA_DIR / "phondata").open("rb") as file:
            parts.append(f"espeak-ng {file.read(4)[::-1].hex()}")
        return EngineInfo(
            name="piper",
            revision=", ".join([*parts, f"patch {PATCH_VERSION}"]),
            determinism=Determinism.EXACT,
            max_chars=MAX_CHARS,
            can_clone=False,
            controls=(_SPEED, _TEMPERATURE),
            takes_ipa=True,
        )

    def voices(self) -> Sequence[Voice]:
        """The embedded default, then those of the voices folder, then the downloaded ones."""
        return [file.voice for file in self._find()]

    def load(self, voice: str) -> None:
        """Bring a voice into memory; of those not used for longest, some may have to go."""
        self._load(voice)

    def synthesise(self, utterance: Utterance) -> Speech:
        """Speak one utterance; a sentence without any letter or digit that has no sound is passed over.

        Raises:
            NotFound: No such voice.
            EngineError: A sentence has no sound, the text is too long, or the model failed.
        """
        if len(utterance.text) > MAX_CHARS:
            raise EngineError(f"the text has {len(utterance.text)} characters; piper takes {MAX_CHARS} at once")
        file, loaded = self._load(utterance.voice)
        speed = _value(_SPEED, utterance.controls)
        pace = 1 / min(max(speed, SLOWEST), FASTEST)
        spoken: list[_Sentence] = []
        for index, line in enumerate(utterance.text.split("\n")):
            phonemes = _phonemes(loaded.phonemiser, line)
            noise = _noise(file.config, utterance, index)
            if phonemes:
                spoken.append(_speak(file, loaded, line, phonemes, noise, pace))
            elif any(c.isalnum() for c in line):
                raise EngineError(f"voice {utterance.voice} has no sound for a line of this text")
            else:
                spoken.append(_Sentence(np.zeros(0, np.float32), _proportional(line.split(), 0), 0.0))
        if not any(sentence.samples.size for sentence in spoken):
            raise EngineError(f"voice {utterance.voice} has no sound for this text")
        rate = file.config.sample_rate
        reached = sum(s.natural for s in spoken) / sum(s.samples.size for s in spoken)
        return _joined(spoken, round(utterance.sentence_pause_s * speed / reached * rate), rate, reached)

    def _find(self) -> Sequence[VoiceFile]:
        """Read the folders anew."""
        files = find_voices(self._options.voices_dir, self._options.model_cache)
        self._known = {file.voice.id: file for file in files}
        return files

    def _load(self, voice: str) -> tuple[VoiceFile, _Loaded]:
        """The voice and its model, loaded now if it was not, or if its files have changed since.

        Raises:
            NotFound: No such voice.
            EngineError: It cannot be loaded.
        """
        file = self._known.get(voice)
        if file is None or not _unchanged(file):
            self._find()
            file = self._known.get(voice) or self._known.get(voice.removesuffix(".onnx"))
        if file is None:
            raise NotFound(f"voice {voice!r} is not one of: {', '.join(self._known)}", "voice")
        key = str(file.model)
        loaded = self._loaded.get(key)
        if loaded is None or loaded.stamp != file.stamp:
            self._loaded.pop(key, None)
            while len(self._loaded) >= _LOADED_AT_MOST:
                self._loaded.popitem(last=False)
            model = load_model(file.model, file.digest, self._options.model_cache, self._options.threads)
            phonemiser = piper.PiperVoice(model.session, file.config, download_dir=self._options.model_cache)
            alone = lru_cache(_WORDS)(partial(_phonemes, phonemiser))
            loaded = self._loaded[key] = _Loaded(model, phonemiser, file.stamp, alone)
        self._loaded.move_to_end(key)
        return file, loaded


def _unchanged(file: VoiceFile) -> bool:
    try:
        return stamp_of(file.model) == file.stamp
    except OSError:
        return False


def _value(control: Control, controls: Mapping[str, float]) -> float:
    """The control's value, within its bounds."""
    return min(max(controls.get(control.name, control.default), control.minimum), control.maximum)


def _noise(config: piper.PiperConfig, utterance: Utterance, sentence: int) -> Noise:
    """The noise of one sentence at the temperature asked for."""
    part = _value(_TEMPERATURE, utterance.controls) / DEFAULT_TEMPERATURE
    durations = min(part, MOST_DURATION_NOISE)
    return Noise(utterance.seed, sentence, config.noise_scale * part, config.noise_w_scale * durations)


def _phonemes(phonemiser: piper.PiperVoice, sentence: str) -> list[str]:
    """Phonemes of one sentence as one list, whatever espeak takes for its end: the full stops it finds inside are dropped.

    Empty when nothing in it has a sound.

    Raises:
        EngineError: The phonemiser failed.
    """
    text = _ELLIPSIS.sub(", ", sentence)
    if phonemiser.config.phoneme_type is not PhonemeType.ESPEAK:  # others do not know what the brackets mean
        text = shown(text)
    else:
        text = IPA.sub(lambda ipa: f"[[{as_espeak(ipa[1], phonemiser.config.espeak_voice)}]]", text)
    try:
        parts = [part for part in phonemiser.phonemize(text) if part]
    except Exception as error:
        raise EngineError(f"a sentence cannot be turned into phonemes ({type(error).__name__})") from error
    joined: list[str] = []
    for part in parts:
        if joined:
            joined = [*(joined[:-1] if joined[-1] == "." else joined), " "]
        joined += part
    return joined if any(p in phonemiser.config.phoneme_id_map for p in sounds(joined)) else []


def _speak(
    file: VoiceFile, loaded: _Loaded, text: str, phonemes: Sequence[str], noise: Noise, pace: float
) -> _Sentence:
    """One sentence, trimmed, with its words.

    Raises:
        EngineError: The model failed, or gave silence or numbers that are no sound.
    """
    rate = file.config.sample_rate
    parts: list[NDArray[np.float32]] = []
    borders: list[int] = []  # of the phonemes, in samples
    natural = 0.0
    for number, piece in enumerate(_pieces(phonemes)):
        ids = loaded.phonemiser.phonemes_to_ids(piece)
        drawn = replace(noise, piece=number)
        samples, cut, frames = _render(file, loaded, ids, drawn, pace)
        own = _phoneme_borders(piece, file.config.phoneme_id_map, frames) * file.config.hop_length - cut
        borders[-1:] = (np.clip(own, 0, samples.size) + sum(p.size for p in parts)).tolist()
        parts.append(samples)
        edges = round(_EDGES_S * rate)
        length = edges + max(0, samples.size - edges) / pace
        if pace != 1 and length < _MEASURED_BELOW_S * rate:
            length = _render(file, loaded, ids, drawn, 1.0)[0].size
        natural += length
    audio = np.concatenate(parts)
    written = words_of(text)
    tokens = [shown(word) for word in written]
    if len(borders) != len(phonemes) + 1:
        return _Sentence(audio, _proportional(tokens, audio.size), natural)
    spans = word_spans(written, phonemes, loaded.alone)
    words = tuple(WordTiming(t, borders[a], borders[b]) for t, (a, b) in zip(tokens, spans, strict=True))
    return _Sentence(audio, words, natural)


def _pieces(phonemes: Sequence[str]) -> list[list[str]]:
    """The phonemes in runs of at most :data:`_MOST_PHONEMES`, cut behind a space where there is one."""
    pieces: list[list[str]] = []
    start = 0
    while len(phonemes) - start > _MOST_PHONEMES:
        spaces = (i + 1 for i in range(start + _MOST_PHONEMES - 1, start, -1) if phonemes[i] == " ")
        end = next(spaces, start + _MOST_PHONEMES)
        pieces.append(list(phonemes[start:end]))
        start = end
    return [*pieces, list(phonemes[start:])]


def _render(
    file: VoiceFile, loaded: _Loaded, ids: Sequence[int], noise: Noise, pace: float
) -> tuple[NDArray[np.float32], int, NDArray[np.int64]]:
    """Trimmed samples, how many were cut at the start, and the frames of each id.

    Raises:
        EngineError: The model failed, or gave silence or numbers that are no sound.
    """
    name = file.voice.id
    try:
        samples, frames = loaded.model.run(ids, noise, file.config.length_scale, pace, file.speaker)
    except Exception as error:
        raise EngineError(f"the model of {name} failed: {error}") from error
    if not np.isfinite(samples).all():
        raise EngineError(f"the model of {name} gave numbers that are no sound")
    trimmed, cut = trim_silence(np.clip(samples, -1.0, 1.0), file.config.sample_rate)
    if not trimmed.size:
        raise EngineError(f"the model of {name} gave only silence")
    return trimmed, cut, frames


def _phoneme_borders(
    phonemes: Sequence[str], id_map: Mapping[str, Sequence[int]], frames: NDArray[np.int64]
) -> NDArray[np.int64]:
    """The frame at which each phoneme begins, and behind them that at which the last one ends.

    A phoneme's ids and the pad that follows are its own; one that the voice does not know takes no time. Empty when the voice
    makes its ids in another way.
    """
    pad = len(id_map[PAD])
    counts = [len(id_map[p]) + pad if p in id_map else 0 for p in phonemes]
    lead = len(id_map[BOS]) + pad
    if lead + sum(counts) + len(id_map[EOS]) != frames.size:
        return np.zeros(0, np.int64)
    ends = np.concatenate([np.zeros(1, np.int64), np.cumsum(frames)])
    return np.asarray(ends[np.cumsum([lead, *counts])], np.int64)


def _proportional(tokens: Sequence[str], samples: int) -> tuple[WordTiming, ...]:
    """Words that share ``samples`` by their number of characters: for want of anything better."""
    total = sum(map(len, tokens)) or 1
    borders = [samples * c // total for c in accumulate(map(len, tokens), initial=0)]
    return tuple(WordTiming(t, a, b) for t, (a, b) in zip(tokens, pairwise(borders), strict=True))


def _joined(spoken: Sequence[_Sentence], pause: int, rate: int, speed: float) -> Speech:
    """The sentences with ``pause`` samples of silence between those that have a sound."""
    parts: list[NDArray[np.float32]] = []
    words: list[WordTiming] = []
    position = 0
    for sentence in spoken:
        if sentence.samples.size and parts:
            parts.append(np.zeros(pause, np.float32))
            position += pause
        words += [WordTiming(w.text, position + w.start, position + w.end) for w in sentence.words]
        if sentence.samples.size:
            parts.append(sentence.samples)
            position += sentence.samples.size
    return Speech(np.concatenate(parts), rate, tuple(words), speed)
