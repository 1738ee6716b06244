"""Kokoro-82M: lively speech in several languages on a CPU. Exact there: the network draws no random numbers.

Any voice can speak any of the languages; its own is the first letter of its name. Voices can be blended: a blend is the weighted mean
of their style vectors (``af_heart:0.6+bf_emma:0.4``). Each sentence is one inference; one with more phonemes than the network has
places is cut at the least disruptive mark, never off.

Japanese and Chinese are turned into phonemes by ``misaki``, when that is installed; without it their voices speak English.
"""

import importlib
import importlib.metadata
import importlib.util
from collections.abc import Callable, Sequence
from functools import lru_cache
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Any

import numpy as np
from kokoro_onnx.chunker import split_phonemes
from numpy.typing import NDArray

from rhapsode.audio.trim import trim_silence
from rhapsode.engines import kokoro_files
from rhapsode.engines.base import Control, Determinism, EngineInfo, EngineOptions, Speech, Utterance, parse_blend
from rhapsode.engines.espeak import Espeak
from rhapsode.engines.kokoro_model import MOST_PHONEMES, RATE, KokoroModel, load_model, provider_of
from rhapsode.engines.words import IPA, as_espeak, shown, word_spans, words_of
from rhapsode.errors import EngineError, NotFound
from rhapsode.model import Voice, WordTiming

MAX_CHARS = 300
_SPEED = Control("speed_factor", 0.25, 4.0, 1.0, "How fast it speaks; 2 is twice as fast.")
_BY_LETTER = {
    "a": "en-US", "b": "en-GB", "e": "es", "f": "fr", "h": "hi", "i": "it", "j": "ja", "p": "pt-BR", "z": "zh",
}  # fmt: skip
"""Language of a voice by the first letter of its name."""
_ESPEAK = {
    "en": "en-us", "en-us": "en-us", "en-gb": "en-gb", "es": "es", "fr": "fr-fr", "hi": "hi", "it": "it", "pt": "pt-br",
}  # fmt: skip
_MISAKI = {"ja": "JAG2P", "zh": "ZHG2P"}


