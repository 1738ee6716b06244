"""Sound: as it is made, and as finished files that appear whole or not at all."""

import os
import uuid
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import BinaryIO

import httpx

from rhapsode.client.errors import Unreachable
from rhapsode.client.flow import Ask, Do, Flow, Give, Pause, Read
from rhapsode.durable import sync_folder

_FRUITLESS = 3
"""Tries of a download in a row that bring no byte before it is given up."""
_PAUSE_S = 0.5
_SILENCE_S = 600.0
"""How long a live stream may have nothing to say: its job may wait for others, a full disk or an engine."""
_WRITE = 1 << 20
"""Bytes that are written at a time."""

OnBytes = Callable[[int, int], object]
"""Called with the bytes so far and in all."""


def stream(job_id: str, audio_format: str | None = None, segment: int = 0) -> Flow[None]:
    """Audio while it is made. A job that fails raises Unreachable in the middle, because its transfer breaks off.

    Args:
        job_id: The job.
        audio_format: mp3, opus, aac, wav, pcm or flac; None: as the result.
        segment: Where to begin; the job speaks it next.
    """
    query = {"format": audio_format} if audio_format else {}
    if segment:
        query["segment"] = str(segment)
    yield Ask("GET", f"/tts/{job_id}/audio", params=query, silence_s=_SILENCE_S, open=True)
    while data := (yield Read()):
        yield Give(data)


def download(
    job_id: str, target: str | Path, on_bytes: OnBytes | None = None, *, audio_format: str | None = None
) -> Flow[int]:
    """Fetch a finished file. It appears at ``target`` whole or not at all; a broken transfer goes on where it stopped.

    Args:
        job_id: A completed job.
        target: The file; one that is there is replaced.
        on_bytes: Called with the bytes so far and in all.
        audio_format: wav, flac, mp3, opus or aac, made from the same takes; None: as asked for at submit.

    Returns:
        Its size in bytes.

    Raises:
        OSError: ``target`` cannot be written.
    """
    query = {"format": audio_format} if audio_format else {}
    return (yield from _save(f"/tts/{job_id}/result", query, Path(target), on_bytes))


def download_segment(job_id: str, segment: int, target: str | Path, *, audio_format: str = "wav") -> Flow[int]:
    """Fetch one segment as it sounds in the finished audio; its size in bytes."""
    path = f"/tts/{job_id}/segments/{segment}/audio"
    return (yield from _save(path, {"format": audio_format}, Path(target), None))


def download_batch(batch_id: str, target: str | Path, on_bytes: OnBytes | None = None) -> Flow[int]:
    """Fetch all finished files of a batch as a ZIP archive; its size in bytes. A broken transfer begins anew."""
    return (yield from _save(f"/batches/{batch_id}/result", {}, Path(target), on_bytes))


def subtitles(job_id: str, kind: str = "vtt") -> Flow[str]:
    """Subtitles of a completed job: ``vtt`` or ``srt``."""
    answer = yield Ask("GET", f"/tts/{job_id}/subtitles.{kind}")
    found: str = answer.text
    return found


def _save(path: str, query: Mapping[str, str], target: Path, on_bytes: OnBytes | None) -> Flow[int]:
    part = target.with_name(f".rhapsode-{uuid.uuid4().hex}.part")
    try:
        with part.open("xb") as file:
            size = yield from _fetch(path, query, file, on_bytes)
            yield Do(partial(_sync, file))
        yield Do(partial(_publish, part, target))
    finally:
        part.unlink(missing_ok=True)
    return size


def _fetch(path: str, query: Mapping[str, str], file: BinaryIO, on_bytes: OnBytes | None) -> Flow[int]:
    """Write the whole to ``file``; each new try asks for what is missing, of the very same version."""
    validator, fruitless = "", 0
    while True:
        had = file.tell()
        try:
            answer = yield Ask("GET", path, params=dict(query), headers=_from(had, validator), open=True)
            if answer.status_code != httpx.codes.PARTIAL_CONTENT:
                file.seek(0)
                file.truncate()
            total = file.tell() + int(answer.headers.get("content-length", 0))
            validator = answer.headers.get("etag", "")
            yield from _copy(file, total, on_bytes)
            return file.tell()
        except Unreachable:
            fruitless = fruitless + 1 if file.tell() <= had else 0
            if fruitless >= _FRUITLESS:
                raise
            yield Pause(_PAUSE_S)


def _copy(file: BinaryIO, total: int, on_bytes: OnBytes | None) -> Flow[None]:
    """Write what comes; what came before a transfer breaks is written too."""
    pending = bytearray()
    begin = file.tell()
    try:
        while data := (yield Read()):
            pending += data
            if on_bytes:
                begin += len(data)
                on_bytes(begin, total)
            if len(pending) >= _WRITE:
                yield Do(partial(file.write, bytes(pending)))
                pending.clear()
    finally:
        file.write(pending)


def _from(offset: int, validator: str) -> dict[str, str]:
    """Headers that ask for what is missing; without a validator the whole is asked for."""
    return {"Range": f"bytes={offset}-", "If-Range": validator} if offset and validator else {}


def _sync(file: BinaryIO) -> None:
    file.flush()
    os.fsync(file.fileno())


def _publish(part: Path, target: Path) -> None:
    """The name is to survive power loss as well, where folders can be synced."""
    part.replace(target)
    if os.name != "nt":
        sync_folder(target.parent)
