"""A whole engine in one file: each word is a chirp, as long as the word. docs/engines.md walks through it."""

import hashlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from rhapsode.engines.base import Control, Determinism, EngineInfo, EngineOptions, Speech, Utterance
from rhapsode.errors import NotFound
from rhapsode.model import Voice, WordTiming

RATE = 16_000
_PITCHES = {"lark": 1_200.0, "owl": 300.0}
_CHAR_S = 0.06
_GAP_S = 0.02


class ChirpEngine:
    """Speaks in chirps. Constructed in a worker process; the server itself never imports this file."""

    def __init__(self, options: EngineOptions) -> None:
        self._options = options

    @property
    def info(self) -> EngineInfo:
        """What it can do. The revision is part of every take's name: raise it when the sound changes."""
        return EngineInfo(
            name="chirp",
            revision="1",
            determinism=Determinism.EXACT,
            max_chars=200,
            can_clone=False,
            controls=(Control("temperature", 0.0, 1.5, 0.5, "How much the pitch wanders."),),
        )

    def voices(self) -> Sequence[Voice]:
        """The first is the default."""
        return [Voice(name, f"{name}.chirp", name.title(), "en", "1", RATE) for name in _PITCHES]

    def load(self, voice: str) -> None:
        """Bring a voice into memory: here there is nothing to bring, but it must exist."""
        if voice not in _PITCHES:
            raise NotFound(f"voice {voice!r} is not one of: {', '.join(_PITCHES)}", "voice")

    def synthesise(self, utterance: Utterance) -> Speech:
        """One chirp per word, silence between the sentences, and where each word lies."""
        self.load(utterance.voice)
        chance = np.random.default_rng(_seed(utterance))
        wander = utterance.controls.get("temperature", 0.5)
        parts: list[NDArray[np.float32]] = []
        words: list[WordTiming] = []
        position = 0
        for number, sentence in enumerate(utterance.text.split("\n")):
            if number:
                parts.append(np.zeros(round(utterance.sentence_pause_s * RATE), np.float32))
                position += parts[-1].size
            for word in sentence.split():
                pitch = _PITCHES[utterance.voice] * (1 + 0.1 * wander * chance.standard_normal())
                sound = _chirp(len(word) * _CHAR_S, pitch)
                words.append(WordTiming(word, position, position + sound.size))
                parts += [sound, np.zeros(round(_GAP_S * RATE), np.float32)]
                position += sound.size + parts[-1].size
            if sentence.split():
                position -= parts.pop().size
        return Speech(np.concatenate(parts), RATE, tuple(words))


def _seed(utterance: Utterance) -> int:
    key = f"{utterance.voice}/{utterance.seed}/{utterance.text}"
    return int.from_bytes(hashlib.sha256(key.encode("utf-8", "surrogatepass")).digest()[:8], "big")


def _chirp(seconds: float, pitch_hz: float) -> NDArray[np.float32]:
    """A rising tone; shape (n,)."""
    at = np.arange(max(1, round(seconds * RATE))) / RATE
    return (0.4 * np.cos(2 * np.pi * pitch_hz * at * (1 + 0.3 * at / seconds))).astype(np.float32)
