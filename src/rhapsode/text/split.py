"""Normalised text to runs (paragraphs, headings, list items), runs to sentences, and long sentences to pieces."""

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass

import sentencex

from rhapsode.model import Boundary

SPEAKABLE = re.compile(r"[^\W_]|[\ue000-\uf8ff]")
"""A letter or digit, or a character that stands for what is spoken in its place: without one there is nothing to say."""


def code_of(language: str) -> str:
    """The language without its region."""
    return re.split("[-_]", language, maxsplit=1)[0].lower()


_WRAP_MAX = 100
"""A block with longer lines is not hard-wrapped: there every line is a paragraph."""
_WRAP_MIN, _WRAP_MIN_EAST = 40, 15
"""Shorter lines do not end where they end because the column was full."""
_HEADING_CHARS, _HEADING_WORDS = 80, 12

_LINE = re.compile(r"[^ \n][^\n]*")
_BULLET = re.compile(r"(?:[-*+•‣·–—] +)+")
_NUMBERED = re.compile(r"(?:\(?\d{1,3}[.)]|\(?[a-zA-Z]\)|\([ivx]{1,5}\)) +(?=\S)")
_HASHES = re.compile(r"#{1,6} +")
_CHAPTER = re.compile(
    r"(?:chapter|part|book|section|act|scene|volume|vol\.|canto|letter|appendix|kapitel|teil|chapitre|partie|livre"
    r"|cap[ií]tulo|parte|capitolo|hoofdstuk|глава|часть|rozdzia[łl])"
    r" +(?:the +)?(?:[ivxlcdm]{1,8}|\d{1,4}|[a-z]|one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve"
    r"|(?:thir|four|fif|six|seven|eigh|nine)teen|twenty(?:[ -]\w+)?|first|second|third|fourth|fifth|last)"
    r"(?:[.:]?|(?:[.:]| *[—–-]) *[^.!?]{1,60}[!?]?|)$"
    r"|第.{1,6}[章回节卷節].{0,30}$",
    re.IGNORECASE,
)
_OPEN_END = re.compile(r"[\w)\]\"'”’»*]$")


@dataclass(frozen=True, slots=True)
class Run:
    """A stretch of text whose newlines are only wraps: a paragraph, a heading, a list item or a line of verse."""

    start: int
    end: int
    boundary: Boundary
    """SENTENCE, PARAGRAPH or HEADING."""
    inside: int
    """0 when a paragraph begins here, else the paragraph's width."""
    width: int
    """Characters in the longest line of its paragraph."""


def runs(text: str, width: int = 0) -> Iterator[Run]:
    """Find the runs of a text, lazily.

    Args:
        text: Normalised text.
        width: Of the run that ``text`` starts inside of; 0 when it starts between two paragraphs.

    Yields:
        Runs in order, stripped, each with a letter or digit.
    """
    block: list[tuple[int, int]] = []
    for line in _LINE.finditer(text):
        start = line.start()
        end = start + len(line[0].rstrip(" "))
        speakable = SPEAKABLE.search(text, start, end)
        if block and (not speakable or text.count("\n", block[-1][1], start) > 1):
            # a lone line is called a heading only when something follows it
            yield from _runs_of_block(text, block, width, last=not (speakable or SPEAKABLE.search(text, end)))
            block, width = [], 0
        if speakable:
            block.append((start, end))
    yield from _runs_of_block(text, block, width, last=True)


def _runs_of_block(text: str, lines: list[tuple[int, int]], inside: int, *, last: bool) -> Iterator[Run]:
    """Runs of lines that no blank line separates."""
    width = max([inside, *(end - start for start, end in lines)])
    headings = 0 if inside else _headings(text, lines, last)
    between = Boundary.PARAGRAPH if width > _WRAP_MAX else Boundary.SENTENCE
    begin = 0
    for i, (start, end) in enumerate(lines):
        final = i + 1 == len(lines)
        if not final and i >= headings and _wraps(text, (start, end), lines[i + 1], width):
            continue
        boundary = Boundary.HEADING if i < headings else Boundary.PARAGRAPH if final else between
        first = lines[begin][0]
        if begin or not inside:
            first = _past_markers(text, first, end)
        yield Run(first, end, boundary, width if begin else inside, width)
        begin = i + 1


def _past_markers(text: str, start: int, end: int) -> int:
    """Where a line begins behind the marks of a Markdown heading or a bullet, which nobody speaks."""
    for marker in (_HASHES, _BULLET):
        if match := marker.match(text, start, end):
            start = match.end()
    return start


def _headings(text: str, lines: list[tuple[int, int]], last: bool) -> int:
    """How many lines at the start of a block are headings."""
    if not lines:
        return 0
    start, end = lines[0]
    if _HASHES.match(text, start, end):
        return 1
    if _CHAPTER.match(text, start, min(end, start + _HEADING_CHARS)) and end - start <= _HEADING_CHARS:
        titled = len(lines) == 2 and _is_title(text, *lines[1])  # "CHAPTER I" above "Down the Rabbit-Hole"
        return 2 if titled else 1
    return 1 if len(lines) == 1 and not last and _is_title(text, start, end) else 0


