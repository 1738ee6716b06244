"""Text to plan: one window of text at a time, so that a 5 MB text and a short one can take turns.

The plan is a pure function of text and options: each call depends only on the window and on the cursor that the call
before it returned, and the caller always passes exactly ``text[cursor.offset : cursor.offset + WINDOW]``.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import chain, islice, pairwise

from rhapsode.model import Boundary, Segment
from rhapsode.text.normalise import DROPPED, Normalised, normalise, polish, tidy
from rhapsode.text.split import SPEAKABLE, cut, cut_at_clause, runs, sentences
from rhapsode.text.spoken import spoken_form

WINDOW = 8_192
"""Characters that one call gets: about 10 ms of work."""

_FIRST = 120
"""The first segment is the first sentence, cut at a clause when longer, so that sound starts early."""
_UNSPLIT = 4_000
"""Longest segment, in source characters, when splitting is off and the engine has no lower limit."""
_AHEAD = 256
"""A segment that ends this close to the end of a window may look different with what follows, and waits."""
_HELD = 64
"""Characters kept back where nothing is spoken: a tag or an emoji may be only half in the window."""
_UNITS, _UNITS_FIRST = 256, 24
"""Most sentences or pieces planned in one call; few in the first, which somebody waits for."""
_SHOWN = 60
_BROKEN = re.compile(r"[\ud800-\udfff]")
"""Lone surrogates cannot be stored or sent."""


@dataclass(frozen=True, slots=True)
class PlanOptions:
    """How to plan a text."""

    chunk_size: int
    """Most source characters in a segment."""
    max_chars: int
    """Most characters of ``Segment.spoken``: the engine's limit."""
    language: str
    """ISO 639 code, with or without a region."""
    split: bool = True
    """False: segments as long as the engine takes, across paragraphs."""
    tags: tuple[str, ...] = ()
    """Paralinguistic tags that the engine speaks, such as ``[sigh]``."""

    def __post_init__(self) -> None:
        if self.chunk_size < 1 or self.max_chars < 1:
            raise ValueError(f"chunk_size and max_chars must be at least 1, not {self.chunk_size} and {self.max_chars}")

    @property
    def limit(self) -> int:
        """Most source characters in a segment."""
        return self.chunk_size if self.split else min(self.max_chars, _UNSPLIT)

    @property
    def code(self) -> str:
        """The language without its region."""
        return re.split("[-_]", self.language, maxsplit=1)[0].lower()


@dataclass(frozen=True, slots=True)
class PlanCursor:
    """Where planning goes on. Small enough to be stored with every batch."""

    offset: int = 0
    """Of the next window in the text, in code points."""
    index: int = 0
    """Of the next segment."""
    width: int = 0
    """Longest line of the paragraph that ``offset`` lies inside of; 0 between paragraphs."""
    warned: tuple[str, ...] = ()
    """Kinds of dropped text that were reported before."""

    def dumps(self) -> str:
        """As stored in the ledger."""
        return json.dumps([self.offset, self.index, self.width, *self.warned], separators=(",", ":"))

    @classmethod
    def loads(cls, stored: str) -> "PlanCursor":
        """The cursor that :meth:`dumps` stored; ``""`` is the start.

        Raises:
            ValueError: Not a stored cursor.
        """
        if not stored:
            return cls()
        offset, index, width, *warned = json.loads(stored)
        return cls(int(offset), int(index), int(width), tuple(map(str, warned)))


@dataclass(frozen=True, slots=True)
class PlanBatch:
    """What one call found."""

    segments: tuple[Segment, ...]
    cursor: PlanCursor
    done: bool
    """The text ends here."""
    warnings: tuple[str, ...]
    """One sentence for each kind of text that was dropped and not reported by an earlier batch."""


@dataclass(frozen=True, slots=True)
class _Unit:
    """A sentence, or a piece of one, ready to be packed. Offsets are into the normalised text."""

    start: int
    end: int
    spoken: str
    boundary: Boundary
    inside: int
    """As :attr:`PlanCursor.width` when planning goes on here."""


