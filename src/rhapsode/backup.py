"""Back up a data directory while its server runs, and put a backup back.

A backup is a folder: a copy of the ledger at one moment, every take and result that it refers to (unless they lie in a bucket), the voices,
recordings, consents and clips, the configuration of the data directory, and ``manifest.json`` with the SHA-256 of each file. That file
appears last: without it there is no backup. Restoring checks every byte before anything is put in place, and the ledger appears last:
without it the data directory counts as empty, and restoring can be begun anew.
"""

import hashlib
import importlib.metadata
import json
import os
import shutil
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

from rhapsode.config import FILE_NAME, Loaded
from rhapsode.config_file import STATE_NAME
from rhapsode.datadir import LOCK_NAME, DataDirLock
from rhapsode.durable import sync_folder
from rhapsode.errors import BackupError
from rhapsode.ledger.snapshot import check_ledger, copy_ledger, needed_by
from rhapsode.settings import Settings

MANIFEST = "manifest.json"
_FORMAT = 1
_LEDGER = "ledger.db"
_PLAIN_FILES = (FILE_NAME, STATE_NAME, "dictionary.json", "presets.yaml", "webhook.key")
_TRIES = 5
"""Looks at the ledger: takes and results that vanish while they are copied were deleted by the server, and then a newer copy does not
name them."""
_BLOCK = 1 << 20
_DRAFTS = ".rhapsode-*.tmp"


@dataclass(frozen=True, slots=True)
class Entry:
    """One file of a backup."""

    path: str
    """Below the backup's folder, with ``/`` between: the first part says what it is."""
    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Manifest:
    """What is in a backup."""

    created_at: float
    """Seconds since the epoch."""
    rhapsode: str
    """Version that wrote it."""
    files: tuple[Entry, ...]
    missing: tuple[str, ...] = ()
    """Takes and results that the ledger names, but that were damaged or gone before; takes are spoken again."""
    format: int = _FORMAT

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(entry.size for entry in self.files)


def folders(settings: Settings) -> Mapping[str, Path]:
    """Where each kind of file lies in an installation, by the first part of its path in a backup."""
    return {
        "data": settings.data_dir,
        "takes": settings.data_dir / "takes",
        "results": settings.job_queue.output_path,
        "voices": settings.tts_engine.predefined_voices_path,
        "recordings": settings.tts_engine.reference_audio_path,
        "consents": settings.data_dir / "consents",
        "clips": settings.data_dir / "clips",
    }


def back_up(settings: Settings, target: Path, link: bool = False) -> Manifest:
    """Write a backup; a server may run on the data directory meanwhile.

    Args:
        settings: Of the installation.
        target: Where the backup is to be: nothing, or an empty folder.
        link: Make hard links to takes and results instead of copies, where the file system can: quick, but no help against a disk that
            breaks.

    Raises:
        BackupError: There is nothing to back up, or something is at ``target``.
        LedgerError: The ledger is damaged.
        OSError: It cannot be written.
    """
    if settings.ledger.url:
        raise BackupError(
            "the ledger is a PostgreSQL database (ledger.url): back it up with pg_dump, then the store of blobs.url"
        )
    if not (settings.data_dir / _LEDGER).is_file():
        raise BackupError(f"there is no ledger in {settings.data_dir}: nothing to back up")
    _require_empty(target)
    target.mkdir(mode=0o700, parents=True, exist_ok=True)
    with _assembling(target, MANIFEST) as draft:
        manifest = _Writer(settings, draft, link).write()
        (draft / MANIFEST).write_text(json.dumps(asdict(manifest), indent=1))
    return manifest


