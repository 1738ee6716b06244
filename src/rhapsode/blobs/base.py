"""Where bytes live: takes and results. Rows decide what exists; blobs only hold content."""

import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from rhapsode.errors import BlobError

NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{2,199}")


def checked_name(name: str) -> str:
    """``name``, if it can be one of a blob.

    Raises:
        BlobError: It could lead out of the store, or be taken for a temporary file.
    """
    if not NAME.fullmatch(name):
        raise BlobError(
            f"{name!r} cannot be the name of a blob: 3 to 200 of A-Z a-z 0-9 . _ -, not starting with . or -."
        )
    return name


@dataclass(frozen=True, slots=True)
class BlobStat:
    """What is known of a blob without reading it."""

    size: int
    """Bytes."""
    version: str
    """Another one whenever the bytes may be others: fit for an ETag."""


class BlobStore(Protocol):
    """A flat store of immutable byte strings by name. Names are ours (digests, result names), never a user's.

    Every method but :meth:`scratch` and :meth:`local_path` may raise StorageAway: the store cannot be reached now.
    """

    async def put(self, name: str, data: bytes) -> None:
        """Store ``data`` durably under ``name``: after return it survives power loss. Storing the same name again is a no-op when sizes agree."""
        ...

    async def get(self, name: str) -> bytes:
        """All bytes of ``name``.

        Raises:
            BlobError: It is not there.
        """
        ...

    def get_here(self, name: str) -> bytes | None:
        """All bytes of ``name``, read by the calling thread, or None when the store is not on this machine.

        Raises:
            BlobError: It is not there.
        """
        ...

    def read(self, name: str, start: int = 0, end: int | None = None) -> AsyncIterator[bytes]:
        """The bytes from ``start`` up to ``end`` (None: all that follow), in pieces; holds one of them in memory.

        Raises:
            BlobError: It is not there (any more).
        """
        ...

    async def adopt(self, path: Path, name: str) -> None:
        """Take over a finished local file as ``name``: fsync, then atomic rename (or upload). The file is gone afterwards.

        It is visible whole or not at all; when this raises, the file is still where it was.
        """
        ...

    def scratch(self) -> Path:
        """A fresh path on this machine for writing a file that is to be adopted; nothing is there yet."""
        ...

    async def sweep_temp(self, older_than_s: float) -> int:
        """Remove what crashes left half-written, last written more than that many seconds ago; how many files it was."""
        ...

    async def stat(self, name: str) -> BlobStat | None:
        """Size and version of ``name``, or None when it is not there."""
        ...

    def local_path(self, name: str) -> Path | None:
        """A path on this machine from which ``name`` can be served directly, or None when there is none."""
        ...

    async def url(self, name: str, expires_s: float) -> str | None:
        """An address from which anybody can GET ``name`` for that long, or None when the store has no such thing."""
        ...

    async def delete(self, name: str) -> None:
        """Remove ``name``; a no-op when it is not there."""
        ...

    def names(self, older_than_s: float) -> AsyncIterator[str]:
        """Names of blobs last written more than that many seconds ago (for orphan collection)."""
        ...

    async def free_bytes(self) -> int | None:
        """Free space, or None when the store has no such bound."""
        ...

    def close(self) -> None:
        """Give back what is held, once what is under way is done."""
        ...
