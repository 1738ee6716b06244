"""Results in their store, which may be away for a while."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator
from pathlib import Path

from rhapsode.blobs.base import BlobStore
from rhapsode.errors import StorageAway
from rhapsode.jobs.shop import Shop

log = logging.getLogger(__name__)


async def store_result(shop: Shop, path: Path, name: str) -> None:
    """Put a finished file among the results, however long their store is away."""
    await shop.patience.keep_trying(lambda: shop.results.adopt(path, name), (StorageAway,))


async def drop(store: BlobStore, name: str) -> None:
    """Delete what no row names any more; what cannot be deleted now is the sweeper's."""
    try:
        await store.delete(name)
    except StorageAway as error:
        log.warning("%s is left to the sweeper: %s", name, error)


@contextlib.asynccontextmanager
async def local_copy(store: BlobStore, name: str) -> AsyncIterator[Path]:
    """A file with the bytes of a blob: its own where it has one, else one that is gone when the block ends.

    Raises:
        BlobError: The blob is not there.
        StorageAway: Its store cannot be reached now.
    """
    path = store.local_path(name)
    if path is not None:
        yield path
        return
    path = store.scratch()
    try:
        async for data in store.read(name):
            await asyncio.to_thread(_append, path, data)
        yield path
    finally:
        await asyncio.to_thread(path.unlink, missing_ok=True)


def _append(path: Path, data: bytes) -> None:
    with path.open("ab") as file:
        file.write(data)
