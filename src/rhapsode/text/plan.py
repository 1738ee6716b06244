"""Text to plan: one window of text at a time, so that a 5 MB text and a short one can take turns.

The plan is a pure function of text and options: each call depends only on the window and on the cursor that the call
before it returned, and the caller always passes exactly ``text[cursor.offset : cursor.offset + WINDOW]``.
"""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import chain, pairwise

from rhapsode.model import Boundary, Markup, Segment
from rhapsode.text.lexicon import Dictionary
from rhapsode.text.markup import Stretch, Tone, applied, ending, next_stretch
from rhapsode.text.normalise import DROPPED, Normalised, normalise
from rhapsode.text.speaker import NOTES, Speaker
from rhapsode.text.split import code_of, cut, cut_at_clause, runs, sentences
from rhapsode.text.ssml import Unmarked, next_ssml_stretch, unmark

WINDOW = 4_096
"""Characters that one call gets: about 10 ms of work."""

_FIRST = 120
"""The first segment is the first sentence, cut at a clause when longer, so that sound starts early."""
_UNSPLIT = 2_000
"""Longest segment, in source characters, when splitting is off and the engine has no lower limit."""
_AHEAD = 256
"""A segment that ends this close to the end of a window may look different with what follows, and waits."""
_HELD = 256
"""Characters kept back where nothing is spoken: a tag, a marker or an emoji may be only half in the window."""
_SHORT = 512
"""Less than this left of a window is planned with the next one."""
_EFFORT, _EFFORT_FIRST = 8_000, 1_500
"""Most work in one call, counted in characters to speak; less in the first, which somebody waits for."""
_UNIT = 40
"""What a sentence costs beside its characters."""
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
    tags: tuple[str, ...] | None = ()
    """Paralinguistic tags that the engine speaks, such as ``[sigh]``; others are dropped. None: brackets are text."""
    markup: Markup = Markup.PLAIN
    voices: Mapping[str, str | None] = field(default_factory=dict)
    """Voices by the name that the text calls them; None: the job's own."""
    languages: Mapping[str, str] = field(default_factory=dict)
    """Languages of those voices."""
    reads_numbers: bool = False
    """The engine reads numbers, dates and abbreviations by itself."""
    reads_digits: bool = True
    """It can read digits, in languages that have no rules here."""
    takes_ipa: bool = False
    """The engine takes phonemes in IPA, between ``[[`` and ``]]``."""

    def __post_init__(self) -> None:
        if self.chunk_size < 1 or self.max_chars < 1:
            raise ValueError(f"chunk_size and max_chars must be at least 1, not {self.chunk_size} and {self.max_chars}")

    @property
    def limit(self) -> int:
        """Most source characters in a segment."""
        return self.chunk_size if self.split else min(self.max_chars, _UNSPLIT)


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
    tones: tuple[Tone, ...] = ()
    """With what it is spoken from here on, innermost last; ``()`` as the job says."""
    lead_ms: int | None = None
    """Silence that is asked for before the next segment."""

    def dumps(self) -> str:
        """As stored in the ledger."""
        tones = [[tone.voice, tone.speed] for tone in self.tones]
        marks = [[self.lead_ms, *tones]] if tones or self.lead_ms is not None else []
        return json.dumps([self.offset, self.index, self.width, *self.warned, *marks], separators=(",", ":"))

    @classmethod
    def loads(cls, stored: str) -> "PlanCursor":
        """The cursor that :meth:`dumps` stored; ``""`` is the start.

        Raises:
            ValueError: Not a stored cursor.
        """
        if not stored:
            return cls()
        offset, index, width, *warned = json.loads(stored)
        lead_ms, *tones = warned.pop() if warned and isinstance(warned[-1], list) else (None,)
        return cls(
            int(offset),
            int(index),
            int(width),
            tuple(map(str, warned)),
            tuple(Tone(voice, float(speed)) for voice, speed in tones),
            lead_ms,
        )


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