def plan_batch(window: str, cursor: PlanCursor, final: bool, options: PlanOptions) -> PlanBatch:
    """Plan the next segments of a text.

    Args:
        window: ``text[cursor.offset : cursor.offset + WINDOW]``.
        cursor: Of the batch before; ``PlanCursor()`` at first.
        final: Whether the window reaches the end of the text.
        options: The same for all batches of a text.

    Returns:
        Segments, perhaps none, and a cursor that lies further on, so that calls until ``done`` always end.
    """
    source = normalise(window, options.tags)
    units = _units(source, cursor, options)
    taken = list(islice(units, _UNITS if cursor.index else _UNITS_FIRST))
    packs = _packed(source, taken, options, alone=cursor.index == 0)
    rest = next(units, None)
    done = final and rest is None
    count = len(packs) if done else _settled(source, packs, len(window), options.limit, rest)
    rest = packs[count][0] if count < len(packs) else rest
    if rest:
        following = source.start(rest.start)
    elif final:
        following = len(window)
    else:
        following = max(1, len(window) - _HELD, source.end(packs[-1][-1].end) if packs else 0)
    fresh = {k: example for k, (at, example) in source.dropped.items() if at < following and k not in cursor.warned}
    return PlanBatch(
        tuple(_segment(window, source, pack, cursor, i) for i, pack in enumerate(packs[:count])),
        PlanCursor(
            cursor.offset + following,
            cursor.index + count,
            rest.inside if rest else 0,
            (*cursor.warned, *sorted(fresh)),
        ),
        done,
        tuple(_warning(kind, fresh[kind]) for kind in sorted(fresh)),
    )


def plan(text: str, options: PlanOptions) -> Iterator[Segment]:
    """Plan a whole text, lazily: what :func:`plan_batch` gives, call after call."""
    cursor, done = PlanCursor(), False
    while not done:
        window = text[cursor.offset : cursor.offset + WINDOW]
        batch = plan_batch(window, cursor, cursor.offset + WINDOW >= len(text), options)
        yield from batch.segments
        cursor, done = batch.cursor, batch.done


def _settled(source: Normalised, packs: list[list[_Unit]], size: int, limit: int, rest: _Unit | None) -> int:
    """How many segments stay as they are whatever follows the window; at least one when the first starts the window."""
    count = sum(source.end(pack[-1].end) <= size - _AHEAD for pack in packs)
    if count and count == len(packs) and (rest or size - source.end(packs[-1][-1].end) <= limit):
        count -= 1  # the next sentence may belong to it
    stuck = bool(packs) and not count and source.start(packs[0][0].start) == 0
    return 1 if stuck else count


def _units(source: Normalised, cursor: PlanCursor, options: PlanOptions) -> Iterator[_Unit]:
    """Sentences and pieces of sentences, lazily; each can be spoken and keeps the limits by itself."""
    flat = source.text.replace("\n", " ")
    early = options.split and cursor.index == 0
    for run in runs(source.text, cursor.width):
        inside = run.inside
        ends = chain(sentences(flat[run.start : run.end], options.code), [None])
        for span, following in pairwise(ends):
            if span is None:
                break
            sentence = _Unit(
                run.start + span[0],
                run.start + span[1],
                "",
                Boundary.SENTENCE if following else run.boundary,
                inside,
            )
            for unit in _early(source, flat, sentence, options) if early else [sentence]:
                for piece in _pieces(source, flat, unit, options.limit, options):
                    early = False
                    inside = run.width
                    yield piece


def _early(source: Normalised, flat: str, sentence: _Unit, options: PlanOptions) -> list[_Unit]:
    """The first sentence in two when it is long and has a clause to stop at."""
    reach = source.reach(source.start(sentence.start) + min(_FIRST, options.limit))
    found = cut_at_clause(flat, sentence.start, reach, reach) if reach < sentence.end else None
    if not found:
        return [sentence]
    return [
        replace(sentence, end=found[0], boundary=found[1]),
        replace(sentence, start=_skip_spaces(flat, found[0], sentence.end), inside=sentence.inside or 1),
    ]


