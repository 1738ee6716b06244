"""Blobs in a bucket of any S3-compatible store. Needs the extra ``s3``.

Credentials come from where AWS's tools look: the environment (``AWS_ACCESS_KEY_ID`` …), the container's or the machine's role.
"""

import asyncio
import contextlib
import mimetypes
import shutil
import time
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from urllib.parse import urlsplit

import obstore
from obstore.exceptions import BaseError
from obstore.store import S3Store

from rhapsode.blobs.base import NAME, BlobStat, BlobStore, checked_name
from rhapsode.durable import TEMP_PREFIX
from rhapsode.errors import BlobError, ConfigError, RhapsodeError, StorageAway

_PIECE = 4 * 1024 * 1024
"""Bytes of one request when a blob is read."""
_PART = 8 * 1024 * 1024
_PARTS_AT_ONCE = 4
"""Of an upload; with the above it bounds its memory."""
_RETRY = {"max_retries": 3, "retry_timeout": timedelta(seconds=8), "backoff": {"max_backoff": timedelta(seconds=1)}}
"""Within one call, against hiccups; a store that is away for longer is waited for by the callers."""
_PAGE = 1000


@dataclass(frozen=True, slots=True)
class S3Options:
    """Where the bucket is."""

    url: str
    """``s3://bucket`` or ``s3://bucket/prefix``."""
    endpoint: str = ""
    """Address of the store; empty: AWS's, or what ``AWS_ENDPOINT_URL`` says."""
    region: str = ""
    """Empty: what ``AWS_REGION`` says, else us-east-1."""
    timeout_s: float = 60.0
    """Of one request."""