def _is_title(text: str, start: int, end: int) -> bool:
    """A short line that no punctuation ends, and that is no list item, table row or rest of a sentence."""
    line = text[start : min(end, start + _HEADING_CHARS + 1)]
    return (
        len(line) <= _HEADING_CHARS
        and len(line.split()) <= _HEADING_WORDS
        and _OPEN_END.search(line) is not None
        and not line[0].islower()
        and not re.search(r"[.!?…]\W*$", line)
        and "|" not in line
        and not _BULLET.match(line)
        and not _NUMBERED.match(line)
    )


def _wraps(text: str, line: tuple[int, int], following: tuple[int, int], width: int) -> bool:
    """Whether the newline between two lines of a block is only a wrap."""
    start, end = line
    begin, stop = following
    if _BULLET.match(text, begin, stop) or _NUMBERED.match(text, begin, stop) or "|" in (text[end - 1], text[begin]):
        return False
    if text[begin].islower() or text[end - 1] in ",;-–—，、；":
        return True
    if width > _WRAP_MAX:
        return False
    if is_east(text[end - 1]) or is_east(text[begin]):
        return end - start >= _WRAP_MIN_EAST and end - start + 2 >= width
    word = text.find(" ", begin, min(stop, begin + _WRAP_MAX))
    return end - start >= _WRAP_MIN and end - start + 1 + ((word if word > 0 else stop) - begin) > width


def is_east(char: str) -> bool:
    """Whether a character belongs to a script that puts no spaces between words and fills a square."""
    return "\u3000" <= char <= "\u9fff" or "\uff00" <= char <= "\uffef" or "\U00020000" <= char <= "\U0003ffff"


def _strip(text: str, start: int, end: int) -> tuple[int, int]:
    """The span without spaces and newlines at its ends."""
    stripped = text[start:end].strip(" \n")
    start = text.find(stripped, start, end) if stripped else end
    return start, start + len(stripped)


# --- sentences ---------------------------------------------------------------------------------------------------------

_SLICE = 2_000
"""Characters that sentencex sees at once: 200,000 opening quotes in one piece take it nine seconds."""

_BEFORE_NUMBER = re.compile(
    r"(?:^|[\s(])(?:[vV]ol|[cC]h|[cC]hap|pp?|[nN]os?|[fF]igs?|[eE]q|[sS]ec|[aA]rt|[pP]ara|[aA]pprox|ca|cf)\.\s*$"
)
_SHORT = {
    "fr": re.compile(r"(?:^|[\s(«])(?:M|MM|Mme|Mlle|av|env)\.\s*$"),
    "cs": re.compile(r"(?:^|[\s(])(?:[nN]apř|tzv|tj|str)\.\s*$"),
    "pl": re.compile(r"(?:^|[\s(])(?:np|tzw|tj|str|ul)\.\s*$"),
}
"""Abbreviations that sentencex takes for the end of a sentence: before a number, and anywhere."""
_COUNTED = re.compile(r"\W*\d{1,3}[.)]\s*")
_ANSWER = re.compile(r"[\"“'‘(]*No\. (?=[\"“'‘]?[A-Z])")
_ASIDE = re.compile(r"\([^()]{0,400}[.!?]\) (?=[\"“‘(]?[A-Z])")
_QUOTED = re.compile(r"“[^“”]{4,}”|\"[^\"]{4,}\"|«[^«»]{4,}»|„[^„“”]{4,}[“”]|「[^「」]{4,}」")
_INNER_END = re.compile(r"[.!?…][ )’']|[。！？।]")


def sentences(run: str, language: str) -> Iterator[tuple[int, int]]:
    """Find the sentences of a run, lazily.

    Args:
        run: A paragraph without newlines and without white space at its ends.
        language: ISO 639 code, with or without a region.

    Yields:
        Spans in order, stripped. They cover everything but white space.
    """
    code = code_of(language)
    begin = 0
    for end in _borders(run, code):
        for stop in (*_inner_borders(run, begin, end, code), end):
            span = _strip(run, begin, stop)
            if span[0] < span[1]:
                yield span
            begin = stop


