"""Text as users write it to text that can be planned and spoken, in two steps.

:func:`normalise` removes what is never spoken and knows where each remaining character came from, so that segments keep
offsets into the original. :func:`polish` tidies one span (a sentence, say) and may change its length freely.
"""

import re
import sys
import unicodedata
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field

_MAX_MARKS = 6
"""Combining marks kept on one letter; real scripts need fewer, floods of thousands make normalisation quadratic."""

DROPPED: Mapping[str, str] = {
    "control": "control characters",
    "surrogate": "broken characters (lone surrogates)",
    "private": "private-use characters",
    "emoji": "emoji and pictographs",
    "flood": f"combining marks (more than {_MAX_MARKS} on one letter)",
    "tag": "tags that the engine does not speak",
    "markup": "markup",
    "href": "addresses of links",
}
"""Kinds of dropped text that deserve a warning, and how the warning calls them."""


def _marks() -> str:
    """The combining marks of the basic plane as the inside of a regular expression's character class."""
    codes = [c for c in range(0x300, 0x10000) if unicodedata.category(chr(c)) in {"Mn", "Me"}]
    ranges: list[list[int]] = []
    for code in codes:
        if ranges and ranges[-1][1] == code - 1:
            ranges[-1][1] = code
        else:
            ranges.append([code, code])
    return "".join(f"\\U{first:08x}-\\U{last:08x}" for first, last in ranges)


MARKS = _marks()

_SOUND = re.compile(
    r"(?:applause|breath|breathe|cheer|chuckle|clap|cough|cry|exhale|gasp|giggle|groan|growl|grunt|gulp|hiccup|hum|inhale|laugh|laughter"
    r"|moan|mumble|music|mutter|pause|scream|shout|shush|sigh|silence|sing|sneeze|sniff|sniffle|snore|snort|sob|throat|whimper|whine"
    r"|whisper|whistle|yawn|yell|breathing|crosstalk|inaudible)(?:s|es|ing)?"
)
_MOOD = re.compile(r"angry|excited|happy|nervous|sad|sarcastic|surprised")
_MANNER = re.compile(
    r"[a-z]{3,30}ly|again|and|aloud|awkward|background|brief|clear(?:s|ing)?|continues?|crowd|audience|deep|dramatic|fad(?:es|ing)|gentle"
    r"|heavy|light|long|loud|off|out|play(?:s|ing)|quiet|sharp|short|slight|soft|stops?|sudden|tense|upbeat"
)
"""What stands beside a sound in a stage direction: "laughs softly", "clears throat", "long pause"."""
_MOST_WORDS = 4


def _is_tag(found: str) -> bool:
    """Whether a bracket holds a stage direction, such as "[sighs heavily]"; editors' brackets ("[the] man", "[music industry]") are prose."""
    words = re.split(r"(?: (?:his|her|their|my)(?= throat\b))?[ -]+", found[1:-1].strip().lower())
    if len(words) > _MOST_WORDS:
        return False
    sounds = [word for word in words if _SOUND.fullmatch(word)]
    if not sounds:
        return len(words) == 1 and _MOOD.fullmatch(words[0]) is not None
    return all(_SOUND.fullmatch(word) or _MOOD.fullmatch(word) or _MANNER.fullmatch(word) for word in words)


_TAG_LENGTH = 40

_SUSPECT = (
    r"\x00-\x09\x0b-\x1f\x7f-\xa0\xad!*<>\[\]_`hw~\-\u061c\u115f\u1160\u1680\u17b4\u17b5\u180e\u2000-\u200f\u2028-\u202f"
    r"\u2043\u204c\u204d\u205f-\u206f\u2190-\u21ff\u231a-\u23fa\u2500-\u27bf\u2b00-\u2bff\u3000\ud800-\uf8ff\ufdd0-\ufdef"
    r"\ufe00-\ufe0f\ufeff\uffa0\ufff0-\uffff\U00010000-\U0010ffff"
)
"""What an alternative of ``_ODD`` can start with, combining marks aside; one look at it settles most characters."""