class KokoroEngine:
    """Speaks with Kokoro's voices; see the module's docstring. One synthesis at a time."""

    def __init__(self, options: EngineOptions) -> None:
        self._options = options
        self._espeak = Espeak()
        self._tables: dict[str, Path] = {}
        self._styles: dict[str, kokoro_files.Table] = {}
        self._model: tuple[Path, KokoroModel] | None = None

    @property
    def info(self) -> EngineInfo:
        """What it can do; the revision names everything that has a part in the bits."""
        parts = [f"{name} {importlib.metadata.version(name)}" for name in ("onnxruntime", "numpy", "espeakng-loader")]
        model = kokoro_files.find_model(self._options.voices_dir, self._options.model_cache)
        parts.append(f"model {_digest(model, model.stat().st_mtime_ns)}" if model else "no model")
        on_cpu = provider_of(self._options.device)[0].startswith("CPU")
        return EngineInfo(
            name="kokoro",
            revision=", ".join([*parts, "1"]),
            determinism=Determinism.EXACT if on_cpu else Determinism.SEEDED,
            max_chars=MAX_CHARS,
            can_clone=False,
            controls=(_SPEED,),
            device="cpu" if on_cpu else self._options.device.replace("auto", "cuda"),
            languages=tuple(sorted({*(code for code in _ESPEAK if "-" not in code), *filter(_has_misaki, _MISAKI)})),
            mixes_voices=True,
            processes=None if on_cpu else 1,
            takes_ipa=True,
        )

    def voices(self) -> Sequence[Voice]:
        """All whose files are there; none while the model is not."""
        options = self._options
        self._tables = kokoro_files.find_tables(options.voices_dir, options.model_cache)
        if kokoro_files.find_model(options.voices_dir, options.model_cache) is None:
            self._tables = {}
        self._styles.clear()
        ordered = sorted(self._tables, key=lambda name: (name != "af_heart", name))
        return [
            Voice(name, f"{name}.bin", _display(name), _language(name), _digest(path, path.stat().st_mtime_ns), RATE)
            for name in ordered
            for path in [self._tables[name]]
        ]

    def load(self, voice: str) -> None:
        """Bring the model and a voice, or a blend, into memory."""
        self._style(voice)
        self._loaded()

    def synthesise(self, utterance: Utterance) -> Speech:
        """Speak one utterance; a sentence without any letter or digit that has no sound is passed over.

        Raises:
            NotFound: No such voice.
            EngineError: A sentence has no sound, the text is too long, its language is not spoken, or the model failed.
        """
        if len(utterance.text) > MAX_CHARS:
            raise EngineError(f"the text has {len(utterance.text)} characters; kokoro takes {MAX_CHARS} at once")
        style, model = self._style(utterance.voice), self._loaded()
        phonemise = self._phonemiser(utterance, model)
        pause = np.zeros(round(utterance.sentence_pause_s * RATE), np.float32)
        parts: list[NDArray[np.float32]] = []
        words: list[WordTiming] = []
        position = 0
        for line in utterance.text.split("\n"):
            phonemes = phonemise(line)
            if not any(p.isalpha() for p in phonemes):
                if any(c.isalnum() for c in line):
                    raise EngineError(f"voice {utterance.voice} has no sound for {line[:60]!r}")
                words += [WordTiming(token, position, position) for token in line.split()]
                continue
            samples, spoken = _sentence(model, style, phonemes, line, phonemise)
            if parts:
                parts.append(pause)
                position += pause.size
            words += [WordTiming(w.text, position + w.start, position + w.end) for w in spoken]
            parts.append(samples)
            position += samples.size
        if not parts:
            raise EngineError(f"voice {utterance.voice} has no sound for {utterance.text[:60]!r}")
        return Speech(np.concatenate(parts), RATE, tuple(words))

    def _loaded(self) -> KokoroModel:
        path = kokoro_files.find_model(self._options.voices_dir, self._options.model_cache)
        if path is None:
            raise EngineError("Kokoro's model is not here; fetch it with: rhapsode voices install kokoro")
        if self._model is None or self._model[0] != path:
            self._model = (path, load_model(path, self._options.threads, self._options.device))
        return self._model[1]

    def _style(self, voice: str) -> kokoro_files.Table:
        """Style vectors of a voice or a blend, shape (n, 256).

        Raises:
            NotFound: One of them is not there.
            EngineError: One of them cannot be read.
        """
        if voice not in self._tables and not self._styles:
            self.voices()
        try:
            shares = parse_blend(voice) or {voice: 1.0}
        except ValueError as error:
            raise NotFound(str(error), "voice") from None
        tables = [(self._table(part), share) for part, share in shares.items()]
        rows = min(len(table) for table, _ in tables)
        blended = sum(np.float64(share) * table[:rows] for table, share in tables)
        return np.asarray(blended, np.float32)

    def _table(self, voice: str) -> kokoro_files.Table:
        if voice not in self._tables:
            self.voices()
        path = self._tables.get(voice)
        if path is None:
            raise NotFound(f"voice {voice!r} is not one of: {', '.join(self._tables)}", "voice")
        if voice not in self._styles:
            self._styles[voice] = kokoro_files.read_table(path, voice)
        return self._styles[voice]

    def _phonemiser(self, utterance: Utterance, model: KokoroModel) -> Callable[[str], str]:
        """Turns a line into those of its phonemes that the model knows.

        Raises:
            EngineError: The language is not spoken.
        """
        own = _language(next(iter(parse_blend(utterance.voice) or {utterance.voice: 1.0})))
        wanted = (utterance.language or own).replace("_", "-")
        if wanted.lower() == own.lower().partition("-")[0]:
            wanted = own  # "en" is British for a British voice
        base = wanted.lower().partition("-")[0]
        speak: Callable[[str], str]
        if base in _MISAKI and _has_misaki(base):
            speak = _misaki(base)
        else:
            code = _ESPEAK.get(wanted.lower(), _ESPEAK.get(base))
            if code is None:
                known = ", ".join(sorted({*_ESPEAK, *filter(_has_misaki, _MISAKI)}))
                raise EngineError(f"kokoro does not speak {utterance.language!r}; it speaks {known}")
            speak = lambda line: self._espeak.phonemes(line, code)  # noqa: E731
        return lambda line: "".join(p for p in _with_ipa(line, base, speak) if p in model.vocabulary).strip()


