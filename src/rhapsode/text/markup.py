"""Marks between the words: ``[pause 1s]``, ``[voice:name]``, ``[/voice]``. What SSML adds stands in :mod:`rhapsode.text.ssml`.

A submitted text is read once as a whole (:func:`read_script`), so that what is wrong with it is said at once. The planner then finds
the same marks window by window: each window is cut into stretches (:class:`Stretch`), which no mark interrupts.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from rhapsode.errors import InvalidInput
from rhapsode.model import Boundary, Markup

MAX_PAUSE_MS = 10_000
"""Of one mark, and of several in a row together."""
MAX_VOICES = 32
"""Different names that one text may call."""
MAX_MARKS = 100_000
"""In one text."""
MAX_NAME = 120
"""Characters of a name."""

_MARK = re.compile(
    r"\[ ?(?:(?P<pause>pause(?: ?: ?| )(?=[\d.,+-])(?P<length>[^\[\]\n]{1,30}))|voice ?:(?P<voice>[^\[\]\n]{0,120})|(?P<back>/ ?voice)) ?\]",
    re.IGNORECASE,
)
_LENGTH = re.compile(
    r"([0-9]{1,9}(?:\.[0-9]{1,9})?|\.[0-9]{1,9}) ?(ms|s|sec|secs|second|seconds|milliseconds?)", re.IGNORECASE
)
_SPACE = re.compile(r"\s*")
_BLANK_LINE = re.compile(r"\n[ \t\r]*\n")
_NEAR = 200
_SENTENCE_END = re.compile(r"[.!?…。！？:][\"'”’»)\]]*\s*\Z")


class Do(StrEnum):
    """What a mark does."""

    PAUSE = "pause"  # silence before what follows; value: milliseconds
    CALL = "call"  # another voice from here on, whatever was before; value: its name
    BACK = "back"  # the job's own voice
    VOICE = "voice"  # another voice until the matching POP; value: its name
    SPEED = "speed"  # another speed until the matching POP; value: the factor
    POP = "pop"
    BORDER = "border"  # value: the boundary


@dataclass(frozen=True, slots=True)
class Mark:
    """One mark."""

    do: Do
    value: int | float | str = ""


@dataclass(frozen=True, slots=True)
class Stretch:
    """Text that no mark interrupts, and the marks behind it."""

    end: int
    """Behind its last character."""
    behind: int
    """Behind the marks: where the next stretch begins."""
    marks: tuple[Mark, ...]
    """None at the end of the text, or of the window when ``whole`` is False."""
    whole: bool
    """False: only the window ends it."""


@dataclass(frozen=True, slots=True)
class Script:
    """What a whole text asks for."""

    markup: Markup
    voices: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    """Names it calls, each with line and column of its first place, counted from 1."""
    warnings: tuple[str, ...] = ()


def read_markers(text: str) -> Script:
    """Read the markers of a whole text. Linear, about 20 ms for 5 MB without any.

    Raises:
        InvalidInput: A marker is wrong; names its place.
    """
    voices: dict[str, tuple[int, int]] = {}
    for number, match in enumerate(_MARK.finditer(text)):
        if number == MAX_MARKS:
            raise InvalidInput(
                f"text: there are more than {MAX_MARKS:,} marks such as [pause 1s]; the next is at "
                f"{shown_place(text, match.start())}",
                "text",
                place=place_of(text, match.start()),
            )
        if match["pause"] is not None:
            _checked_pause(text, match)
        elif match["voice"] is not None:
            name = match["voice"].strip()
            if not name:
                raise InvalidInput(
                    f"text: {match[0]!r} at {shown_place(text, match.start())} names no voice; write [voice:NAME], or [/voice] "
                    "for the job's own",
                    "text",
                    place=place_of(text, match.start()),
                )
            if name not in voices:
                voices[name] = place_of(text, match.start())
                require_few(voices)
    return Script(Markup.MARKERS, voices)


def _checked_pause(text: str, match: re.Match[str]) -> None:
    length = parse_length(match["length"])
    if length is None or length > MAX_PAUSE_MS:
        wrong = "is no length of time" if length is None else "is too long"
        raise InvalidInput(
            f"text: {match[0]!r} at {shown_place(text, match.start())} {wrong}; write [pause 1.5s] or [pause 500ms], "
            f"at most {MAX_PAUSE_MS // 1000} s, or send input_type plain to have brackets read as text",
            "text",
            place=place_of(text, match.start()),
        )


def require_few(voices: Mapping[str, tuple[int, int]]) -> None:
    """Refuse a text that calls too many voices.

    Raises:
        InvalidInput: It does.
    """
    if len(voices) > MAX_VOICES:
        name, place = list(voices.items())[-1]
        raise InvalidInput(
            f"text: {name[:60]!r} at line {place[0]}, column {place[1]} is one voice more than the {MAX_VOICES} that one text may call",
            "text",
            place=place,
        )


def parse_length(written: str) -> int | None:
    """Milliseconds of a length of time such as "1.5s" or "500 ms"; None when it is none."""
    match = _LENGTH.fullmatch(written.strip())
    if match is None:
        return None
    return round(float(match[1]) * (1 if match[2].lower().startswith("m") else 1000))


def place_of(text: str, offset: int) -> tuple[int, int]:
    """Line and column of a character, counted from 1."""
    return text.count("\n", 0, offset) + 1, offset - text.rfind("\n", 0, offset)


def shown_place(text: str, offset: int) -> str:
    """The same in words."""
    line, column = place_of(text, offset)
    return f"line {line}, column {column}"


def next_stretch(window: str, start: int, final: bool) -> Stretch:
    """The stretch of a text with markers that begins at ``start``.

    Args:
        window: A part of the text.
        start: Where to begin.
        final: Whether the window reaches the end of the text.
    """
    found = _MARK.search(window, start)
    while found and (mark := _mark(found)) is None:
        found = _MARK.search(window, found.end())
    if found is None:
        return Stretch(len(window), len(window), (), final)
    marks: list[Mark] = []
    behind = found.start()
    following: re.Match[str] | None = found
    while following and (mark := _mark(following)):
        marks.append(mark)
        behind = following.end()
        following = _MARK.match(window, _past_space(window, behind))
    return Stretch(found.start(), behind, tuple(marks), True)


def _past_space(text: str, start: int) -> int:
    match = _SPACE.match(text, start)
    return match.end() if match else start


def _mark(match: re.Match[str]) -> Mark | None:
    """What a match does; None when it is no mark after all."""
    if match["pause"] is not None:
        length = parse_length(match["length"])
        return None if length is None or length > MAX_PAUSE_MS else Mark(Do.PAUSE, length)
    if match["back"] is not None:
        return Mark(Do.BACK)
    name = match["voice"].strip()
    return Mark(Do.CALL, name) if name else None


def ending(window: str, stretch: Stretch) -> tuple[Boundary, bool]:
    """What the marks behind a stretch make of its end, and whether the next one begins a line."""
    before, after = window[max(0, stretch.end - _NEAR) : stretch.end], window[stretch.behind : stretch.behind + _NEAR]
    gap = before[len(before.rstrip()) :], after[: len(after) - len(after.lstrip())]
    borders = [mark.value for mark in stretch.marks if mark.do is Do.BORDER]
    if Boundary.PARAGRAPH in borders or any(map(_BLANK_LINE.search, gap)):
        return Boundary.PARAGRAPH, True
    new_line = bool(borders) or any("\n" in part for part in gap)
    if new_line or _SENTENCE_END.search(before):
        return Boundary.SENTENCE, new_line
    return Boundary.CLAUSE, False


@dataclass(frozen=True, slots=True)
class Tone:
    """With what a stretch is spoken."""

    voice: str | None = None
    """Id; None: the job's own."""
    speed: float = 1.0


def applied(
    marks: Sequence[Mark], tones: tuple[Tone, ...], lead_ms: int | None, voices: Mapping[str, str | None]
) -> tuple[tuple[Tone, ...], int | None]:
    """The tones, innermost last, and the silence before what follows, after some marks.

    Args:
        marks: In order.
        tones: Before them; ``()`` is the job's own.
        lead_ms: Before them.
        voices: Id by name; one that is missing is the job's own voice.
    """
    for mark in marks:
        top = tones[-1] if tones else Tone()
        match mark.do:
            case Do.PAUSE:
                lead_ms = min((lead_ms or 0) + int(mark.value), MAX_PAUSE_MS)
            case Do.CALL:
                tones = (Tone(voices.get(str(mark.value))),)
            case Do.BACK:
                tones = ()
            case Do.VOICE:
                tones = (*tones, Tone(voices.get(str(mark.value)), top.speed))
            case Do.SPEED:
                tones = (*tones, Tone(top.voice, top.speed * float(mark.value)))
            case Do.POP:
                tones = tones[:-1]
            case Do.BORDER:
                pass
    return tones, lead_ms
