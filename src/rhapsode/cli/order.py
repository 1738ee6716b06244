"""What ``rhapsode speak`` was asked for: the text, how, and where to."""

import codecs
import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from rhapsode.client import SpeechOptions
from rhapsode.errors import InvalidInput

FORMATS: Mapping[str, str] = {"wav": "wav", "mp3": "mp3", "flac": "flac", "opus": "opus", "ogg": "opus"}
"""Output formats by file name extension."""

_TEXT_SUFFIXES = frozenset({".txt", ".md", ".text", ".rst", ".ssml", ".xml"})
_NAME_WORDS = 6
_NAME_CHARS = 48
_FOREIGN_MARKS = ((codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))


@dataclass(frozen=True, slots=True)
class Source:
    """A text and what to call it."""

    text: str
    name: str
    """Stem of the output's default name."""


@dataclass(frozen=True, slots=True)
class Order:
    """One thing to be spoken into one file."""

    text: str
    options: SpeechOptions
    output: Path
    """Absolute."""

    def key(self, defaults: object) -> str:
        """The same for the same text, options, output and settings: how a command finds the work it began before.

        Args:
            defaults: The settings that decide what ``options`` leaves open, as plain values.
        """
        known = json.dumps([self.options.body(self.text), str(self.output), defaults], sort_keys=True)
        return "speak-" + hashlib.sha256(known.encode()).hexdigest()[:40]


def read_source(argument: str | None, text: str | None, encoding: str, standard_input: BinaryIO) -> Source:
    """The text to speak: ``text`` itself; else a file, the standard input (``-``) or, when there is no such file, ``argument``.

    Raises:
        InvalidInput: There is none, or it cannot be decoded; names the file and the byte.
    """
    if (argument is None) == (text is None):
        raise InvalidInput(
            "say what to speak: a text, a file, or - for the standard input; or --text, and nothing else"
        )
    if text is not None:
        found = Source(_whole(text), _name_from(text))
    elif argument == "-":
        found = Source(decode(standard_input.read(), "the standard input", encoding), "speech")
    else:
        found = _file_or_words(argument or "", encoding)
    if not found.text.strip():
        raise InvalidInput("there is nothing to speak: the text is empty")
    return found


def decode(data: bytes, name: str, encoding: str) -> str:
    """Text from bytes; a byte order mark is no part of it.

    Raises:
        InvalidInput: It is in another encoding; names the first byte that does not fit.
    """
    try:
        if codecs.lookup(encoding).name == "utf-8":
            encoding = "utf-8-sig"
        return data.decode(encoding)
    except LookupError:
        raise InvalidInput(f"--encoding: there is no encoding {encoding!r}; try utf-8, cp1252 or utf-16") from None
    except UnicodeDecodeError as error:
        likely = next((other for mark, other in _FOREIGN_MARKS if data.startswith(mark)), "cp1252")
        line = data.count(b"\n", 0, error.start) + 1
        raise InvalidInput(
            f"{name} is not {error.encoding.upper()} text: byte 0x{data[error.start]:02x} at offset {error.start} (line {line}); "
            f"convert it, or name its encoding, such as --encoding {likely}"
        ) from None


def choose_output(output: Path | None, audio_format: str | None, default_format: str, name: str) -> tuple[Path, str]:
    """Where to write and in which format.

    Args:
        output: What ``-o`` names: a file, a folder, or None for the working directory.
        audio_format: What ``--format`` names.
        default_format: What to write when nothing says.
        name: Stem of the file's name when ``output`` names none.

    Returns:
        An absolute path, and the format.

    Raises:
        InvalidInput: The folder does not exist, the extension means no format, or a file is there that nobody named.
    """
    if output is None or output.is_dir():
        audio_format = audio_format or default_format
        target = (output or Path()).absolute() / f"{name}.{audio_format}"
        if target.exists():
            raise InvalidInput(f"{target} is there already; to replace it say: -o {output or Path()}/{target.name}")
        return target, audio_format
    target = output.absolute()
    if not target.parent.is_dir():
        raise InvalidInput(f"-o: there is no folder {target.parent}")
    if audio_format is None:
        extension = target.suffix.lower().lstrip(".")
        if extension not in FORMATS:
            known = ", ".join(f".{known}" for known in FORMATS)
            raise InvalidInput(f"-o: {target.name} does not end in {known}; name it so, or add --format")
        audio_format = FORMATS[extension]
    return target, audio_format


def _file_or_words(argument: str, encoding: str) -> Source:
    path = Path(argument)
    try:
        if path.is_dir():
            raise InvalidInput(f"{argument} is a folder; name a text file")
        if path.exists():
            return Source(decode(path.read_bytes(), argument, encoding), path.stem)
    except (OSError, ValueError) as error:
        if isinstance(error, PermissionError):
            raise InvalidInput(f"{argument} cannot be read: {error.strerror}") from None
        # too long for a file name, or not one at all: words
    if path.suffix.lower() in _TEXT_SUFFIXES and not re.search(r"\s", argument):
        raise InvalidInput(f"there is no file {argument}; to speak these very words use --text")
    return Source(_whole(argument), _name_from(argument))


def _whole(text: str) -> str:
    """``text``, if it is one: arguments that are not UTF-8 come with pieces of bytes in them."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise InvalidInput(f"the text is not UTF-8 at character {error.start}; put it into a file") from None
    return text


def _name_from(text: str) -> str:
    """A file name that tells the beginning of the text."""
    words = re.findall(r"\w+", re.sub(r"<[^<>]*>|\[[^\[\]]*\]", " ", text[:400]))[:_NAME_WORDS]
    return "-".join(words).lower()[:_NAME_CHARS].strip("-") or "speech"