def _with_ipa(line: str, language: str, speak: Callable[[str], str]) -> str:
    """Phonemes of a line; those that stand in it between brackets are taken as they are."""
    pieces = IPA.split(line)
    said = [as_espeak(piece, language) if i % 2 else _between(piece, speak) for i, piece in enumerate(pieces)]
    return " ".join("".join(said).split()) if len(pieces) > 1 else said[0]


def _between(piece: str, speak: Callable[[str], str]) -> str:
    """Phonemes of a piece of a line, with a space on the sides on which the piece has one."""
    said = speak(piece) if piece.strip() else ""
    return f"{' ' if piece[:1] == ' ' else ''}{said}{' ' if piece[-1:] == ' ' else ''}"


def _sentence(
    model: KokoroModel,
    style: kokoro_files.Table,
    phonemes: str,
    line: str,
    phonemise: Callable[[str], str],
) -> tuple[NDArray[np.float32], Sequence[WordTiming]]:
    """One sentence, trimmed, with its words.

    Raises:
        EngineError: The model failed, or gave silence or numbers that are no sound.
    """
    parts: list[NDArray[np.float32]] = []
    borders: list[int] = []
    pieces = split_phonemes(phonemes, MOST_PHONEMES)
    for piece in pieces:
        try:
            said = model.run(piece, style[min(len(piece), len(style)) - 1])
        except Exception as error:
            raise EngineError(f"kokoro failed at {line[:60]!r}: {error}") from error
        if not np.isfinite(said.samples).all():
            raise EngineError(f"kokoro gave numbers that are no sound for {line[:60]!r}")
        trimmed, cut = trim_silence(np.clip(said.samples, -1.0, 1.0), RATE)
        if not trimmed.size:
            raise EngineError(f"kokoro gave only silence for {line[:60]!r}")
        before = sum(part.size for part in parts)
        borders += (np.clip(said.borders - cut, 0, trimmed.size) + before).tolist()
        parts.append(trimmed)
    audio, written = np.concatenate(parts), words_of(line)
    tokens = [shown(word) for word in written]
    if len(pieces) != 1 or len(borders) != len(phonemes) + 1:
        return audio, _proportional(tokens, audio.size)
    spans = word_spans(written, phonemes, phonemise)
    return audio, [WordTiming(t, borders[a], borders[b]) for t, (a, b) in zip(tokens, spans, strict=True)]


def _proportional(tokens: Sequence[str], samples: int) -> Sequence[WordTiming]:
    """Words that share ``samples`` by their number of characters: for want of anything better."""
    total = sum(map(len, tokens)) or 1
    borders = [samples * c // total for c in accumulate(map(len, tokens), initial=0)]
    return [WordTiming(t, a, b) for t, (a, b) in zip(tokens, pairwise(borders), strict=True)]


@lru_cache(maxsize=128)
def _digest(path: Path, _changed_ns: int) -> str:
    """Digest of a file, read again only when it has changed."""
    return kokoro_files.revision_of(path)


def _language(voice: str) -> str:
    """What the voice speaks by itself: English, where the phonemes of its own language cannot be had."""
    code = _BY_LETTER.get(voice[:1], "en-US")
    return code if code not in _MISAKI or _has_misaki(code) else "en-US"


def _display(voice: str) -> str:
    kind, _, name = voice.partition("_")
    sex = {"f": "female", "m": "male"}.get(kind[1:], "")
    return f"{name.replace('_', ' ').title()} ({_BY_LETTER.get(kind[:1], '?')}, {sex})"


def _has_misaki(language: str) -> bool:
    return importlib.util.find_spec("misaki") is not None and language in _MISAKI


@lru_cache(maxsize=2)
def _misaki(language: str) -> Callable[[str], str]:
    """misaki's phonemiser of a language.

    Raises:
        EngineError: It lacks what it needs.
    """
    try:
        speak: Callable[[str], Any] = getattr(importlib.import_module(f"misaki.{language}"), _MISAKI[language])()
    except ImportError as error:
        raise EngineError(f"misaki lacks what it needs ({error}): pip install 'misaki[{language}]'") from error

    def phonemes(line: str) -> str:
        said = speak(line)
        return str(said[0] if isinstance(said, tuple) else said)

    return phonemes
