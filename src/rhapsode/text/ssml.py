"""A safe subset of SSML: ``break``, ``p``, ``s``, ``sub``, ``say-as``, ``phoneme``, ``prosody rate``, ``voice name``.

A document is read once as a whole when it is submitted (:func:`read_ssml`), by a real XML parser, which tells what is wrong with it and
where. What passed is planned window by window: there tags, references and comments are found by a pattern, as every one of them is
bounded. In the text that is planned, an element that is spoken otherwise than it is written stands as one private-use character.
"""

import html
import re
from bisect import bisect_right
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from rhapsode.model import Boundary, Markup
from rhapsode.text.markup import (
    MAX_NAME,
    MAX_PAUSE_MS,
    Do,
    Mark,
    Script,
    Stretch,
    parse_length,
    require_few,
)
from rhapsode.text.say_as import KINDS
from rhapsode.text.xml_reader import MAX_TAG, XmlReader

MIN_RATE, MAX_RATE = 0.25, 4.0
MAX_ALIAS = 200
"""Characters of an alias, of phonemes, and of what they stand for."""
MAX_INNER = 2_000
"""Bytes of a sub, say-as or phoneme element with its tags."""
ATOM = "\ue000"
"""Stands for the first element of a stretch that is spoken otherwise; the next character for the second."""

_ATOMS = frozenset({"sub", "say-as", "phoneme"})
_KNOWN: Mapping[str, str] = {
    "speak": "", "p": "", "s": "", "break": "", "sub": "alias", "say-as": "interpret-as", "phoneme": "ph", "prosody": "", "voice": "name",
    "lang": "", "emphasis": "", "mark": "",
}  # fmt: skip
"""Elements that may be used, each with the attribute that it needs."""
_UNHEEDED = frozenset({"lang", "emphasis", "mark"})
_STRENGTHS: Mapping[str, int] = {"none": 0, "x-weak": 100, "weak": 250, "medium": 500, "strong": 1_000, "x-strong": 1_500}  # fmt: skip
_RATES: Mapping[str, float] = {"x-slow": 0.5, "slow": 0.75, "medium": 1.0, "default": 1.0, "fast": 1.25, "x-fast": 1.5}
_PERCENT = re.compile(r"([+-]?)(\d{1,4}(?:\.\d{1,4})?)%")
_FACTOR = re.compile(r"\d{1,3}(?:\.\d{1,4})?")

_TOKEN = re.compile(
    rf"<!--.{{0,{MAX_TAG}}}?-->|<\?[^<>]{{0,{MAX_TAG}}}\?>|<(?P<close>/?)(?P<name>[a-z-]{{1,10}})(?P<rest>(?:\s[^<>]{{0,{MAX_TAG}}}?)?)(?P<empty>/?)>"
    r"|&(?P<entity>#?\w{1,12};)",
    re.DOTALL,
)
_ATTRIBUTE = re.compile(r"([\w:.-]+)\s*=\s*(?:\"([^\"]*)\"|'([^']*)')")
_MAYBE_TOKEN = re.compile(r"<|&(?=#?\w{0,12}\Z)")
_PRIVATE = re.compile(r"[\ue000-\uf8ff]")
_BREAKS_LINE = frozenset({"p", "s"})


def is_ssml(text: str) -> bool:
    """Whether a text looks like an SSML document."""
    return re.match(r"\ufeff?\s*(?:<\?xml[\s?]|<speak[\s/>])", text) is not None


def parse_rate(written: str) -> float | None:
    """The factor of a rate: "slow", "80%", "+20%", "1.2"; None when it is none."""
    written = written.strip().lower()
    if written in _RATES:
        return _RATES[written]
    if match := _PERCENT.fullmatch(written):
        value = float(match[2]) / 100
        return value if not match[1] else 1 + value if match[1] == "+" else 1 - value
    return float(written) if _FACTOR.fullmatch(written) else None


