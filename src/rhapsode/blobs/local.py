"""Blobs as files of one folder."""

import asyncio
import errno
import os
import re
import shutil
import time
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from itertools import islice
from pathlib import Path
from typing import BinaryIO, ParamSpec, TypeVar

from rhapsode.blobs.base import NAME, BlobStat, BlobStore, checked_name
from rhapsode.durable import TEMP_PREFIX, draft_of, fanned, names_kept, put
from rhapsode.errors import BlobError, StorageFull

P = ParamSpec("P")
T = TypeVar("T")

THREADS = 8
"""Writers at once: a file system shares the syncs of those that wait together."""

_TEMP_NAME = re.compile(re.escape(TEMP_PREFIX) + r"[0-9a-f]{32}")
_NO_SPACE = frozenset({errno.ENOSPC, errno.EDQUOT})
_PAGE = 1000
"""Names read from the folder at a time."""
_PIECE = 512 * 1024
"""Bytes read at a time."""


class LocalBlobs(BlobStore):
    """See :class:`rhapsode.blobs.base.BlobStore`.

    A blob is written under a temporary name in its folder, synced, renamed, and its folder synced: its name is there
    with all its bytes or not at all, also after power loss.

    Args:
        root: The folder; made when it is missing.
        fan_out: Spread blobs over folders named by their first two characters (for digests); without it they lie flat
            in ``root`` under their own names (for results, which users browse).
    """

    def __init__(self, root: Path, *, fan_out: bool = True) -> None:
        self._root = root
        self._fan_out = fan_out
        self._pool = ThreadPoolExecutor(THREADS, "blobs")
        root.mkdir(parents=True, exist_ok=True)

    async def put(self, name: str, data: bytes) -> None:  # noqa: D102 - see the contract, here and below
        await self._run(self._put, self._path(name), data)

    async def get(self, name: str) -> bytes:  # noqa: D102
        return await self._run(self._get, self._path(name))

    def get_here(self, name: str) -> bytes | None:  # noqa: D102
        return self._get(self._path(name))

    async def adopt(self, path: Path, name: str) -> None:  # noqa: D102
        await self._run(self._adopt, path, self._path(name))

    def scratch(self) -> Path:  # noqa: D102
        return self._root / f"{TEMP_PREFIX}{uuid.uuid4().hex}"

    async def read(self, name: str, start: int = 0, end: int | None = None) -> AsyncIterator[bytes]:  # noqa: D102
        file = await self._run(self._open, self._path(name), start)
        try:
            while end is None or start < end:
                data = await self._run(file.read, _PIECE if end is None else min(_PIECE, end - start))
                if not data:
                    return
                start += len(data)
                yield data
        finally:
            file.close()

    async def stat(self, name: str) -> BlobStat | None:  # noqa: D102
        found = await self._run(_stat, self._path(name))
        return found and BlobStat(found.st_size, f"{found.st_mtime_ns:x}")

    async def url(self, name: str, expires_s: float) -> str | None:  # noqa: D102
        return None

    def local_path(self, name: str) -> Path | None:  # noqa: D102
        path = self._path(name)
        return path if path.is_file() else None

    async def delete(self, name: str) -> None:  # noqa: D102
        await self._run(self._path(name).unlink, True)

    async def names(self, older_than_s: float) -> AsyncIterator[str]:  # noqa: D102
        before = time.time() - older_than_s
        files = self._files(NAME, before)
        while page := await self._run(lambda: list(islice(files, _PAGE))):
            for path in page:
                yield path.name

    async def sweep_temp(self, older_than_s: float) -> int:  # noqa: D102
        return await self._run(self._sweep_temp, time.time() - older_than_s)

    async def free_bytes(self) -> int | None:  # noqa: D102
        return (await self._run(shutil.disk_usage, self._root)).free

    def close(self) -> None:
        """End the threads once what they do is done."""
        self._pool.shutdown()

    # -- within -------------------------------------------------------------------------------------------------

    async def _run(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._pool, lambda: function(*args, **kwargs))

    def _path(self, name: str) -> Path:
        """Where ``name`` lies."""
        checked_name(name)
        return fanned(self._root, name) if self._fan_out else self._root / name

    def _put(self, path: Path, data: bytes) -> None:
        with self._explain_full(path):
            put(path, data, "take.written")

    def _adopt(self, source: Path, path: Path) -> None:
        with self._explain_full(path), names_kept(path.parent):
            try:
                with source.open("rb") as file:
                    os.fsync(file.fileno())
            except FileNotFoundError as error:
                raise BlobError(f"There is no file {source} to store as {path.name}.") from error
            try:
                source.replace(path)
            except OSError as error:
                if error.errno != errno.EXDEV:
                    raise
                self._move(source, path)

    def _move(self, source: Path, path: Path) -> None:
        """Take over a file from another file system."""
        with draft_of(path) as draft:
            with source.open("rb") as old, draft.open("xb") as new:
                shutil.copyfileobj(old, new, 1 << 20)
                new.flush()
                os.fsync(new.fileno())
            draft.replace(path)
        source.unlink()

    def _get(self, path: Path) -> bytes:
        try:
            with self._open(path) as file:
                return file.read()
        except OSError as error:
            if error.errno != errno.EIO:
                raise
            raise BlobError(f"The disk cannot read {path.name}: {error.strerror}.") from error

    def _open(self, path: Path, start: int = 0) -> BinaryIO:
        try:
            file = path.open("rb")
        except FileNotFoundError as error:
            raise BlobError(f"The bytes of {path.name} are missing.") from error
        file.seek(start)
        return file

    @contextmanager
    def _explain_full(self, path: Path) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            if error.errno not in _NO_SPACE:
                raise
            raise StorageFull(f"The disk that holds {self._root} is full: {path.name} was not stored.") from error

    def _files(self, pattern: re.Pattern[str], before: float) -> Iterator[Path]:
        """Files with such a name, last written before that time."""
        folders = [self._root]
        if self._fan_out:
            folders += [path for path in self._root.iterdir() if path.is_dir()]
        for folder in folders:
            for path in folder.iterdir():
                with suppress(FileNotFoundError):  # deleted meanwhile
                    if pattern.fullmatch(path.name) and path.is_file() and path.stat().st_mtime < before:
                        yield path

    def _sweep_temp(self, before: float) -> int:
        leftovers = list(self._files(_TEMP_NAME, before))
        for path in leftovers:
            path.unlink(missing_ok=True)
        return len(leftovers)


def _stat(path: Path) -> os.stat_result | None:
    try:
        return path.stat()
    except FileNotFoundError:
        return None
