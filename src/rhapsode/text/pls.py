"""Dictionaries in the W3C's Pronunciation Lexicon Specification (PLS 1.0).

Of each lexeme: its graphemes, and its alias or its preferred (else first) phoneme in IPA. What is in another alphabet is passed over and
said.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from rhapsode.errors import InvalidInput
from rhapsode.model import Pronunciation
from rhapsode.text.lexicon import MAX_ENTRIES, checked
from rhapsode.text.xml_reader import XmlReader

_COLLECTED = frozenset({"grapheme", "phoneme", "alias"})
_IPA = frozenset({"ipa", ""})
_IGNORED = frozenset({"meta", "metadata", "example"})


@dataclass(slots=True)
class _Lexeme:
    language: str | None
    place: tuple[int, int]
    graphemes: list[str] = field(default_factory=list)
    phonemes: list[tuple[bool, str]] = field(default_factory=list)
    """Whether it is preferred, and itself."""
    aliases: list[str] = field(default_factory=list)


class _Pls:
    """Collects the lexemes of one document."""

    def __init__(self, name: str) -> None:
        self.entries: list[Pronunciation] = []
        self.skipped = 0
        self._reader = XmlReader(name, self._start, self._end, self._text)
        self._name = name
        self._language: str | None = None
        self._alphabet = ""
        self._lexeme: _Lexeme | None = None
        self._kind: tuple[str, Mapping[str, str]] | None = None
        self._said = ""
        self._root = False
        self._ignoring = 0

    def read(self, document: str) -> None:
        self._reader.read(document)

    def _start(self, name: str, attributes: Mapping[str, str]) -> None:
        local = name.rpartition(":")[2]
        if not self._root:
            if local != "lexicon":
                raise self._reader.wrong(f"a pronunciation lexicon begins with <lexicon>, not <{name[:40]}>")
            self._root = True
            self._language = attributes.get("xml:lang")
            self._alphabet = attributes.get("alphabet", "").lower()
        elif self._ignoring or local in _IGNORED:
            self._ignoring += 1
        elif local == "lexeme":
            self._lexeme = _Lexeme(attributes.get("xml:lang", self._language), self._reader.place)
        elif local in _COLLECTED and self._lexeme is not None:
            self._kind, self._said = (local, attributes), ""
        else:
            raise self._reader.wrong(f"<{name[:40]}> does not belong here")

    def _text(self, text: str) -> None:
        if self._kind:
            self._said += text

    def _end(self, name: str) -> None:
        local = name.rpartition(":")[2]
        if self._ignoring:
            self._ignoring -= 1
        elif local == "lexeme" and self._lexeme:
            self._finish(self._lexeme)
            self._lexeme = None
        elif self._kind and self._lexeme:
            kind, attributes = self._kind
            self._kind = None
            said = " ".join(self._said.split())
            if kind == "grapheme":
                self._lexeme.graphemes.append(said)
            elif kind == "alias":
                self._lexeme.aliases.append(said)
            elif attributes.get("alphabet", self._alphabet).lower() in _IPA:
                self._lexeme.phonemes.append((attributes.get("prefer") == "true", said))

    def _finish(self, lexeme: _Lexeme) -> None:
        line, column = lexeme.place
        if not lexeme.graphemes:
            raise self._reader.wrong("this <lexeme> has no <grapheme>", lexeme.place)
        ipa = next((said for preferred, said in lexeme.phonemes if preferred), None)
        ipa = ipa or next((said for _, said in lexeme.phonemes), None)
        say = lexeme.aliases[0] if lexeme.aliases else None
        if not ipa and not say:
            self.skipped += len(lexeme.graphemes)
            return
        for grapheme in lexeme.graphemes:
            entry = Pronunciation(grapheme, say, ipa, lexeme.language)
            try:
                self.entries.append(checked(entry, self._name))
            except InvalidInput as error:
                told = str(error).removeprefix(f"{self._name}: ")
                raise self._reader.wrong(told, lexeme.place) from None
        if len(self.entries) > MAX_ENTRIES:
            raise InvalidInput(
                f"{self._name}: line {line}, column {column}: there are more than {MAX_ENTRIES:,} words",
                self._name,
                place=lexeme.place,
            )


def read_pls(document: str, name: str) -> tuple[Sequence[Pronunciation], Sequence[str]]:
    """The entries of a document.

    Args:
        document: The XML.
        name: What to call it in errors.

    Returns:
        Entries in order, and what was passed over, in sentences.

    Raises:
        InvalidInput: It is no such document; names line and column.
    """
    found = _Pls(name)
    found.read(document)
    told = (
        [f"{found.skipped} words have neither an alias nor phonemes in IPA and were passed over"]
        if found.skipped
        else []
    )
    return found.entries, told
