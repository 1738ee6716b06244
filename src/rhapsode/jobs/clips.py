"""Clips: what voices are cloned from. Copies made of reference recordings once per content; the recordings stay as they are.

A clip is named by the SHA-256 of its bytes and stays as long as a job needs it, whatever becomes of its recording. Beside it, under
names that begin with the same digest, engines keep what they compute of it.
"""

import asyncio
import hashlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from rhapsode.audio.clip import RATE
from rhapsode.audio.probe import probe
from rhapsode.audio.wav import HEADER
from rhapsode.blobs.base import BlobStore
from rhapsode.ledger.base import Ledger

SUFFIX = ".wav"
_DIGEST_CHARS = 64
_PROBES = 2
"""Recordings that are decoded at once, each in a process of its own."""


@dataclass(frozen=True, slots=True)
class Clip:
    """What a voice is cloned from."""

    digest: str
    seconds: float


class Clips:
    """Makes clips of recordings, and knows which are still needed."""

    def __init__(self, store: BlobStore) -> None:
        self.store = store
        self._probing = asyncio.Semaphore(_PROBES)
        self._known: dict[Path, tuple[tuple[int, int], Clip]] = {}
        """Size and time of change of recordings, and their clips."""

    async def of(self, recording: Path, max_s: float) -> Clip:
        """The recording's clip, which is made now unless that was done since the recording last changed.

        Args:
            recording: The file.
            max_s: Longest sound that is allowed, seconds.

        Raises:
            InvalidInput: It is no recording that can be cloned; says why.
            OSError: It cannot be read, or the clip cannot be stored.
        """
        stat = await asyncio.to_thread(recording.stat)
        stamp = (stat.st_size, stat.st_mtime_ns)
        known = self._known.get(recording)
        if known is not None and known[0] == stamp and await self.store.stat(known[1].digest + SUFFIX):
            return known[1]
        clip = await self.make(recording, max_s)
        self._known[recording] = (stamp, clip)
        return clip

    async def make(self, recording: Path, max_s: float) -> Clip:
        """Make the recording's clip, and with that find out whether it can be made; see :meth:`of`."""
        draft = self.store.scratch()
        try:
            async with self._probing:
                await probe(recording, max_s, draft)
            data = await asyncio.to_thread(draft.read_bytes)
        finally:
            await asyncio.to_thread(draft.unlink, missing_ok=True)
        digest = hashlib.sha256(data).hexdigest()
        await self.store.put(digest + SUFFIX, data)
        return Clip(digest, (len(data) - HEADER.size) / 2 / RATE)

    async def unneeded(self, names: Sequence[str], ledger: Ledger) -> Collection[str]:
        """Those files of the store that belong to no clip that a job or a recording asked for here has."""
        digests = {name[:_DIGEST_CHARS] for name in names}
        needed = await ledger.known_clips(sorted(digests)) | {clip.digest for _, clip in self._known.values()}
        return [name for name in names if name[:_DIGEST_CHARS] not in needed]

    def forget(self, recording: Path) -> None:
        """The recording is gone: its clip stays only for jobs that have it."""
        self._known.pop(recording, None)