# Order matters: the first alternative that fits at a position wins. Every repetition is bounded or over a class that
# excludes its own opening character, so that the scan stays linear on hostile input.
_ODD = re.compile(
    rf"(?=[{_SUSPECT}{MARKS}])(?:"
    + "|".join(
        [
            r"(?P<hyphen>(?<=[^\W\d_])-\r?\n(?=[^\W\d_]{1,40}(?![\w-])))",
            r"(?P<line>\r\n?|[\x0b\x85\u2028])",
            r"(?P<page>[\f\u2029])",
            r"(?P<space>[\t\x1c-\x1f\xa0\u1680\u2000-\u200a\u202f\u205f\u3000])",
            r"(?P<quoting>(?m:^)>[> ]{0,10})",
            r"(?P<invisible>[\xad\u061c\u115f\u1160\u17b4\u17b5\u180e\u200b\u200e\u200f\u202a-\u202e\u2060-\u206f"
            r"\ufe00-\ufe0f\ufeff\uffa0\ufff0-\uffff\ufdd0-\ufdef\U000e0000-\U000e0fff]+)",
            # joiners mean something in Arabic and Indic scripts, nothing elsewhere
            r"(?P<joiner>(?<![\u0600-\u07ff\u0900-\u0dff\u1000-\u109f\u1780-\u17ff])[\u200c\u200d]+)",
            r"(?P<control>\x1b\[[0-9;]{0,20}[A-Za-z]|[\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f]+)",
            r"(?P<surrogate>[\ud800-\udfff]+)",
            r"(?P<private>[\ue000-\uf8ff\U000f0000-\U0010ffff]+)",
            r"(?P<emoji>[\u231a\u231b\u2328\u23cf-\u23fa\u2600-\u27bf\u2b00-\u2bff\U0001f000-\U0001faff]"
            r"[\u200d\ufe0f\u20e3\u231a-\u23fa\u2600-\u27bf\u2b00-\u2bff\U0001f000-\U0001faff\U000e0020-\U000e007f]*)",
            r"(?P<keycap>\u20e3)",
            r"(?P<bullet>[\u25a0-\u25ff\u2043\u204c\u204d])",
            r"(?P<drawing>[\u2190-\u21ff\u2500-\u259f]+)",
            rf"(?P<flood>[{MARKS}]{{{_MAX_MARKS + 1},}})",
            r"(?P<image>!(?=\[[^\[\]\n]{0,300}\]\())",
            r"(?P<href>(?<=[^\s\[])\]\((?:https?:|mailto:|www\.|[/#.])[^()\s]{0,1000}\))",
            rf"(?P<tag>\[[A-Za-z][A-Za-z' -]{{0,{_TAG_LENGTH}}}\](?!\())",
            r"(?P<markup></?[A-Za-z][\w-]{0,30}(?:\s{0,9}/?|\s(?=[^<>\n=]{0,300}=)[^<>\n]{0,300})>|<!--)",
            r"(?P<url>(?:https?://|www\.)[!#-;=?-Z\\\]^_a-z|~]{1,2000})",  # kept as it is, emphasis marks included
            r"(?P<emphasis>(?<![\w*])\*{1,3}(?=[^\s*])|(?<=[^\s*])\*{1,3}(?![\w*])"
            r"|(?<!\w)_{1,3}(?=[^\W_])|(?<=[^\W_]|[.!?,;:)])_{1,3}(?!\w)|~~+|`+)",
        ]
    )
    + ")"
)
_REPLACED: Mapping[str, str] = {
    "line": "\n", "page": "\n\n", "space": " ", "emoji": " ", "drawing": " ", "bullet": "•", "private": " ", "markup": " ", "tag": " "
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Normalised:
    """A text without what is never spoken, and the way back to the original."""

    text: str
    """White space is a space or a newline; no control, invisible or broken characters."""
    dropped: Mapping[str, tuple[int, str]]
    """Kind (a key of :data:`DROPPED`) to the offset in the original and the text of its first example."""
    _here: Sequence[int] = field(repr=False)
    """Where each piece starts in ``text``; ascending."""
    _there: Sequence[tuple[int, int]] = field(repr=False)
    """Where it starts in the original, and the end of what it replaces (-1 when it is a copy)."""

    def start(self, index: int) -> int:
        """Offset in the original of character ``index``."""
        piece = bisect_right(self._here, index) - 1
        start, end = self._there[piece]
        return start + index - self._here[piece] if end < 0 else start

    def end(self, index: int) -> int:
        """Offset in the original behind character ``index - 1``."""
        return self.start(index - 1) + 1

    def reach(self, offset: int) -> int:
        """The largest index whose characters before it all lie before ``offset`` in the original."""
        piece = bisect_right(self._there, (offset, sys.maxsize)) - 1
        here, (start, end) = self._here[piece], self._there[piece]
        behind = self._here[piece + 1] if piece + 1 < len(self._here) else len(self.text)
        if end < 0:
            return min(here + offset - start, behind)
        return behind if offset >= end else here


def normalise(source: str, tags: Sequence[str] | None = (), keep_private: bool = False) -> Normalised:
    """Drop what is never spoken: control, invisible and broken characters, emoji, foreign tags, Markdown's emphasis.

    Args:
        source: Any string, lone surrogates included.
        tags: Paralinguistic tags to keep, such as ``[sigh]`` (compared without case); None: brackets are text, none is dropped.
        keep_private: Private-use characters are not the user's: each stands for something to speak, and stays.

    Returns:
        The remaining text with its way back. Time is proportional to the length, whatever is in it.
    """
    kept = {tag.casefold() for tag in tags or ()}
    parts: list[str] = []
    here, there = [0], [(0, -1)]
    dropped: dict[str, tuple[int, str]] = {}
    done = length = 0
    for match in _ODD.finditer(source):
        kind, start, end = match.lastgroup or "", match.start(), match.end()
        if (kind == "private" and keep_private) or (kind == "tag" and tags is None):
            continue
        if kind == "flood":
            start += _MAX_MARKS
        value = _replacement(kind, match[0], source[end : end + 1], kept)
        if value is None:
            continue
        if kind in DROPPED:
            dropped.setdefault(kind, (start, source[start:end]))
        if start > done:
            parts.append(source[done:start])
            length += start - done
        if value:
            _place(here, there, length, (start, end))
            parts.append(value)
            length += len(value)
        _place(here, there, length, (end, -1))
        done = end
    parts.append(source[done:])
    return Normalised("".join(parts), dropped, here, there)


def _place(here: list[int], there: list[tuple[int, int]], index: int, origin: tuple[int, int]) -> None:
    """Start a piece at ``index``; an empty one before it gives way."""
    if here[-1] == index:
        there[-1] = origin
    else:
        here.append(index)
        there.append(origin)


def _replacement(kind: str, found: str, following: str, kept: AbstractSet[str]) -> str | None:
    """What stands for an odd stretch of text; None leaves it as it is."""
    if kind == "url":
        return None
    if kind == "hyphen":  # "exam-\nple" is one word; "Jean-\nPaul" keeps its hyphen
        return "" if following.islower() else "-"
    if kind in {"tag", "markup"} and found.casefold() in kept:
        return None
    if kind == "tag" and not _is_tag(found):
        return None
    return _REPLACED.get(kind, "")


_COMPAT = re.compile(
    r"[\u2100-\u2101\u2103\u2105\u2106\u2109-\u2115\u2119-\u211d\u2120\u2121\u2124-\u2138\u2160-\u217f\u2460-\u24ff"
    r"\u3200-\u33ff\uf900-\ufaff\ufb00-\ufb4f\ufb50-\ufdfb\ufe70-\ufefc\uff02-\uff0b\uff0d\uff0f-\uff19\uff1c-\uff1e"
    r"\uff20-\uff60\uff62-\uff9f\uffe0-\uffe6\U0001d400-\U0001d7ff]+"
)
"""Compatibility forms whose plain form is spoken the same. Superscripts and fractions are not: "x²" is no "x2"."""

_PLAIN = str.maketrans(
    {
        "“": '"', "”": '"', "„": '"', "‟": '"', "«": '"', "»": '"', "″": '"', "‹": "'", "›": "'",
        "‘": "'", "’": "'", "‚": "'", "‛": "'", "′": "'", "ʼ": "'", "＇": "'",
        "‐": "-", "‑": "-", "−": "-", "﹣": "-", "‒": "–", "―": "—", "⸺": "—", "⸻": "—",
        "…": "...", "⋯": "...", "‥": "..", "‼": "!", "⁇": "?", "⁈": "?!", "⁉": "!?", "‽": "?!", "•": " ",
    }
)  # fmt: skip
_EAST = {"zh", "ja", "ko", "yue"}
_EAST_TO_WEST = str.maketrans(
    {
        "。": ". ", "｡": ". ", "．": ". ", "，": ", ", "、": ", ", "！": "! ", "？": "? ", "；": "; ", "：": ": ",
        "「": ' "', "」": '" ', "『": ' "', "』": '" ', "〜": "~",
    }
)  # fmt: skip
_EAST_GAP = re.compile(r"(?<=[\u3001-\u30ff\u3400-\u9fff\uff01-\uff60]) (?=[\u3001-\u30ff\u3400-\u9fff\uff01-\uff60])")
"""Between two characters of scripts without spaces: a wrapped line."""
_DOTS = re.compile(r"\.{4,}|\.(?: \.){2,}")
_REPEATED = re.compile(r"([!?,;:—–-])\1+")
_CELL = re.compile(r" ?\|[| ]*")
_NOISE = re.compile(r"[\[\]{}<>\\^`*_~]+")
_LOOSE = re.compile(r" +(?=[.,;:!?]+(?: |$))")
_UNTIDY = re.compile(r"[^ -{}~]|[!?,;:.-]{2}| [.,;:!?]")
_EDGES = " ,;|"


def polish(span: str, language: str = "en") -> str:
    """One span of normalised text with plain punctuation, composed letters and single spaces.

    Args:
        span: Some text of :class:`Normalised`.
        language: ISO 639 code; decides whether East Asian punctuation stays.

    Returns:
        The text in NFC, possibly empty; its length may differ either way.
    """
    text = " ".join(span.split())
    if not _UNTIDY.search(text):
        return text.strip(_EDGES)
    if not text.isascii():
        text = _COMPAT.sub(lambda m: unicodedata.normalize("NFKC", m[0]), text).translate(_PLAIN)
        if language not in _EAST:
            text = text.translate(_EAST_TO_WEST)
        text = _EAST_GAP.sub("", unicodedata.normalize("NFC", text))
    text = _REPEATED.sub(_once, text)
    text = _DOTS.sub("...", text)
    if "|" in text:
        text = _CELL.sub(", ", text)
    return " ".join(_LOOSE.sub("", text).split()).strip(_EDGES)


def _once(match: re.Match[str]) -> str:
    """Repeated punctuation is one; two or three hyphens are a typewriter's dash."""
    return " — " if match[1] == "-" else match[1]


def tidy(spoken: str) -> str:
    """What is left of brackets and markup after the words were found is noise to every engine."""
    if not _NOISE.search(spoken):
        return " ".join(spoken.split()).strip(_EDGES)
    return _LOOSE.sub("", " ".join(_NOISE.sub(" ", spoken).split())).strip(_EDGES)