class _Writer:
    """Fills a draft of a backup."""

    def __init__(self, settings: Settings, draft: Path, link: bool) -> None:
        self._from = folders(settings)
        self._draft = draft
        self._link = link
        self._in_bucket = bool(settings.blobs.url)
        self._entries: dict[str, Entry] = {}

    def write(self) -> Manifest:
        """All but the manifest, which it gives."""
        for name in _PLAIN_FILES:
            self._copy(self._from["data"] / name, f"data/{name}")
        for kind in ("voices", "recordings", "consents"):
            self._copy_all(kind)
        ledger = self._draft / "data" / _LEDGER
        ledger.parent.mkdir(exist_ok=True)
        missing: list[str] = []
        for _ in range(_TRIES):
            ledger.unlink(missing_ok=True)
            copy_ledger(self._from["data"] / _LEDGER, ledger)
            missing = [] if self._in_bucket else self._copy_needed(ledger)
            if not missing:
                break
        self._copy_all("clips", ".wav")  # behind the ledger: a clip is there before its job is
        size, digest = _digest(ledger)
        kept = [entry for entry in self._entries.values() if (self._draft / entry.path).exists()]
        files = (Entry(f"data/{_LEDGER}", size, digest), *kept)
        return Manifest(time.time(), importlib.metadata.version("rhapsode"), files, tuple(missing))

    def _copy_all(self, kind: str, suffix: str = "") -> None:
        """Copy the files of a kind; what engines computed of clips can be computed again."""
        for path in _files_below(self._from[kind]):
            if path.name.endswith(suffix):
                self._copy(path, f"{kind}/{path.relative_to(self._from[kind]).as_posix()}")

    def _copy_needed(self, ledger: Path) -> list[str]:
        """Copy what a copy of the ledger refers to, drop what it does not; what could not be had whole."""
        needed = needed_by(ledger)
        wanted = {f"takes/{digest[:2]}/{digest}": digest for digest in needed.takes}
        wanted |= {f"results/{name}": digest for name, (_, digest) in needed.results.items()}
        for stale in [path for path in self._entries if path.startswith(("takes/", "results/")) and path not in wanted]:
            (self._draft / stale).unlink()
            del self._entries[stale]
        missing = []
        for path, digest in wanted.items():
            kind, _, rest = path.partition("/")
            if path not in self._entries and not self._copy(self._from[kind] / rest, path, digest, self._link):
                missing.append(path)
        return missing

    def _copy(self, source: Path, name: str, wanted: str | None = None, link: bool = False) -> bool:
        """Copy one file, if it is there and, where its SHA-256 is known, whole; whether it is in the backup now."""
        target = self._draft / name
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            entry = replace(_copy_file(source, target, link), path=name)
        except FileNotFoundError:
            return False
        if wanted is not None and entry.sha256 != wanted:
            target.unlink()
            return False
        self._entries[name] = entry
        return True


def read_manifest(source: Path) -> Manifest:
    """What a backup says is in it.

    Raises:
        BackupError: It is no backup, or one of a newer version.
    """
    try:
        found: dict[str, Any] = json.loads((source / MANIFEST).read_bytes())
        if found["format"] != _FORMAT:
            raise BackupError(f"{source} was written by a newer Rhapsode (format {found['format']}): install that one")
        files = tuple(Entry(**entry) for entry in found.pop("files"))
        return Manifest(files=files, missing=tuple(found.pop("missing")), **found)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BackupError(f"{source} is no complete backup: {MANIFEST} cannot be read ({error})") from None


def verify(source: Path) -> Manifest:
    """Read every byte of a backup, and look at every page of its ledger.

    Raises:
        BackupError: A file is missing, damaged, or where none can be; names it.
        LedgerError: The ledger is damaged.
    """
    manifest = read_manifest(source)
    for entry in manifest.files:
        path = source / _safe(entry.path)
        try:
            found = _digest(path)
        except OSError as error:
            raise BackupError(f"{path} cannot be read: {error.strerror}") from None
        if found != (entry.size, entry.sha256):
            raise BackupError(f"{path} is damaged: its SHA-256 is not the one in {MANIFEST}")
    check_ledger(source / "data" / _LEDGER, alone=True)
    return manifest


def restore(source: Path, settings: Settings) -> Manifest:
    """Put a backup back. The data directory must be empty or not there, and no server may run on it.

    What lies outside of the data directory by the configuration (results, voices, recordings) is put there; of what is there already,
    nothing is overwritten.

    Raises:
        BackupError: The backup is damaged, the data directory is not empty, or another file is in the way.
        LedgerError: The ledger is damaged.
        OSError: It cannot be written.
    """
    home = settings.data_dir
    _require_empty(home)
    manifest = verify(source)
    with DataDirLock(home), _assembling(home, _LEDGER) as draft:
        where = folders(settings)
        for entry in manifest.files:
            kind, _, rest = _safe(entry.path).as_posix().partition("/")
            target = where[kind] / rest
            inside = target.is_relative_to(home)
            _put_back(source / entry.path, draft / target.relative_to(home) if inside else target, entry)
    return manifest


