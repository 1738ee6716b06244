"""Where bytes live: takes and results. Rows decide what exists; blobs only hold content."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Protocol


class BlobStore(Protocol):
    """A flat store of immutable byte strings by name. Names are ours (digests, result names), never a user's."""

    async def put(self, name: str, data: bytes) -> None:
        """Store ``data`` durably under ``name``: after return it survives power loss. Storing the same name again is a no-op when sizes agree."""
        ...

    async def get(self, name: str) -> bytes:
        """All bytes of ``name``.

        Raises:
            BlobError: It is not there.
        """
        ...

    async def adopt(self, path: Path, name: str) -> None:
        """Take over a finished local file as ``name``: fsync, then atomic rename (or upload). The file is gone afterwards."""
        ...

    def scratch(self) -> Path:
        """A fresh path on this machine for writing a file that is to be adopted; nothing is there yet."""
        ...

    async def sweep_temp(self, older_than_s: float) -> int:
        """Remove what crashes left half-written, last written more than that many seconds ago; how many files it was."""
        ...

    async def size(self, name: str) -> int | None:
        """Bytes of ``name``, or None when it is not there."""
        ...

    def local_path(self, name: str) -> Path | None:
        """A path on this machine from which ``name`` can be served directly, or None when there is none."""
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
