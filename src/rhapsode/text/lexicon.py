"""A pronunciation dictionary: which words and phrases are spoken otherwise than they are written.

Case: a word in small letters fits however it is written in a text; one with a capital letter fits only so (``match_case`` decides
otherwise). Only whole words fit; where several do, the longest wins, and of two for the same word the later. What is found stands in
for a single private-use character until the text is ready to be spoken, so that nothing reads or cuts it on the way.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence

import msgspec

from rhapsode.errors import InvalidInput
from rhapsode.model import Pronunciation
from rhapsode.text.normalise import polish, tidy
from rhapsode.text.split import SPEAKABLE, code_of, is_east

MAX_ENTRIES = 20_000
"""Of the dictionary."""
MAX_JOB_ENTRIES = 200
"""Of one job."""
MAX_WORD, MAX_SAY = 80, 200
"""Characters."""

FOUND = "\uf000"
"""Stands for the first thing found in a text; the next character for the second, and so on."""
MOST_FOUND = 0xF8FF - 0xF000 + 1

_START = re.compile(r"(?<!\w)\w|[^\w\s]|[\u3001-\u9fff\uff00-\uffef]")
_IPA_NOISE = re.compile(r"[\[\]\x00-\x1f\x7f-\x9f\ud800-\udfff\ue000-\uf8ff]")
_PREFIX = 3
_decode = msgspec.json.Decoder(tuple[Pronunciation, ...])


def checked(entry: Pronunciation, where: str) -> Pronunciation:
    """The entry as it is stored.

    Args:
        entry: As somebody wrote it.
        where: What to call it in errors.

    Raises:
        InvalidInput: A part is missing, too long, or nothing can be spoken of it.
    """
    word = " ".join(entry.word.split())
    say = None if entry.say is None else " ".join(entry.say.split())
    ipa = None if entry.ipa is None else " ".join(entry.ipa.split())
    if not polish(word, "xx") or len(word) > MAX_WORD:
        raise InvalidInput(f"{where}: word must have 1 to {MAX_WORD} characters, not {len(word)}", where)
    for name, value in (("say", say), ("ipa", ipa)):
        if value is not None and len(value) > MAX_SAY:
            raise InvalidInput(f"{where}: {name} must have at most {MAX_SAY} characters, not {len(value)}", where)
    if not say and not ipa:
        raise InvalidInput(f"{where}: {word!r} needs say (a respelling) or ipa (phonemes)", where)
    if say and not SPEAKABLE.search(tidy(say)):
        raise InvalidInput(f"{where}: say {say[:60]!r} has nothing that can be spoken", where)
    if ipa and (_IPA_NOISE.search(ipa) or not SPEAKABLE.search(ipa)):
        raise InvalidInput(f"{where}: ipa {ipa[:60]!r} must be phonemes in IPA, without brackets", where)
    return Pronunciation(word, say or None, ipa or None, entry.language or None, entry.match_case)


def from_short(word: str, spoken: str) -> Pronunciation:
    """The entry that a short form means: a respelling, or phonemes between slashes. Not checked."""
    if len(spoken) > 2 and spoken.startswith("/") and spoken.endswith("/"):
        return Pronunciation(word, ipa=spoken[1:-1])
    return Pronunciation(word, spoken)


def dumps(entries: Sequence[Pronunciation]) -> str:
    """As stored; equal entries give equal text."""
    return msgspec.json.encode(entries).decode()


def loads(stored: str) -> tuple[Pronunciation, ...]:
    """What :func:`dumps` stored.

    Raises:
        ValueError: It is something else.
    """
    return _decode.decode(stored)


def merged(entries: Iterable[Pronunciation]) -> list[Pronunciation]:
    """Each word once (per language and rule of case), the later entry winning, sorted."""
    by_key = {(entry.word, entry.language or "", _exact(entry)): entry for entry in entries}
    return [by_key[key] for key in sorted(by_key)]


def _exact(entry: Pronunciation) -> bool:
    return entry.word != entry.word.lower() if entry.match_case is None else entry.match_case


class Lexicon:
    """Finds words in texts of one language. Linear in the text, whatever the entries are.

    Args:
        entries: Later ones win.
        code: Language of the texts, without a region.
    """

    def __init__(self, entries: Iterable[Pronunciation], code: str) -> None:
        self._exact: dict[str, Pronunciation] = {}
        self._folded: dict[str, Pronunciation] = {}
        lengths: dict[str, set[int]] = {}
        for entry in entries:
            if entry.language and code_of(entry.language) != code:
                continue
            word = polish(entry.word, code)
            if not word:
                continue
            if _exact(entry):
                self._exact[word] = entry
            else:
                self._folded[_lowered(word)] = entry
            lengths.setdefault(_lowered(word)[:_PREFIX], set()).add(len(word))
        self._lengths: Mapping[str, Sequence[int]] = {
            prefix: sorted(found, reverse=True) for prefix, found in lengths.items()
        }

    def __bool__(self) -> bool:
        return bool(self._lengths)

    def replaced(self, text: str, spoken: Callable[[Pronunciation], str | None]) -> tuple[str, list[str]]:
        """The text with a character of its own (from :data:`FOUND` on) for each word found, and what is spoken for each.

        Args:
            text: Polished.
            spoken: What is spoken for an entry; None leaves the word as it is written.
        """
        lowered = _lowered(text)
        parts: list[str] = []
        found: list[str] = []
        done = 0
        for match in _START.finditer(lowered):
            start = match.start()
            if start < done or len(found) == MOST_FOUND:
                continue
            hit = self._at(text, lowered, start)
            said = spoken(hit[1]) if hit else None
            if hit is None or said is None:
                continue
            parts += (text[done:start], chr(ord(FOUND) + len(found)))
            found.append(said)
            done = hit[0]
        return ("".join([*parts, text[done:]]), found) if found else (text, found)

    def _at(self, text: str, lowered: str, start: int) -> tuple[int, Pronunciation] | None:
        """The longest entry that fits at ``start``, and where it ends."""
        for size in range(_PREFIX, 0, -1):
            for length in self._lengths.get(lowered[start : start + size], ()):
                end = start + length
                if end > len(text) or (length < _PREFIX and length != size) or not _is_whole(text, start, end):
                    continue
                entry = self._exact.get(text[start:end]) or self._folded.get(lowered[start:end])
                if entry:
                    return end, entry
        return None


class Dictionary:
    """Entries for texts of several languages.

    Args:
        entries: Later ones win.
    """

    def __init__(self, entries: Iterable[Pronunciation] = ()) -> None:
        self._entries = tuple(entries)
        self._by_code: dict[str, Lexicon] = {}

    def of(self, code: str) -> Lexicon:
        """Those for one language (its code without a region)."""
        if code not in self._by_code:
            self._by_code[code] = Lexicon(self._entries, code)
        return self._by_code[code]


def _lowered(text: str) -> str:
    """In small letters, of the same length."""
    lowered = text.lower()
    if len(lowered) == len(text):
        return lowered
    return "".join(low if len(low := char.lower()) == 1 else char for char in text)


def _is_whole(text: str, start: int, end: int) -> bool:
    """Whether no word is cut at either end; in scripts without spaces there is nothing to cut."""
    return _is_border(text, start) and _is_border(text, end)


def _is_border(text: str, place: int) -> bool:
    if not 0 < place < len(text):
        return True
    before, behind = text[place - 1], text[place]
    return not (_is_letter(before) and _is_letter(behind)) or is_east(before) or is_east(behind)


_LETTER = re.compile(r"[\w\u0300-\u036f]")


def _is_letter(char: str) -> bool:
    return _LETTER.match(char) is not None


def as_rows(entries: Iterable[Pronunciation]) -> list[dict[str, str | bool]]:
    """Entries as plain values, without what is not said."""
    names = ("word", "say", "ipa", "language", "match_case")
    return [{name: value for name in names if (value := getattr(entry, name)) is not None} for entry in entries]