@dataclass(frozen=True, slots=True)
class _Part:
    """What was planned of a stretch."""

    segments: tuple[Segment, ...]
    following: int
    """Where planning goes on, in the text of the stretch."""
    width: int
    warned: Mapping[str, str]
    """Kinds that were not reported before, with an example of each."""
    done: bool
    effort: int


NO_DICTIONARY = Dictionary()


def plan_batch(
    window: str, cursor: PlanCursor, final: bool, options: PlanOptions, dictionary: Dictionary = NO_DICTIONARY
) -> PlanBatch:
    """Plan the next segments of a text.

    Args:
        window: ``text[cursor.offset : cursor.offset + WINDOW]``.
        cursor: Of the batch before; ``PlanCursor()`` at first.
        final: Whether the window reaches the end of the text.
        options: The same for all batches of a text.
        dictionary: The same for all batches of a text.

    Returns:
        Segments, perhaps none, and a cursor that lies further on, so that calls until ``done`` always end.
    """
    effort = _EFFORT if cursor.index else _EFFORT_FIRST
    begun, at = cursor.offset, 0
    segments: list[Segment] = []
    warnings: dict[str, str] = {}
    done = False
    while not done and effort > 0 and (final or not at or len(window) - at >= _SHORT):
        stretch = _next_stretch(window, at, final, options.markup)
        behind, begins_line = ending(window, stretch) if stretch.marks else (None, False)
        unmarked = unmark(window, at, stretch.end) if options.markup is Markup.SSML else None
        text = unmarked.text if unmarked else window[at : stretch.end]
        part = _plan_stretch(
            text, replace(cursor, offset=0), stretch.whole, behind, options, effort, dictionary, unmarked
        )
        segments += [_placed(segment, begun + at, begun, unmarked) for segment in part.segments]
        warnings |= part.warned
        effort -= part.effort
        cursor = replace(
            cursor,
            index=cursor.index + len(part.segments),
            width=part.width,
            warned=(*cursor.warned, *sorted(part.warned)),
            lead_ms=None if part.segments else cursor.lead_ms,
        )
        if not part.done:
            at = max(at + 1, unmarked.start(part.following) if unmarked else at + part.following)
            break
        at, done = stretch.behind, not stretch.marks
        if stretch.marks:
            tones, lead_ms = applied(stretch.marks, cursor.tones, cursor.lead_ms, options.voices)
            cursor = replace(cursor, tones=tones, lead_ms=lead_ms, width=0 if begins_line else 1)
    return PlanBatch(
        tuple(segments),
        replace(cursor, offset=begun + at),
        done,
        tuple(_warning(kind, warnings[kind]) for kind in sorted(warnings)),
    )


def _next_stretch(window: str, start: int, final: bool, markup: Markup) -> Stretch:
    if markup is Markup.SSML:
        return next_ssml_stretch(window, start, final)
    return (
        next_stretch(window, start, final) if markup is Markup.MARKERS else Stretch(len(window), len(window), (), final)
    )


def _placed(segment: Segment, offset: int, begun: int, unmarked: Unmarked | None) -> Segment:
    """The segment of a stretch with its place in the whole text."""
    start, end = segment.start, segment.end
    if unmarked is None:
        return replace(segment, start=offset + start, end=offset + end)
    shown = _BROKEN.sub("\ufffd", unmarked.shown(start, end))
    return replace(segment, start=begun + unmarked.start(start), end=begun + unmarked.end(end), text=shown)


