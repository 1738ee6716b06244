"""XML from strangers: well-formed, bounded, without DTDs, entities or processing instructions; errors know their place."""

import re
from collections.abc import Callable, Mapping
from xml.parsers import expat

from rhapsode.errors import InvalidInput

MAX_DEPTH = 32
MAX_ELEMENTS = 200_000
MAX_TAG = 1_000
"""Characters of one tag or comment."""

_PIECE = 65_536
_TAG = re.compile(rb"</?[\w:.-]+(?:\s+[\w:.-]+\s*=\s*(?:\"[^\"<>]*\"|'[^'<>]*'))*\s*/?>")
_LONG_REFERENCE = re.compile(r"&#[^;]{12}")
_TRUE_WORDS: Mapping[str, str] = {
    "not well-formed (invalid token)": "something stands here that is no XML; write & as &amp; and < as &lt;",
    "mismatched tag": "this end tag does not fit the element that is open",
    "unclosed token": "a tag or comment is not closed",
    "no element found": "the document ends before all elements are closed",
    "syntax error": "this is no XML",
    "undefined entity": "there is no such entity; XML has &amp; &lt; &gt; &quot; &apos; and numbers such as &#233;",
    "junk after document element": "something follows the end of the document",
    "unbound prefix": "a name has a prefix that is not declared",
}


class XmlReader:
    """Walks through a document.

    Args:
        field: What to call it in errors: a field of a body, or a file.
        on_start: Called with name and attributes of each element.
        on_end: Called with the name at its end.
        on_text: Called with text.
    """

    def __init__(
        self,
        field: str,
        on_start: Callable[[str, Mapping[str, str]], None],
        on_end: Callable[[str], None],
        on_text: Callable[[str], None],
    ) -> None:
        self._field = field
        self._on_start = on_start
        self._on_end = on_end
        self._depth = 0
        self._elements = 0
        self._bytes = b""
        self._parser = parser = expat.ParserCreate("utf-8")
        parser.buffer_text = True
        parser.SetParamEntityParsing(expat.XML_PARAM_ENTITY_PARSING_NEVER)
        parser.StartElementHandler = self._start
        parser.EndElementHandler = self._end
        parser.CharacterDataHandler = on_text
        parser.CommentHandler = self._comment
        parser.StartDoctypeDeclHandler = self._doctype
        parser.ProcessingInstructionHandler = self._instruction
        parser.StartCdataSectionHandler = self._cdata

    def read(self, text: str) -> None:
        """Read a whole document.

        Raises:
            InvalidInput: It is not well-formed, or has what is not allowed; whatever the handlers raise.
        """
        if broken := re.search(r"[\ud800-\udfff]", text):
            raise self._error("a broken character (lone surrogate) stands here", text, broken.start())
        if long := _LONG_REFERENCE.search(text):
            raise self._error("a character reference is too long", text, long.start())
        self._bytes = text.encode()
        try:
            for start in range(0, len(self._bytes), _PIECE):
                self._parser.Parse(self._bytes[start : start + _PIECE], False)
            self._parser.Parse(b"", True)
        except expat.ExpatError as error:
            said = expat.ErrorString(error.code) or "it cannot be read"
            raise self.wrong(_TRUE_WORDS.get(said, said), (error.lineno, error.offset + 1)) from None

    @property
    def offset(self) -> int:
        """Where the parser stands, in bytes of UTF-8."""
        return self._parser.CurrentByteIndex

    @property
    def place(self) -> tuple[int, int]:
        """The same as line and column, counted from 1."""
        return self._parser.CurrentLineNumber, self._parser.CurrentColumnNumber + 1

    def wrong(self, message: str, place: tuple[int, int] | None = None) -> InvalidInput:
        """The error of something that stands at ``place``; None: here."""
        line, column = place or self.place
        return InvalidInput(
            f"{self._field}: line {line}, column {column}: {message}", self._field, place=(line, column)
        )

    def _error(self, message: str, text: str, offset: int) -> InvalidInput:
        line = text.count("\n", 0, offset) + 1
        return self.wrong(message, (line, offset - text.rfind("\n", 0, offset)))

    def _start(self, name: str, attributes: Mapping[str, str]) -> None:
        self._depth += 1
        self._elements += 1
        if self._depth > MAX_DEPTH:
            raise self.wrong(f"elements are nested deeper than {MAX_DEPTH}")
        if self._elements > MAX_ELEMENTS:
            raise self.wrong(f"there are more than {MAX_ELEMENTS:,} elements")
        self._check_tag(name)
        self._on_start(name, attributes)

    def _end(self, name: str) -> None:
        self._depth -= 1
        if self._bytes.startswith(b"</", self.offset):  # else the end of <name/>, which was looked at
            self._check_tag(name)
        self._on_end(name)

    def _check_tag(self, name: str) -> None:
        start = self.offset
        end = self._bytes.find(b">", start, start + MAX_TAG) + 1
        if not end:
            raise self.wrong(f"the tag of <{name[:60]}> is longer than {MAX_TAG:,} characters")
        if not _TAG.fullmatch(self._bytes, start, end):
            raise self.wrong(f"in the tag of <{name[:60]}> an attribute holds a >; write &gt;")

    def _comment(self, text: str) -> None:
        if len(text.encode()) > MAX_TAG:
            raise self.wrong(f"a comment is longer than {MAX_TAG:,} characters")

    def _doctype(self, *_: object) -> None:
        raise self.wrong("a document type (<!DOCTYPE) is not allowed, nor are entities of one's own")

    def _instruction(self, *_: object) -> None:
        raise self.wrong("processing instructions (<?…?>) are not allowed")

    def _cdata(self) -> None:
        raise self.wrong("CDATA sections are not allowed; write < as &lt; and & as &amp;")