def _borders(run: str, code: str) -> Iterator[int]:
    """Ends of sentences, found slice by slice; the last of a slice is looked at again with what follows it."""
    begin = 0
    marker = _NUMBERED.match(run)
    position = marker.end() if marker else 0  # "1. Milk" is one sentence
    while True:
        whole = len(run) - position <= _SLICE
        stop = len(run) if whole else _word_border(run, position + _SLICE // 2, position + _SLICE)
        ends = _sentencex(run, position, stop, code)
        if not whole:
            ends.pop()
        for end in ends:
            if end == len(run) or not _joins(run, begin, end, code):
                yield end
                begin = end
        if whole:
            return
        position = ends[-1] if ends else stop


def _word_border(text: str, start: int, end: int) -> int:
    """Behind the last space of a span, else its end."""
    return text.rfind(" ", start, end) + 1 or end


def _sentencex(text: str, start: int, end: int, code: str) -> list[int]:
    """Ends of the sentences of a span that has no other white space than spaces (others make sentencex panic)."""
    return [start + found["end_index"] for found in sentencex.get_sentence_boundaries(code, text[start:end])]


def _joins(run: str, begin: int, end: int, code: str) -> bool:
    """Whether a sentence goes on behind ``end``, where sentencex ends it."""
    tail = run[max(begin, end - 24) : end]
    following = run[end : end + 2].lstrip()
    return (
        (following[:1].isdigit() and _BEFORE_NUMBER.search(tail) is not None)
        or (code in _SHORT and _SHORT[code].search(tail) is not None)
        or (end - begin < 24 and _COUNTED.fullmatch(tail) is not None)
        or (following.startswith(("と", "って")) and tail.endswith(("」", "』")))
    )


def _inner_borders(run: str, begin: int, end: int, code: str) -> list[int]:
    """Ends of sentences that sentencex keeps together: those inside of quotes, an aside, the answer "No."."""
    found = [match.end() for match in (_ANSWER.match(run, begin, end), _ASIDE.match(run, begin, end)) if match]
    for quote in _QUOTED.finditer(run, begin, end):
        first, last = quote.start() + 1, min(quote.end() - 1, quote.start() + _SLICE)
        if _INNER_END.search(run, first, last):
            found += _sentencex(run, first, last, code)[:-1]
    return sorted(found)


# --- pieces of long sentences ------------------------------------------------------------------------------------------

_STOP = re.compile(r"(?:(?<=[^\W\dA-Z_]{4})\.|[!?…])[\"'”’»)\]]*(?= +[\"'“‘«(\[]?[^\W\d_a-z])|[。！？।။።][」』”’]*")
_CLAUSE = re.compile(r"[,;:][\"'”’»)\]]*(?= )|[—–]+(?!\d)|(?<= )-(?= )|--+|[，、；：،؛]")
_CONJUNCTION = re.compile(
    r"(?= (?:and|or|but|nor|because|which|who|when|while|where|if"
    r"|und|oder|aber|weil|et|ou|mais|car|y|pero|porque|ma|и|но) )"
)
_IN_ADDRESS = "/?&=#"
_LOOK_BACK, _LOOK_AHEAD = 40, 10


def cut_at_clause(text: str, start: int, reach: int, target: int) -> tuple[int, Boundary] | None:
    """Where to cut a sentence so that it sounds meant: at a full stop, then a comma or dash, then before an "and".

    Args:
        text: Normalised text without newlines.
        start: Where the sentence starts.
        reach: The piece ends here at the latest.
        target: Where it would best end.

    Returns:
        The cut and what it is, or None when there is no such place in the last three quarters of the reach.
    """
    low = start + (reach - start) // 4
    for pattern, boundary in ((_STOP, Boundary.SENTENCE), (_CLAUSE, Boundary.CLAUSE), (_CONJUNCTION, Boundary.CLAUSE)):
        found = pattern.finditer(text, low, reach + _LOOK_AHEAD)
        if places := [match.end() for match in found if start < match.end() <= reach]:
            return min(places, key=lambda place: abs(place - target)), boundary
    return None


def cut(text: str, start: int, end: int, reach: int) -> tuple[int, Boundary]:
    """Where to cut a sentence that is too long: at a clause, else between words, else inside a word.

    Args:
        text: Normalised text without newlines, no space at ``start``.
        start: Where the sentence starts.
        end: Where it ends.
        reach: The piece ends here at the latest; start < reach < end.

    Returns:
        The end of the piece, start < cut <= reach, and its boundary.
    """
    pieces = -(-(end - start) // (reach - start))
    target = start + -(-(end - start) // pieces)
    if found := cut_at_clause(text, start, reach, target):
        return found
    before, behind = text.rfind(" ", start, target + 1), text.find(" ", target, reach + 1)
    if before > start or behind > 0:
        place = before if behind < 0 or (before > start and target - before <= behind - target) else behind
        return place, Boundary.NONE
    return _hard_cut(text, start, reach, target), Boundary.NONE


def _hard_cut(text: str, start: int, reach: int, target: int) -> int:
    """A cut inside a word longer than any segment: in an address at a slash, never inside a letter with its marks."""
    place = min(target, reach)
    low = max(start + 1, place - _LOOK_BACK)
    breaks = max(text.rfind(char, low, reach) for char in _IN_ADDRESS)
    if breaks >= low:
        return breaks + 1
    whole = place
    while whole > low and _is_inside(text, whole):
        whole -= 1
    return whole if whole > low else place


def _is_inside(text: str, place: int) -> bool:
    """Whether a cut would part a letter from its marks, or the digits of a number."""
    before, behind = text[place - 1], text[place]
    return (
        unicodedata.category(behind)[0] == "M"
        or "\u200c" in (before, behind)
        or "\u200d" in (before, behind)
        or (before.isdigit() and behind.isdigit())
    )
