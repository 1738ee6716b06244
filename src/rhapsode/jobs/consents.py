"""Whether the person whose voice a recording holds has agreed to its being cloned: what was said when it was sent.

Kept by the content of the recording, so that it stays true when the file is renamed, and for no other file of that name.
"""

import hashlib
import json
import os
import uuid
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

_NO = frozenset({"", "0", "false", "no", "off"})
_YES = frozenset({"1", "true", "yes", "on"})
_MOST_CHARS = 2_000


@dataclass(frozen=True, slots=True)
class Consent:
    """That somebody said there is consent."""

    owner: str
    """On whose behalf it was sent."""
    at: float
    """Seconds since the epoch."""
    statement: str = ""
    """In words, if words were sent."""


def read_consent(value: str | None, owner: str, at: float) -> Consent | None:
    """What the form field ``consent`` says: yes, no, or a statement in words; None: nothing is known."""
    said = (value or "").strip()[:_MOST_CHARS]
    if said.lower() in _NO:
        return None
    return Consent(owner, at, "" if said.lower() in _YES else said)


class Consents:
    """A folder with a file for each recording that there is consent for. Blocking."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._digests: dict[tuple[Path, int, int], str] = {}

    def of(self, recording: Path) -> Consent | None:
        """What is known of a recording; None: nothing.

        Raises:
            OSError: It cannot be read.
        """
        try:
            return Consent(**json.loads(self._path(recording).read_bytes()))
        except (FileNotFoundError, ValueError, TypeError):
            return None

    def record(self, recording: Path, consent: Consent) -> None:
        """Keep it, durably.

        Raises:
            OSError: It cannot be.
        """
        path = self._path(recording)
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_name(f".tmp-{uuid.uuid4().hex}")
        try:
            with draft.open("x", encoding="utf-8") as file:
                json.dump(asdict(consent), file, ensure_ascii=False)
                file.flush()
                os.fsync(file.fileno())
            draft.replace(path)
        finally:
            draft.unlink(missing_ok=True)

    def forget(self, recording: Path, others: Iterable[Path]) -> None:
        """The recording is about to be deleted; what was said stays if one of the ``others`` has the same content.

        Raises:
            OSError: It cannot be read.
        """
        path = self._path(recording)
        if path.exists() and all(self._path(other) != path for other in others if other != recording):
            path.unlink(missing_ok=True)

    def _path(self, recording: Path) -> Path:
        stat = recording.stat()
        stamp = (recording, stat.st_size, stat.st_mtime_ns)
        if stamp not in self._digests:
            self._digests[stamp] = hashlib.sha256(recording.read_bytes()).hexdigest()
        return self._folder / f"{self._digests[stamp]}.json"
