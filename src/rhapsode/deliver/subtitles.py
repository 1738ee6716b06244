"""Subtitles: what is said when, as cues of at most two lines that can be read in passing.

A segment's text is cut between sentences first, then between words where a cue would grow too long. Times come from the take's
words; its words are those that were spoken ("twenty dollars"), the cue shows those that were written ("$20"), so the two are
matched by their number, else by how far into the segment they stand.
"""

import unicodedata
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate

from rhapsode.model import WordTiming
from rhapsode.text.split import sentences

LINE_CHARS = 42
"""Most characters of one line, as broadcasters have it."""
_LINES = 2
_JOINERS = frozenset("\u200d\ufe0e\ufe0f")
_MS = 1000


@dataclass(frozen=True, slots=True)
class Cue:
    """What is shown for a while."""

    start_s: float
    """Seconds from the start of the timeline."""
    end_s: float
    lines: tuple[str, ...]
    """One or two, as written; plain text."""


def cues(
    text: str, language: str, start: int, samples: int, rate: int, words: Sequence[WordTiming] = ()
) -> Iterator[Cue]:
    """The cues of one segment, in order.

    Args:
        text: As the user wrote it.
        language: Its language, such as ``en``; decides what ends a sentence.
        start: Where its take begins on the timeline, in samples.
        samples: How long the take is.
        rate: Hz.
        words: Timings inside the take; without them time is shared out by characters.
    """
    run = " ".join(text.split())
    groups: list[list[str]] = []
    for first, behind in sentences(run, language):
        groups += _balanced([piece for word in run[first:behind].split() for piece in _pieces(word)])
    if not groups or not samples:
        return
    borders = _borders(groups, samples, words)
    for group, (begin, end) in zip(groups, borders, strict=True):
        yield Cue((start + begin) / rate, (start + end) / rate, _lines(group))


def vtt_head() -> str:
    """How a WebVTT file begins."""
    return "WEBVTT\n\n"


def vtt_cue(number: int, cue: Cue) -> str:
    """A cue of a WebVTT file; ``number`` counts from 1."""
    text = "\n".join(cue.lines).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return f"{number}\n{_span(cue, '.')}\n{text}\n\n"


def srt_cue(number: int, cue: Cue) -> str:
    """A cue of a SubRip file; ``number`` counts from 1. The format has no escapes: an arrow that would be read as times is broken up."""
    text = "\n".join(cue.lines).replace("-->", "-\u200b->")
    return f"{number}\n{_span(cue, ',')}\n{text}\n\n"


def _span(cue: Cue, point: str) -> str:
    """Both times; the end is never the start, which no player would show."""
    start = round(cue.start_s * _MS)
    end = max(start + 1, round(cue.end_s * _MS))
    return f"{_clock(start, point)} --> {_clock(end, point)}"


def _clock(ms: int, point: str) -> str:
    return f"{ms // 3_600_000:02}:{ms // 60_000 % 60:02}:{ms // _MS % 60:02}{point}{ms % _MS:03}"


def _pieces(word: str) -> Iterator[str]:
    """A word cut so that it fits into a line: an address, or a script without spaces."""
    while len(word) > LINE_CHARS:
        place = LINE_CHARS
        while place > 1 and _holds_together(word[place - 1], word[place]):
            place -= 1
        yield word[:place]
        word = word[place:]
    yield word


def _holds_together(before: str, behind: str) -> bool:
    """Whether a cut would part a letter from its marks."""
    return unicodedata.category(behind)[0] == "M" or behind in _JOINERS or before in _JOINERS


def _balanced(tokens: Sequence[str]) -> list[list[str]]:
    """As few cues as can be, and of those the most even: no single word flashes up at the end."""
    found = _filled(tokens, LINE_CHARS * _LINES + 1)
    low, high = 1, LINE_CHARS * _LINES + 1
    while low < high:
        middle = (low + high) // 2
        tried = _filled(tokens, middle)
        if len(tried) == len(found):
            found, high = tried, middle
        else:
            low = middle + 1
    return found


def _filled(tokens: Sequence[str], most: int) -> list[list[str]]:
    """Tokens put into cues of at most ``most`` characters, one after another."""
    groups: list[list[str]] = []
    for token in tokens:
        if groups and len(" ".join(groups[-1])) + 1 + len(token) <= most and _fits([*groups[-1], token]):
            groups[-1].append(token)
        else:
            groups.append([token])
    return groups


def _fits(tokens: Sequence[str]) -> bool:
    return any(max(map(len, pair)) <= LINE_CHARS for pair in _pairs(tokens))


def _lines(tokens: Sequence[str]) -> tuple[str, ...]:
    """One line when it fits, else two as even as can be."""
    whole = " ".join(tokens)
    if len(whole) <= LINE_CHARS:
        return (whole,)
    return min(_pairs(tokens), key=lambda pair: max(map(len, pair)))


def _pairs(tokens: Sequence[str]) -> Iterator[tuple[str, str]]:
    """All ways to put tokens into two lines, the second of which may be empty."""
    for place in range(1, len(tokens) + 1):
        yield " ".join(tokens[:place]), " ".join(tokens[place:])


def _borders(groups: Sequence[Sequence[str]], samples: int, words: Sequence[WordTiming]) -> list[tuple[int, int]]:
    """First sample and the one behind the last of each group of tokens, inside the take."""
    tokens = [token for group in groups for token in group]
    ends = list(accumulate(len(group) for group in groups))
    cuts = _word_cuts(ends[:-1], tokens, words)
    if cuts is None:
        lengths = [0, *accumulate(len(token) for token in tokens)]
        inner = [round(samples * lengths[end] / lengths[-1]) for end in ends[:-1]]
        return list(zip([0, *inner], [*inner, samples], strict=True))
    starts = [0, *(words[cut].start for cut in cuts)]
    stops = [*(words[cut - 1].end for cut in cuts), samples]
    return [(min(begin, samples), min(end, samples)) for begin, end in zip(starts, stops, strict=True)]


def _word_cuts(ends: Sequence[int], tokens: Sequence[str], words: Sequence[WordTiming]) -> list[int] | None:
    """Before which word each border lies, strictly rising; None when the words do not tell."""
    if len(words) == len(tokens):
        return list(ends)
    if len(words) <= len(ends):
        return None
    fraction = _fractions(tokens)
    spoken = _fractions([word.text for word in words])
    cuts: list[int] = []
    for left, end in zip(range(len(ends), 0, -1), ends, strict=True):
        low, high = (cuts[-1] if cuts else 0) + 1, len(words) - left
        target = fraction(end)
        cuts.append(min(range(low, high + 1), key=lambda cut: abs(spoken(cut) - target)))
    return cuts


def _fractions(words: Sequence[str]) -> Callable[[int], float]:
    """How far into the text, 0 … 1, so many of its words reach."""
    sums = [0, *accumulate(max(1, len(word)) for word in words)]
    return lambda count: sums[count] / sums[-1]
