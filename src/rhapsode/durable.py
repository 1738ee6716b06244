"""Files that are there whole or not at all, after a loss of power, too."""

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rhapsode.failpoints import failpoint

TEMP_PREFIX = ".tmp-"
"""Of files that are being written; what a crash leaves behind is found by it."""


def fanned(root: Path, name: str) -> Path:
    """Where a file lies whose folder is named by its first two characters: for many files with digests for names."""
    return root / name[:2] / name


@contextmanager
def named(path: Path) -> Iterator[None]:
    """Name the file in errors of writing and syncing it: the system knows it by its number alone."""
    try:
        yield
    except OSError as error:
        if error.filename is None:
            error.filename = str(path)
        raise


@contextmanager
def draft_of(path: Path) -> Iterator[Path]:
    """A temporary name beside ``path``, to be renamed within; gone when that fails."""
    draft = path.with_name(f"{TEMP_PREFIX}{uuid.uuid4().hex}")
    try:
        yield draft
    except BaseException:
        draft.unlink(missing_ok=True)
        raise


@contextmanager
def names_kept(folder: Path) -> Iterator[None]:
    """Names that are made in ``folder`` within are durable behind it; the folder is made when it is missing.

    Raises:
        FileNotFoundError: The folder above it is missing, too.
    """
    try:
        opened = os.open(folder, os.O_RDONLY)
    except FileNotFoundError:
        folder.mkdir(exist_ok=True)
        sync_folder(folder.parent)  # its name must survive as well as what is in it
        opened = os.open(folder, os.O_RDONLY)
    try:
        yield
        with named(folder):
            os.fsync(opened)
    finally:
        os.close(opened)


def put(path: Path, data: bytes, point: str) -> None:
    """Store ``data`` as ``path``; a file there of the same size is taken for the same, and touched.

    Args:
        path: Its folder is made when it is missing.
        data: All of it.
        point: Failpoint between writing and renaming.
    """
    with names_kept(path.parent):
        if _size(path) == len(data):
            os.utime(path)  # it is wanted again: too young for orphan collection
            return
        with draft_of(path) as draft:
            _write_new(draft, data)
            failpoint(point)
            draft.replace(path)


def _size(path: Path) -> int | None:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return None


def _write_new(path: Path, data: bytes) -> None:
    opened = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
    try:
        rest = memoryview(data)
        with named(path):
            while rest:
                rest = rest[os.write(opened, rest) :]
            os.fsync(opened)
    finally:
        os.close(opened)


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable."""
    opened = os.open(folder, os.O_RDONLY)
    try:
        with named(folder):
            os.fsync(opened)
    finally:
        os.close(opened)