# --- the whole document ------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Reading:
    """Checks one document."""

    voices: dict[str, tuple[int, int]] = field(default_factory=dict)
    warnings: dict[str, None] = field(default_factory=dict)
    inside: str | None = None
    """The sub, say-as or phoneme that is open."""
    begun: int = 0
    text: str = ""
    seen: bool = False

    def read(self, document: str) -> None:
        self._reader = XmlReader("text", self._start, self._end, self._text)
        self._reader.read(document)

    _reader: XmlReader = field(init=False)

    def _start(self, name: str, attributes: Mapping[str, str]) -> None:
        wrong = self._reader.wrong
        if name not in _KNOWN:
            raise wrong(f"<{name[:40]}> is not known here; there are {', '.join(_KNOWN)}")
        if (name == "speak") == self.seen:
            raise wrong("an SSML document is one <speak> element" if self.seen else "SSML begins with <speak>")
        self.seen = True
        if self.inside:
            raise wrong(f"<{self.inside}> holds text alone, not <{name}>")
        needed = _KNOWN[name]
        if needed and not attributes.get(needed, "").strip():
            raise wrong(f"<{name}> needs the attribute {needed}")
        if name in _UNHEEDED:
            self.warnings[f"<{name}> is not heeded; what it holds is spoken"] = None
        if name in _ATOMS:
            self.inside, self.begun, self.text = name, self._reader.offset, ""
        check = {
            "break": self._check_break, "sub": self._check_sub, "say-as": self._check_say_as, "phoneme": self._check_phoneme,
            "prosody": self._check_prosody, "voice": self._check_voice,
        }.get(name)  # fmt: skip
        if check:
            check(attributes)

    def _end(self, name: str) -> None:
        if name != self.inside:
            return
        self.inside = None
        if len(self.text) > MAX_ALIAS:
            raise self._reader.wrong(f"<{name}> holds {len(self.text)} characters; at most {MAX_ALIAS} are allowed")
        if not any(char.isalnum() for char in self.text):
            raise self._reader.wrong(f"<{name}> is empty; it holds the text as it is written")
        if self._reader.offset - self.begun > MAX_INNER:
            raise self._reader.wrong(f"<{name}> is longer than {MAX_INNER:,} bytes with its tags")

    def _text(self, text: str) -> None:
        if self.inside:
            self.text += text

    def _check_break(self, attributes: Mapping[str, str]) -> None:
        time, strength = attributes.get("time"), attributes.get("strength", "medium")
        if time is not None:
            length = parse_length(time.removeprefix("+"))
            if length is None or length > MAX_PAUSE_MS:
                raise self._reader.wrong(
                    f'break: time {time[:40]!r} must be like "500ms" or "1.5s", at most {MAX_PAUSE_MS // 1000} s'
                )
        elif strength not in _STRENGTHS:
            raise self._reader.wrong(f"break: strength {strength[:40]!r} must be one of {', '.join(_STRENGTHS)}")

    def _check_sub(self, attributes: Mapping[str, str]) -> None:
        self._check_length("sub", "alias", attributes["alias"])
        if not any(char.isalnum() for char in attributes["alias"]):
            raise self._reader.wrong("sub: alias has nothing that can be spoken")

    def _check_say_as(self, attributes: Mapping[str, str]) -> None:
        kind = attributes["interpret-as"]
        if kind not in KINDS:
            raise self._reader.wrong(f"say-as: interpret-as {kind[:40]!r} must be one of {', '.join(KINDS)}")

    def _check_phoneme(self, attributes: Mapping[str, str]) -> None:
        alphabet = attributes.get("alphabet", "ipa")
        if alphabet.lower() != "ipa":
            raise self._reader.wrong(f"phoneme: alphabet {alphabet[:40]!r} is not known here; only ipa is")
        self._check_length("phoneme", "ph", attributes["ph"])
        if "[" in attributes["ph"] or "]" in attributes["ph"] or not any(char.isalpha() for char in attributes["ph"]):
            raise self._reader.wrong("phoneme: ph must be phonemes in IPA, without brackets")

    def _check_prosody(self, attributes: Mapping[str, str]) -> None:
        for name in attributes:
            if name != "rate":
                self.warnings[f"prosody: {name[:40]} is not heeded, only rate is"] = None
        rate = attributes.get("rate", "medium")
        factor = parse_rate(rate)
        if factor is None or not MIN_RATE <= factor <= MAX_RATE:
            raise self._reader.wrong(
                f'prosody: rate {rate[:40]!r} must be {", ".join(_RATES)}, or like "80%", "+20%" or "1.2", '
                f"{MIN_RATE:g} to {MAX_RATE:g} times"
            )

    def _check_voice(self, attributes: Mapping[str, str]) -> None:
        name = attributes["name"].strip()
        if len(name) > MAX_NAME:
            raise self._reader.wrong(f"voice: name has {len(name)} characters; at most {MAX_NAME} are allowed")
        if name not in self.voices:
            self.voices[name] = self._reader.place
            require_few(self.voices)

    def _check_length(self, element: str, attribute: str, value: str) -> None:
        if len(value) > MAX_ALIAS:
            raise self._reader.wrong(
                f"{element}: {attribute} has {len(value)} characters; at most {MAX_ALIAS} are allowed"
            )


def read_ssml(text: str) -> Script:
    """Read a whole document. Takes some seconds for megabytes of tags: not for the event loop.

    Raises:
        InvalidInput: It is not well-formed, or has what is not allowed; names line and column.
    """
    reading = _Reading()
    reading.read(text)
    return Script(Markup.SSML, reading.voices, tuple(reading.warnings))


# --- windows of it -----------------------------------------------------------------------------------------------------


def _attributes(rest: str) -> Mapping[str, str]:
    return {m[1]: html.unescape(m[2] if m[2] is not None else m[3]) for m in _ATTRIBUTE.finditer(rest)}


def _tokens(window: str, start: int, final: bool) -> Iterator[re.Match[str] | int]:
    """Tags, references and comments in order; last, how far the window is complete."""
    position = start
    complete = len(window)
    while match := _TOKEN.search(window, position):
        opens = match["name"] in _ATOMS and not match["close"] and not match["empty"]
        if opens and not final and window.find(f"</{match['name']}", match.end()) < 0:
            complete = match.start()
            break
        yield match
        position = match.end()
    if not final and (cut := _MAYBE_TOKEN.search(window, position)):
        complete = min(complete, cut.start())
    yield complete