def _plan_stretch(
    text: str,
    cursor: PlanCursor,
    final: bool,
    behind: Boundary | None,
    options: PlanOptions,
    effort: int,
    dictionary: Dictionary,
    unmarked: Unmarked | None,
) -> _Part:
    """Plan the next segments of a stretch.

    Args:
        text: From where planning goes on to the end of the stretch, or of the window.
        cursor: Of the stretch, its offset that of ``text``.
        final: Whether ``text`` reaches the end of the stretch.
        behind: What the marks behind the stretch make of its end; None at the end of the text.
        options: Of the whole text.
        effort: How much may be done.
        dictionary: Of the whole text.
        unmarked: Where ``text`` comes from when that is SSML.
    """
    source = normalise(text, options.tags, keep_private=unmarked is not None)
    scope = _Scope.of(source, options, cursor.tones, dictionary, unmarked)
    units = _units(scope, cursor)
    taken = _affordable(units, effort)
    packs = _packed(source, taken, options, alone=cursor.index == 0)
    rest = next(units, None)
    done = final and rest is None
    count = len(packs) if done else _settled(source, packs, len(text), options.limit, rest)
    rest = packs[count][0] if count < len(packs) else rest
    if rest:
        following = source.start(rest.start)
    elif final:
        following = len(text)
    else:
        following = max(1, len(text) - _HELD, source.end(packs[-1][-1].end) if packs else 0)
    if done and packs and behind and packs[-1][-1].boundary in (Boundary.SENTENCE, Boundary.PARAGRAPH):
        packs[-1][-1] = replace(packs[-1][-1], boundary=behind)
    dropped = {kind: example for kind, (at, example) in source.dropped.items() if at < following}
    fresh = {kind: example for kind, example in (dropped | scope.speaker.notes).items() if kind not in cursor.warned}
    return _Part(
        tuple(_segment(text, source, pack, cursor, i) for i, pack in enumerate(packs[:count])),
        following,
        rest.inside if rest else 0,
        fresh,
        done,
        _UNIT + sum(_UNIT + len(unit.spoken) for unit in taken),
    )


def plan(text: str, options: PlanOptions, dictionary: Dictionary = NO_DICTIONARY) -> Iterator[Segment]:
    """Plan a whole text, lazily: what :func:`plan_batch` gives, call after call."""
    cursor, done = PlanCursor(), False
    while not done:
        window = text[cursor.offset : cursor.offset + WINDOW]
        batch = plan_batch(window, cursor, cursor.offset + WINDOW >= len(text), options, dictionary)
        yield from batch.segments
        cursor, done = batch.cursor, batch.done


def _settled(source: Normalised, packs: list[list[_Unit]], size: int, limit: int, rest: _Unit | None) -> int:
    """How many segments stay as they are whatever follows the window; at least one when the first starts the window."""
    count = sum(source.end(pack[-1].end) <= size - _AHEAD for pack in packs)
    if count and count == len(packs) and (rest or size - source.end(packs[-1][-1].end) <= limit):
        count -= 1  # the next sentence may belong to it
    stuck = bool(packs) and not count and source.start(packs[0][0].start) == 0
    return 1 if stuck else count


@dataclass(frozen=True, slots=True)
class _Scope:
    """What every step of a batch needs to know."""

    source: Normalised
    flat: str
    """The normalised text with spaces for newlines."""
    options: PlanOptions
    code: str
    """The language without its region."""
    speaker: Speaker

    @classmethod
    def of(
        cls,
        source: Normalised,
        options: PlanOptions,
        tones: tuple[Tone, ...],
        dictionary: Dictionary,
        unmarked: Unmarked | None,
    ) -> "_Scope":
        voice = tones[-1].voice if tones else None
        language = options.languages.get(voice, options.language) if voice else options.language
        code = code_of(language)
        speaker = Speaker(
            language=language,
            tags=options.tags or (),
            reads_numbers=options.reads_numbers,
            reads_digits=options.reads_digits,
            takes_ipa=options.takes_ipa,
            max_chars=options.max_chars,
            lexicon=dictionary.of(code),
            atoms=unmarked.atoms if unmarked else (),
        )
        return cls(source, source.text.replace("\n", " "), options, code, speaker)

    def reach(self, start: int, limit: int) -> int:
        """Where a piece from ``start`` ends at the latest to be at most ``limit`` source characters long."""
        return max(start + 1, self.source.reach(self.source.start(start) + limit))