def _pieces(source: Normalised, flat: str, whole: _Unit, limit: int, options: PlanOptions) -> Iterator[_Unit]:
    """A sentence in as many pieces as the limits need, each spoken; those that cannot be spoken are left out."""
    start, inside = whole.start, whole.inside
    while start < whole.end:
        reach = max(start + 1, source.reach(source.start(start) + limit))
        place, boundary = (whole.end, whole.boundary) if reach >= whole.end else cut(flat, start, whole.end, reach)
        end = start + len(flat[start:place].rstrip(" "))
        spoken = _speak(flat[start:end], options)
        if len(spoken) > options.max_chars and end - start > 1:
            smaller = max(1, (end - start) * options.max_chars // len(spoken) * 9 // 10)
            yield from _pieces(source, flat, replace(whole, start=start, end=end, boundary=boundary), smaller, options)
        elif spoken:
            yield _Unit(start, end, spoken[: options.max_chars], boundary, inside)
        start = _skip_spaces(flat, place, whole.end)
        inside = inside or 1


def _skip_spaces(text: str, start: int, end: int) -> int:
    """The first place that is no space."""
    return end - len(text[start:end].lstrip(" "))


def _speak(text: str, options: PlanOptions) -> str:
    """What the engine gets for a piece of normalised text; empty when there is no letter or digit to speak."""
    if not SPEAKABLE.search(text):
        return ""
    tags = _tag_pattern(options.tags) if options.tags else None
    parts = tags.split(text) if tags else [text]
    said = [part if i % 2 else _say(part, options.code) for i, part in enumerate(parts)]
    spoken = " ".join(part for part in said if part)
    return spoken if SPEAKABLE.search(spoken) else ""


def _tag_pattern(tags: tuple[str, ...]) -> re.Pattern[str]:
    """The engine's tags, in a group of their own."""
    return re.compile(f"({'|'.join(map(re.escape, tags))})", re.IGNORECASE)


def _say(text: str, code: str) -> str:
    """Words for a piece of text without tags."""
    plain = polish(text, code)
    spoken = tidy(spoken_form(plain, code))
    return spoken if SPEAKABLE.search(spoken) else tidy(plain)


def _packed(source: Normalised, units: list[_Unit], options: PlanOptions, *, alone: bool) -> list[list[_Unit]]:
    """Whole sentences packed to segments: within a paragraph, or across paragraphs when splitting is off.

    Args:
        source: What the units are offsets into.
        units: In order.
        options: The limits.
        alone: Whether the first unit starts the text, and so stays alone when splitting is on.
    """
    joinable = {Boundary.SENTENCE} if options.split else {Boundary.SENTENCE, Boundary.PARAGRAPH, Boundary.HEADING}
    packs: list[list[_Unit]] = []
    spoken = 0
    for unit in units:
        pack = packs[-1] if packs else None
        if (
            pack
            and pack[-1].boundary in joinable
            and not (alone and options.split and len(packs) == 1)
            and spoken + 1 + len(unit.spoken) <= options.max_chars
            and source.end(unit.end) - source.start(pack[0].start) <= options.limit
        ):
            pack.append(unit)
            spoken += 1 + len(unit.spoken)
        else:
            packs.append([unit])
            spoken = len(unit.spoken)
    return packs


def _segment(window: str, source: Normalised, pack: list[_Unit], cursor: PlanCursor, nth: int) -> Segment:
    """The segment of some packed units."""
    start, end = source.start(pack[0].start), source.end(pack[-1].end)
    return Segment(
        index=cursor.index + nth,
        start=cursor.offset + start,
        end=cursor.offset + end,
        text=_BROKEN.sub("\ufffd", window[start:end]),
        spoken="\n".join(unit.spoken for unit in pack),
        boundary=pack[-1].boundary,
    )


def _warning(kind: str, example: str) -> str:
    """One sentence, ASCII only: it may travel in an HTTP header."""
    shown = example[:_SHOWN] if example.isascii() and example.isprintable() else f"U+{ord(example[0]):04X}"
    return f"not spoken: {DROPPED[kind]}, such as {shown}"