def _marks(token: re.Match[str]) -> tuple[Mark, ...] | None:
    """What a token does between two stretches; None when it belongs into one."""
    name, closes, rest = token["name"], bool(token["close"]), token["rest"] or ""
    if name in _BREAKS_LINE:
        return (Mark(Do.BORDER, Boundary.PARAGRAPH if name == "p" else Boundary.SENTENCE),)
    if name not in ("break", "voice", "prosody"):
        return None
    if name == "break":
        return () if closes else (Mark(Do.PAUSE, _pause_ms(_attributes(rest))),)
    if closes:
        return (Mark(Do.POP),)
    attributes = _attributes(rest)
    opened = (
        Mark(Do.VOICE, attributes.get("name", "").strip())
        if name == "voice"
        else Mark(Do.SPEED, parse_rate(attributes.get("rate", "medium")) or 1.0)
    )
    return (opened, Mark(Do.POP)) if token["empty"] else (opened,)


def _pause_ms(attributes: Mapping[str, str]) -> int:
    time = attributes.get("time")
    if time is not None:
        return min(parse_length(time.removeprefix("+")) or 0, MAX_PAUSE_MS)
    return _STRENGTHS.get(attributes.get("strength", "medium"), 0)


def next_ssml_stretch(window: str, start: int, final: bool) -> Stretch:
    """As :func:`rhapsode.text.markup.next_stretch`, for a document that was read before."""
    end = behind = -1
    marks: list[Mark] = []
    for token in _tokens(window, start, final):
        place = token if isinstance(token, int) else token.start()
        if end >= 0 and window[behind:place].strip():
            break
        if isinstance(token, int):
            if end < 0:
                return Stretch(place, place, (), final)
            break
        found = _marks(token)
        if found is None and end < 0:
            continue
        if found is None and (token["entity"] or token["name"] in _ATOMS):
            break
        if end < 0:
            end = place
        marks += found or ()
        behind = token.end()
    return Stretch(end, behind, tuple(marks), True)


@dataclass(frozen=True, slots=True)
class Atom:
    """An element that is spoken otherwise than it is written."""

    kind: str
    """sub, say-as or phoneme."""
    attributes: Mapping[str, str]
    written: str


@dataclass(frozen=True, slots=True)
class Unmarked:
    """A stretch of a document as text, and the way back."""

    text: str
    atoms: tuple[Atom, ...]
    _here: tuple[int, ...]
    """Where each piece starts in ``text``; ascending."""
    _there: tuple[tuple[int, int], ...]
    """Where it starts in the document, and the end of what it stands for (-1 when it is a copy)."""

    def start(self, index: int) -> int:
        """Offset in the document of character ``index``."""
        piece = bisect_right(self._here, index) - 1
        start, end = self._there[piece]
        return start + index - self._here[piece] if end < 0 else start

    def end(self, index: int) -> int:
        """Offset in the document behind character ``index - 1``."""
        piece = bisect_right(self._here, index - 1) - 1
        start, end = self._there[piece]
        return start + index - self._here[piece] if end < 0 else end

    def shown(self, start: int, end: int) -> str:
        """What people see of a span."""
        return _PRIVATE.sub(self._written, self.text[start:end])

    def _written(self, match: re.Match[str]) -> str:
        number = ord(match[0]) - ord(ATOM)
        return self.atoms[number].written if number < len(self.atoms) else " "


def unmark(window: str, start: int, end: int) -> Unmarked:
    """The text between two places of a document, none of whose tags is a mark."""
    parts: list[str] = []
    atoms: list[Atom] = []
    here, there = [0], [(start, -1)]
    length, done = 0, start

    def put(text: str, origin: tuple[int, int]) -> None:
        nonlocal length
        if not text:
            return
        if here[-1] == length:
            there[-1] = origin
        else:
            here.append(length)
            there.append(origin)
        parts.append(text)
        length += len(text)

    for token in _TOKEN.finditer(window, start, end):
        if token.start() < done:
            continue
        put(_PRIVATE.sub(" ", window[done : token.start()]), (done, -1))
        done = token.end()
        name, rest = token["name"], token["rest"] or ""
        if token["entity"]:
            put(_PRIVATE.sub(" ", html.unescape(token[0])), token.span())
        elif name in _ATOMS and not token["close"] and not token["empty"]:
            close = window.find(f"</{name}", done, end)
            inner = close if close >= 0 else end
            written = " ".join(html.unescape(re.sub("<[^<>]*>", "", window[done:inner])).split())
            behind = window.find(">", inner, end) + 1 or end
            written = _PRIVATE.sub(" ", written)
            put(chr(ord(ATOM) + len(atoms)), (token.start(), behind))
            atoms.append(Atom(name, _attributes(rest), written))
            done = behind
    put(_PRIVATE.sub(" ", window[done:end]), (done, -1))
    if here[-1] == length:
        there[-1] = (end, -1)
    else:
        here.append(length)
        there.append((end, -1))
    return Unmarked("".join(parts), tuple(atoms), tuple(here), tuple(there))
