"""What the engine gets for a piece of text: numbers in words where it needs that, words as the dictionary has them, SSML's elements."""

import re
from collections.abc import Mapping, Sequence

from rhapsode.model import Pronunciation
from rhapsode.text.lexicon import FOUND, Lexicon
from rhapsode.text.normalise import polish, tidy
from rhapsode.text.numbers import knows_numbers, numbers_in_words
from rhapsode.text.say_as import KINDS, say_as
from rhapsode.text.split import SPEAKABLE, code_of
from rhapsode.text.spoken import spoken_form
from rhapsode.text.ssml import ATOM, Atom

NOTES: Mapping[str, str] = {
    "ipa": "phonemes in IPA are not for this engine; spoken as written or respelled",
    "say-as": "say-as does not fit what it holds; read like any text",
    "long": "longer than one segment of this engine; spoken as written",
}
"""Kinds of what was asked for and not heeded, and how the warning calls them."""

_STANDS_FOR = re.compile("[\ue000-\uf8ff]")


class Speaker:
    """Speaks pieces of one stretch of text.

    Args:
        language: BCP 47 tag.
        tags: Paralinguistic tags that the engine speaks.
        reads_numbers: The engine needs no help with numbers.
        reads_digits: It needs help with them in English alone.
        takes_ipa: The engine takes phonemes.
        max_chars: Most characters of one piece.
        lexicon: Words that are spoken otherwise.
        atoms: What the characters from :data:`rhapsode.text.ssml.ATOM` on stand for.
    """

    def __init__(
        self,
        *,
        language: str,
        tags: Sequence[str],
        reads_numbers: bool,
        reads_digits: bool,
        takes_ipa: bool,
        max_chars: int,
        lexicon: Lexicon,
        atoms: Sequence[Atom],
    ) -> None:
        self.notes: dict[str, str] = {}
        """Kinds of :data:`NOTES` that came up, each with an example."""
        self._language = language
        self._code = code_of(language)
        self._tags = re.compile(f"({'|'.join(map(re.escape, tags))})", re.IGNORECASE) if tags else None
        self._reads_numbers = reads_numbers
        self._writes_numbers = not reads_digits and knows_numbers(self._code)
        self._takes_ipa = takes_ipa
        self._max_chars = max_chars
        self._lexicon = lexicon
        self._atoms = atoms

    def speak(self, text: str) -> str:
        """What the engine gets for a piece of normalised text; empty when there is nothing to speak."""
        if not SPEAKABLE.search(text):
            return ""
        parts = self._tags.split(text) if self._tags else [text]
        said = [part if i % 2 else self._say(part) for i, part in enumerate(parts)]
        spoken = " ".join(part for part in said if part)
        return spoken if SPEAKABLE.search(spoken) else ""

    def _say(self, text: str) -> str:
        """Words for a piece of text without tags."""
        plain = polish(text, self._code)
        found: Sequence[str] = ()
        if self._lexicon:
            plain, found = self._lexicon.replaced(plain, self._pronounced)
        spoken = self._read(plain)
        if not found and not self._atoms:
            return spoken
        return _STANDS_FOR.sub(lambda match: self._expanded(match[0], found), spoken)

    def _read(self, plain: str) -> str:
        if self._reads_numbers:
            return tidy(plain)
        if self._writes_numbers:
            plain = numbers_in_words(plain, self._code)
        spoken = tidy(spoken_form(plain, self._language))
        return spoken if SPEAKABLE.search(spoken) else tidy(plain)

    def _expanded(self, char: str, found: Sequence[str]) -> str:
        if char >= FOUND:
            return found[ord(char) - ord(FOUND)]
        return self._element(self._atoms[ord(char) - ord(ATOM)])

    def _pronounced(self, entry: Pronunciation) -> str | None:
        if entry.ipa and self._takes_ipa:
            said = f"[[{entry.ipa}]]"
        else:
            if entry.ipa:
                self.notes.setdefault("ipa", entry.word)
            if not entry.say:
                return None
            said = tidy(entry.say)
        return self._fitting(said, entry.word)

    def _fitting(self, said: str, written: str) -> str | None:
        """What is said, unless no segment can hold it."""
        if len(said) <= self._max_chars:
            return said
        self.notes.setdefault("long", written)
        return None

    def _element(self, atom: Atom) -> str:
        written = polish(atom.written, self._code)
        said: str | None = None
        if atom.kind == "sub":
            said = self._read(polish(atom.attributes.get("alias", ""), self._code))
        elif atom.kind == "phoneme":
            if self._takes_ipa:
                said = f"[[{' '.join(atom.attributes.get('ph', '').split())}]]"
            else:
                self.notes.setdefault("ipa", atom.written)
        else:
            kind, order = atom.attributes.get("interpret-as", ""), atom.attributes.get("format", "")
            said = say_as(kind, order, atom.written, self._language)
            if said is None and KINDS.get(kind) != "text":
                self.notes.setdefault("say-as", atom.written)
        said = self._fitting(said, atom.written) if said and SPEAKABLE.search(said) else None
        if said is None:
            said = self._read(written)
        return said if len(said) <= self._max_chars else written[: self._max_chars]