def _put_back(source: Path, target: Path, entry: Entry) -> None:
    if target.exists():
        if _digest(target) != (entry.size, entry.sha256):
            raise BackupError(f"{target} is another file than the backup's {entry.path}: move it away first")
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    draft = target.with_name(f".{target.name[:100]}.{uuid.uuid4().hex[:8]}.tmp")
    try:
        if replace(_copy_file(source, draft, link=False), path=entry.path) != entry:
            raise BackupError(f"{source} changed while it was read")
        draft.replace(target)
    finally:
        draft.unlink(missing_ok=True)


def restored_config(source: Path) -> str | None:
    """The text of the configuration file in a backup's data directory, or None when there was none."""
    path = source / "data" / FILE_NAME
    return path.read_text(encoding="utf-8-sig") if path.is_file() else None


def left_out(loaded: Loaded) -> Iterator[str]:
    """What the installation needs and no backup has, each with where it lies."""
    source, settings = loaded.source, loaded.settings
    if source is not None and source != settings.data_dir / FILE_NAME:
        yield f"the configuration file {source}, which lies outside of the data directory"
    if settings.blobs.url:
        yield f"takes and results, which lie in {settings.blobs.url}"


def _require_empty(folder: Path) -> None:
    """Raises:
    BackupError: There is something.
    """
    if folder.exists() and (not folder.is_dir() or any(not _is_nothing(path) for path in folder.iterdir())):
        raise BackupError(f"{folder} is not empty: name another folder, or move it away")


def _is_nothing(path: Path) -> bool:
    """Whether a folder with this in it counts as empty: what a server or a restore that came to nothing left behind."""
    return path.name == LOCK_NAME or path.match(_DRAFTS)


def _safe(path: str) -> PurePosixPath:
    """Raises:
    BackupError: The path leads out of its folder, or is of no kind that we know.
    """
    found = PurePosixPath(path)
    kinds = ("data", "takes", "results", "voices", "recordings", "consents", "clips")
    if found.is_absolute() or ".." in found.parts or len(found.parts) < 2 or found.parts[0] not in kinds:
        raise BackupError(f"{MANIFEST} names {path!r}, which belongs into no backup")
    return found


def _files_below(folder: Path) -> Iterator[Path]:
    """Files that are no drafts and in no hidden folder."""
    for path in sorted(folder.rglob("*")):
        if path.is_file() and not any(part.startswith(".") for part in path.relative_to(folder).parts):
            yield path


def _copy_file(source: Path, target: Path, link: bool) -> Entry:
    """Copy or link; its size and SHA-256 as they were read."""
    if link:
        try:
            os.link(source, target)
        except FileNotFoundError:
            raise
        except OSError:  # another file system, or one without hard links
            pass
        else:
            size, digest = _digest(target)
            return Entry("", size, digest)
    sha = hashlib.sha256()
    size = 0
    with source.open("rb") as read, target.open("xb") as write:
        while block := read.read(_BLOCK):
            sha.update(block)
            write.write(block)
            size += len(block)
    shutil.copystat(source, target)
    return Entry("", size, sha.hexdigest())


def _digest(path: Path) -> tuple[int, str]:
    """Size and SHA-256."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        return file.tell(), digest


@contextmanager
def _assembling(folder: Path, last: str) -> Iterator[Path]:
    """A draft whose content moves into the folder when the block ends well, the file ``last`` as the last."""
    for leftover in folder.glob(_DRAFTS):
        shutil.rmtree(leftover)
    draft = folder / _DRAFTS.replace("*", uuid.uuid4().hex)
    draft.mkdir(mode=0o700)
    try:
        yield draft
        os.sync()  # once, instead of once per take
        for path in sorted(draft.iterdir(), key=lambda path: path.name == last):
            path.rename(folder / path.name)
        sync_folder(folder)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