def _affordable(units: Iterator[_Unit], effort: int) -> list[_Unit]:
    """The first units, as many as one call should plan; at least one."""
    taken: list[_Unit] = []
    for unit in units:
        taken.append(unit)
        effort -= _UNIT + len(unit.spoken)
        if effort <= 0:
            break
    return taken


def _units(scope: _Scope, cursor: PlanCursor) -> Iterator[_Unit]:
    """Sentences and pieces of sentences, lazily; each can be spoken and keeps the limits by itself."""
    limit = scope.options.limit
    early = scope.options.split and cursor.index == 0
    for run in runs(scope.source.text, cursor.width):
        inside = run.inside
        spans = chain(sentences(scope.flat[run.start : run.end], scope.code), [None])
        for span, following in pairwise(spans):
            if span is None:
                break
            boundary = Boundary.SENTENCE if following else run.boundary
            sentence = _Unit(run.start + span[0], run.start + span[1], "", boundary, inside)
            for unit in _early(scope, sentence) if early else [sentence]:
                for piece in _pieces(scope, unit, limit):
                    early = False
                    inside = run.width
                    yield piece


def _early(scope: _Scope, sentence: _Unit) -> list[_Unit]:
    """The first sentence in two when it is long and has a clause to stop at."""
    reach = scope.reach(sentence.start, min(_FIRST, scope.options.limit))
    found = cut_at_clause(scope.flat, sentence.start, reach, reach) if reach < sentence.end else None
    if not found:
        return [sentence]
    place, boundary = found
    rest = _skip_spaces(scope.flat, place, sentence.end)
    return [replace(sentence, end=place, boundary=boundary), replace(sentence, start=rest, inside=sentence.inside or 1)]


def _pieces(scope: _Scope, whole: _Unit, limit: int) -> Iterator[_Unit]:
    """A sentence in as many pieces as the limits need, each spoken; those that cannot be spoken are left out."""
    start, inside, most = whole.start, whole.inside, scope.options.max_chars
    while start < whole.end:
        reach = scope.reach(start, limit)
        place, boundary = (
            (whole.end, whole.boundary) if reach >= whole.end else cut(scope.flat, start, whole.end, reach)
        )
        end = start + len(scope.flat[start:place].rstrip(" "))
        spoken = scope.speaker.speak(scope.flat[start:end])
        if len(spoken) > most and end - start > 1:
            smaller = max(1, (end - start) * most // len(spoken) * 9 // 10)
            yield from _pieces(scope, _Unit(start, end, "", boundary, inside), smaller)
        elif spoken:
            yield _Unit(start, end, spoken[:most], boundary, inside)
        start = _skip_spaces(scope.flat, place, whole.end)
        inside = inside or 1


def _skip_spaces(text: str, start: int, end: int) -> int:
    """The first place that is no space."""
    return end - len(text[start:end].lstrip(" "))


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
    tone = cursor.tones[-1] if cursor.tones else Tone()
    return Segment(
        index=cursor.index + nth,
        start=cursor.offset + start,
        end=cursor.offset + end,
        text=_BROKEN.sub("\ufffd", window[start:end]),
        spoken="\n".join(unit.spoken for unit in pack),
        boundary=pack[-1].boundary,
        voice=tone.voice,
        lead_ms=cursor.lead_ms if nth == 0 else None,
        speed=tone.speed,
    )


def _warning(kind: str, example: str) -> str:
    """One sentence, ASCII only: it may travel in an HTTP header."""
    shown = example[:_SHOWN] if example.isascii() and example.isprintable() else f"U+{ord(example[0]):04X}"
    return f"{NOTES[kind]}, such as {shown}" if kind in NOTES else f"not spoken: {DROPPED[kind]}, such as {shown}"