class S3Blobs(BlobStore):
    """See :class:`rhapsode.blobs.base.BlobStore`.

    A blob is one object; S3 shows it whole or not at all, and keeps it durably once it has answered.

    Args:
        options: The bucket.
        folder: Name behind the bucket's prefix, such as ``takes``.
        scratch: Folder of this machine where files lie before they are uploaded; made when it is missing.

    Raises:
        ConfigError: The URL names no bucket.
    """

    def __init__(self, options: S3Options, folder: str, scratch: Path) -> None:
        bucket, prefix = bucket_of(options.url)
        where = {"region": options.region} if options.region else {}
        if options.endpoint:
            where["endpoint"] = options.endpoint
        self._store = S3Store(
            bucket,
            prefix="/".join(filter(None, (prefix, folder))),
            config=where,  # type: ignore[arg-type]  # its keys are those of S3Config
            client_options={"allow_http": True, "timeout": timedelta(seconds=options.timeout_s)},
            retry_config=_RETRY,  # type: ignore[arg-type]
        )
        self._label = f"{options.url.rstrip('/')}/{folder}"
        self._scratch = scratch
        scratch.mkdir(parents=True, exist_ok=True)

    async def put(self, name: str, data: bytes) -> None:  # noqa: D102 - see the contract, here and below
        with self._explained(checked_name(name), missing=StorageAway):
            await obstore.put_async(self._store, name, data, attributes=_attributes(name), use_multipart=False)

    async def get(self, name: str) -> bytes:  # noqa: D102
        with self._explained(checked_name(name)):
            answer = await obstore.get_async(self._store, name)
            return bytes(await answer.bytes_async())

    def get_here(self, name: str) -> bytes | None:  # noqa: D102
        return None

    async def read(self, name: str, start: int = 0, end: int | None = None) -> AsyncIterator[bytes]:  # noqa: D102
        with self._explained(checked_name(name)):
            size = (await obstore.head_async(self._store, name))["size"]
        end = size if end is None else min(end, size)
        while start < end:  # a request for each piece: no timeout hits a reader who takes his time
            with self._explained(name):
                data = await obstore.get_range_async(self._store, name, start=start, end=min(start + _PIECE, end))
            start += len(data)
            yield bytes(data)

    async def adopt(self, path: Path, name: str) -> None:  # noqa: D102
        checked_name(name)
        if not await asyncio.to_thread(path.is_file):
            raise BlobError(f"There is no file {path} to store as {name}.")
        with self._explained(name, missing=StorageAway):
            await obstore.put_async(
                self._store,
                name,
                path,
                attributes=_attributes(name),
                chunk_size=_PART,
                max_concurrency=_PARTS_AT_ONCE,
            )
        await asyncio.to_thread(path.unlink, missing_ok=True)

    def scratch(self) -> Path:  # noqa: D102
        return self._scratch / f"{TEMP_PREFIX}{uuid.uuid4().hex}"

    async def stat(self, name: str) -> BlobStat | None:  # noqa: D102
        with self._explained(checked_name(name)):
            try:
                found = await obstore.head_async(self._store, name)
            except FileNotFoundError:
                return None
        return BlobStat(found["size"], (found["e_tag"] or f"{found['last_modified'].timestamp():x}").strip('"'))

    def local_path(self, name: str) -> Path | None:  # noqa: D102
        checked_name(name)
        return None

    async def url(self, name: str, expires_s: float) -> str | None:  # noqa: D102
        with self._explained(checked_name(name)):
            return await asyncio.to_thread(obstore.sign, self._store, "GET", name, timedelta(seconds=expires_s))

    async def delete(self, name: str) -> None:  # noqa: D102
        with self._explained(checked_name(name)), contextlib.suppress(FileNotFoundError):
            await obstore.delete_async(self._store, name)

    async def names(self, older_than_s: float) -> AsyncIterator[str]:  # noqa: D102
        before = time.time() - older_than_s
        pages = obstore.list(self._store, chunk_size=_PAGE)
        while True:
            with self._explained("its list"):
                page = await anext(pages, None)
            if page is None:
                return
            for found in page:
                name = found["path"].rpartition("/")[2]
                if NAME.fullmatch(name) and found["last_modified"].timestamp() < before:
                    yield name

    async def sweep_temp(self, older_than_s: float) -> int:  # noqa: D102
        return await asyncio.to_thread(self._sweep_temp, time.time() - older_than_s)

    async def free_bytes(self) -> int | None:
        """Of the folder where files lie before they are uploaded; the bucket has no bound."""
        return (await asyncio.to_thread(shutil.disk_usage, self._scratch)).free

    def close(self) -> None:  # noqa: D102
        pass

    def _sweep_temp(self, before: float) -> int:
        count = 0
        for path in self._scratch.glob(f"{TEMP_PREFIX}*"):
            with contextlib.suppress(FileNotFoundError):
                if path.stat().st_mtime < before:
                    path.unlink()
                    count += 1
        return count

    @contextmanager
    def _explained(self, name: str, missing: type[RhapsodeError] = BlobError) -> Iterator[None]:
        """Tell what is missing from what cannot be reached; nothing is missing for a write but the bucket."""
        try:
            yield
        except FileNotFoundError as error:
            if missing is BlobError:
                raise BlobError(f"The bytes of {name} are missing.") from error
            raise missing(f"{self._label} cannot be used now: there is no such bucket") from error
        except (BaseError, OSError, ValueError) as error:
            raise StorageAway(f"{self._label} cannot be used now ({name}): {_cause(error)}") from error


def bucket_of(url: str) -> tuple[str, str]:
    """Bucket and prefix of ``s3://bucket/prefix``.

    Raises:
        ConfigError: It names no bucket.
    """
    parts = urlsplit(url)
    if parts.scheme != "s3" or not parts.netloc or parts.query:
        raise ConfigError(f"blobs.url = {url!r}: must be s3://bucket or s3://bucket/prefix")
    return parts.netloc, parts.path.strip("/")


def _attributes(name: str) -> dict[str, str]:
    """What a browser is told that fetches the object itself."""
    media_type, _ = mimetypes.guess_type(name)
    return {
        "Content-Type": media_type or "application/octet-stream",
        "Content-Disposition": f'attachment; filename="{name}"',
    }


def _cause(error: Exception) -> str:
    """The kernel of the client's message, which goes on for lines."""
    text = " ".join(str(error).partition("Debug source")[0].split())
    return text if len(text) <= 200 else f"{text[:199]}…"
