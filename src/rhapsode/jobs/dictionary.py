"""The dictionary that all jobs share: one JSON file in the data directory, which the API and the command line change, and an editor may.

A job gets it as it is when it is submitted; later changes do not reach it.
"""

import hashlib
import logging
import os
import threading
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from rhapsode.errors import InvalidInput, NotFound, TooLarge
from rhapsode.model import Pronunciation
from rhapsode.text.lexicon import MAX_ENTRIES, as_rows, checked, dumps, merged

log = logging.getLogger(__name__)

FILE = "dictionary.json"
_decode = msgspec.json.Decoder(list[Pronunciation])


@dataclass(frozen=True, slots=True)
class Frozen:
    """A dictionary as it is at one moment."""

    entries: tuple[Pronunciation, ...] = ()
    digest: str | None = None
    """None: it is empty."""
    stored: str = "[]"
    """What the digest is of."""

    async def give(self, _: str) -> str:
        """What the digest is of, for the planner."""
        return self.stored


EMPTY = Frozen()


def frozen(entries: Sequence[Pronunciation]) -> Frozen:
    """The entries as jobs get them."""
    if not entries:
        return EMPTY
    stored = dumps(entries)
    return Frozen(tuple(entries), hashlib.sha256(stored.encode()).hexdigest(), stored)


class DictionaryFile:
    """The file. Used from any thread.

    Args:
        path: Where it lies; it need not be there.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._changing = threading.RLock()
        self._stamp: tuple[int, int] | None = None
        self._now = EMPTY
        self.trouble: str | None = None
        """Why the file cannot be used as it is; the dictionary is then what it was before."""

    @property
    def is_stale(self) -> bool:
        """Whether :meth:`now` would read the file: not for the event loop, it may have thousands of words."""
        return self._seen() != self._stamp

    def now(self) -> Frozen:
        """The dictionary as it is now; the file is read anew when it has changed."""
        with self._changing:
            stamp = self._seen()
            if stamp == self._stamp:
                return self._now
            try:
                self._now, self.trouble = frozen(_read(self._path)) if stamp else EMPTY, None
            except (OSError, InvalidInput) as error:
                self.trouble = f"{self._path.name} cannot be used, what was read before is: {error}"
                log.warning("%s: %s", self._path.parent, self.trouble)
            self._stamp = stamp
            return self._now

    def _seen(self) -> tuple[int, int] | None:
        """What changes with the file; None: there is none."""
        try:
            stat = self._path.stat()
        except FileNotFoundError:
            return None
        return stat.st_mtime_ns, stat.st_size

    def replace(self, entries: Sequence[Pronunciation]) -> Frozen:
        """Write other entries; of two for the same word the later stays.

        Raises:
            TooLarge: There are too many.
            OSError: The file cannot be written.
        """
        kept = merged(entries)
        if len(kept) > MAX_ENTRIES:
            raise TooLarge(f"the dictionary would have {len(kept):,} words; the limit is {MAX_ENTRIES:,}", "entries")
        data = msgspec.json.format(msgspec.json.encode(as_rows(kept)), indent=1)
        with self._changing:
            self._write(data)
            self._stamp = None
            return self.now()

    def remove(self, word: str) -> Frozen:
        """Take out a word, all entries for it.

        Raises:
            NotFound: It has no such word.
            InvalidInput, OSError: As :meth:`add`.
        """
        with self._changing:
            kept = [entry for entry in self._readable().entries if entry.word != word]
            if len(kept) == len(self._now.entries):
                raise NotFound(f"the dictionary has no word {word[:100]!r}, written so", "word")
            return self.replace(kept)

    def _readable(self) -> Frozen:
        now = self.now()
        if self.trouble:
            raise InvalidInput(f"{self.trouble}; mend or delete it first", None, 409)
        return now

    def _write(self, data: bytes) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        draft = self._path.with_name(f".tmp-{uuid.uuid4().hex}")
        try:
            with draft.open("xb") as file:
                file.write(data + b"\n")
                file.flush()
                os.fsync(file.fileno())
            draft.replace(self._path)
        finally:
            draft.unlink(missing_ok=True)

    def add(self, entries: Sequence[Pronunciation]) -> Frozen:
        """Add entries to those there are; they win over them.

        Raises:
            InvalidInput: The file cannot be read as it is, so that what is in it would be lost.
            TooLarge, OSError: As :meth:`replace`.
        """
        with self._changing:
            return self.replace([*self._readable().entries, *entries])


def _read(path: Path) -> list[Pronunciation]:
    try:
        entries = _decode.decode(path.read_bytes())
    except msgspec.MsgspecError as error:
        raise InvalidInput(f"it must be a JSON list of objects with word and say or ipa: {error}") from None
    if len(entries) > MAX_ENTRIES:
        raise InvalidInput(f"it has {len(entries):,} words; the limit is {MAX_ENTRIES:,}")
    return merged(checked(entry, f"entry {number}") for number, entry in enumerate(entries, 1))
