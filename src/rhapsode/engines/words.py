"""Which phonemes belong to which word, when the phonemiser runs words together or reads one as several."""

import re
from collections.abc import Callable, Sequence
from difflib import SequenceMatcher
from itertools import pairwise

import numpy as np

Span = tuple[int, int]
"""First phoneme of a word and the one behind its last, as indices into the sentence's phonemes."""

_STRESS = frozenset("ˈˌ")
_SILENT = frozenset(" .,;:?!…\"'()-–—¡¿«»“”„") | _STRESS

IPA = re.compile(r"\[\[(.*?)\]\]")
"""Phonemes in a text, for engines that take them: :attr:`rhapsode.engines.base.EngineInfo.takes_ipa`."""
_WORD = re.compile(r"(?:\[\[.*?\]\]|\S)+")
"""Phonemes in brackets may have spaces."""


_VOWELS = "aeiouyæøœɐɑɒɔəɘɚɛɜɝɞɤɨɪɯɵɶʉʊʌʏᵻᵊ"
_EARLY_STRESS = re.compile(rf"([ˈˌ])([^{_VOWELS}ˈˌ\s]+)(?=[{_VOWELS}])")
_TYPED = str.maketrans({"g": "ɡ", ":": "ː", "'": "ˈ", "\u0361": None, "\u035c": None, ".": None, "/": None})
"""What people type for letters of IPA, and what espeak does not write: ties, and borders of syllables."""


def as_espeak(ipa: str, language: str) -> str:
    """IPA as dictionaries have it, the way espeak writes it, on whose phonemes voices were trained: stress stands before the vowel."""
    written = _EARLY_STRESS.sub(r"\2\1", ipa.translate(_TYPED))
    return written.replace("r", "ɹ") if language.lower().startswith("en") else written


def words_of(sentence: str) -> list[str]:
    """The words of one sentence, as written; phonemes with their brackets."""
    return _WORD.findall(sentence)


def shown(word: str) -> str:
    """A word without the brackets of phonemes."""
    return word.replace("[[", "").replace("]]", "")


def word_spans(tokens: Sequence[str], phonemes: Sequence[str], alone: Callable[[str], Sequence[str]]) -> list[Span]:
    """Spans of the words of one sentence.

    Where the sentence has as many groups of phonemes between spaces as it has words, each word is its group. Otherwise
    (espeak says "of the" as one, "1984" as five) the phonemes of each word on its own are matched with those of the sentence.

    Args:
        tokens: The words, as written.
        phonemes: What was spoken: phonemes, spaces and punctuation.
        alone: Gives the phonemes of one word on its own.

    Returns:
        One span per token, in order and without overlap; of no length for a token that has no sound.
    """
    groups = _groups(phonemes)
    sounding = [any(c.isalnum() for c in token) for token in tokens]
    if len(groups) == sum(sounding):
        return _spread(groups, sounding)
    return _matched([sounds(alone(token)) for token in tokens], phonemes)


def sounds(phonemes: Sequence[str]) -> list[str]:
    """Those that are speech: no spaces, punctuation or stress marks."""
    return [p for p in phonemes if p not in _SILENT]


def _groups(phonemes: Sequence[str]) -> list[Span]:
    """Runs of phonemes between spaces, without the punctuation at their ends."""
    groups: list[Span] = []
    start = 0
    for end, phoneme in enumerate([*phonemes, " "]):
        if phoneme != " ":
            continue
        speech = [i for i in range(start, end) if phonemes[i] not in _SILENT]
        if speech:
            groups.append((_with_stress(phonemes, speech[0]), speech[-1] + 1))
        start = end + 1
    return groups


def _with_stress(phonemes: Sequence[str], index: int) -> int:
    """The first of the stress marks that stand right before ``index``."""
    while index and phonemes[index - 1] in _STRESS:
        index -= 1
    return index


def _spread(groups: Sequence[Span], sounding: Sequence[bool]) -> list[Span]:
    """The groups, in order, to the sounding tokens; the others get no length where the word before them ends."""
    rest = iter(groups)
    spans: list[Span] = []
    end = 0
    for has_sound in sounding:
        start, end = next(rest) if has_sound else (end, end)
        spans.append((start, end))
    return spans


def _matched(expected: Sequence[Sequence[str]], phonemes: Sequence[str]) -> list[Span]:
    """Spans by matching what each word sounds like alone with what was spoken; in proportion where nothing matches."""
    places = [i for i, p in enumerate(phonemes) if p not in _SILENT]
    heard = [phonemes[i] for i in places]
    wanted = [p for word in expected for p in word]
    matcher = SequenceMatcher(None, wanted, heard, autojunk=False)
    anchors = [(0, 0)]
    for block in matcher.get_matching_blocks():
        anchors += [(block.a, block.b), (block.a + block.size, block.b + block.size)]
    borders = np.cumsum([0, *map(len, expected)])
    at = np.rint(np.interp(borders, [a for a, _ in anchors], [b for _, b in anchors])).astype(int)
    spans: list[Span] = []
    end = 0
    for first, behind in pairwise(at.tolist()):
        if first < behind:
            start, end = _with_stress(phonemes, places[first]), places[behind - 1] + 1
            spans.append((start, end))
        else:
            spans.append((end, end))
    return spans
