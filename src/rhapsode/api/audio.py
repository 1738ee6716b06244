"""Finished files and live streams as HTTP answers."""

import contextlib
import os
import re
from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from fastapi import Request, Response
from fastapi.responses import RedirectResponse, StreamingResponse
from starlette.types import Receive, Scope, Send

from rhapsode.api.connection import ClientLeft, while_connected
from rhapsode.api.errors import job_failed, problem
from rhapsode.api.ranges import FileInParts, bytes_response, matches, stream_response
from rhapsode.audio.encode import content_type, extension
from rhapsode.blobs.base import BlobStat, BlobStore
from rhapsode.errors import Gone, StorageFull
from rhapsode.jobs.early import EarlyResult
from rhapsode.jobs.live import live_audio
from rhapsode.jobs.saved import output_name
from rhapsode.jobs.service import JobService
from rhapsode.model import AudioFormat, Job, JobStatus

AS_IT_COMES = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
"""Headers of what is sent while it is made: neither kept nor held back on the way."""
AUDIO: dict[int | str, dict[str, Any]] = {
    200: {"description": "The audio.", "content": {content_type(name): {} for name in AudioFormat}},
    206: {"description": "Part of it."},
}
"""What OpenAPI says of answers that are audio."""
_RETRY_AFTER_S = 2
_NEW_S = 60.0
"""Reading a result so soon behind its making does not move its expiry."""


def download_name(job: Job) -> str:
    """Under which name a job's audio is offered."""
    return output_name(job, job.ended_at or job.created_at)


def job_headers(job: Job) -> dict[str, str]:
    """Headers that every audio answer has."""
    headers = {"X-Job-Id": job.id, "X-Seed": str(job.request.seed)}
    if job.warnings:
        headers["X-Warnings"] = re.sub(r"[^ -~]", "?", "; ".join(job.warnings))[:2000]  # warnings may quote the text
    return headers


def disposition(name: str) -> dict[str, str]:
    """``Content-Disposition`` with nothing behind the name: a known client splits on ``filename=``."""
    return {"Content-Disposition": f'attachment; filename="{name}"'}


def unfinished(job: Job, what: str) -> Response | None:
    """The answer while ``what`` is not there: 425 as long as it may come, else how the job ended; None once it is completed."""
    if job.status is JobStatus.COMPLETED:
        return None
    if job.status.is_terminal:
        return job_failed(job)
    headers = {"Retry-After": str(_RETRY_AFTER_S), "Cache-Control": "no-store"}
    detail = f"{what} of job {job.id} is not there yet: the job is {job.status}, {job.progress:g} % done"
    return problem(425, "too_early", detail, headers=headers)


async def result_response(service: JobService, job: Job, request: Request) -> Response:
    """The finished file, with ranges, validators and a true length.

    Raises:
        Gone: The file is no longer there, and neither are all of its takes.
    """
    stat = await service.results.stat(job)
    if stat is None and (newer := await service.shop.ledger.get_job(job.id)) and newer.result != job.result:
        job, stat = newer, await service.results.stat(newer)  # revised in this moment
    if job.result is None or stat is None:
        raise Gone(f"the result of job {job.id} is no longer there, and cannot be made again from what is left of it")
    etag = _etag(job.result.digest, job.result.revision)
    found = _Found(service.shop.results, job.result.name, stat, job.result.format, etag)
    return await _stored_response(service, job, request, found)


async def spoken_response(service: JobService, job: Job, request: Request) -> Response:
    """The audio of a job that somebody waits for, or how it failed. The job is cancelled when the client leaves before.

    Raises:
        ClientLeft: It did.
        Gone: As in :func:`result_response`.
    """
    async with service.attend(job):
        heard = await while_connected(request, service.heard(job))
    if isinstance(heard, EarlyResult):
        ended = replace(heard.job, ended_at=service.shop.clock())
        headers = job_headers(ended) | disposition(download_name(ended)) | {"ETag": _etag(heard.digest, 1)}
        return bytes_response(request, heard.data, content_type(job.request.output_format), headers)
    if heard.status is not JobStatus.COMPLETED:
        return job_failed(heard)
    return await result_response(service, heard, request)


def _etag(digest: str, revision: int) -> str:
    return f'"{digest[:32]}-{revision}"'


async def rendition_response(service: JobService, job: Job, request: Request, audio_format: AudioFormat) -> Response:
    """The finished file in another format, made from the same takes when it is not there yet; else like the result.

    Raises:
        Gone, Unavailable, StorageFull: It cannot be made.
        ClientLeft: Nobody waits for it any more.
    """
    if service.scheduler.disk_full and not await service.renditions.is_made(job, audio_format):
        raise StorageFull("too little of the disk is free to make another format (limits.min_free_disk_mb)")
    name, stat = await while_connected(request, service.renditions.find(job, audio_format))
    revision = job.result.revision if job.result else 0
    etag = f'"{job.id}-{revision}-{audio_format}-{stat.version}"'
    found = _Found(service.shop.renditions, name, stat, audio_format, etag)
    return await _stored_response(service, job, request, found)


@dataclass(frozen=True, slots=True)
class _Found:
    """A finished file in its store."""

    store: BlobStore
    name: str
    stat: BlobStat
    format: AudioFormat
    etag: str


async def _stored_response(service: JobService, job: Job, request: Request, found: _Found) -> Response:
    """The file from this machine's disk, or from a bucket: through here, or by its own address if so configured."""
    if not job.ended_at or service.shop.clock() - job.ended_at > _NEW_S:
        await service.shop.ledger.touch_result(job.id)
    name = f"{Path(download_name(job)).stem}.{extension(found.format)}"
    headers: Mapping[str, str] = job_headers(job) | disposition(name) | {"ETag": found.etag}
    if matches(request, found.etag):
        return Response(status_code=304, headers=headers)
    media_type = content_type(found.format)
    if path := found.store.local_path(found.name):
        return FileInParts(path, headers=headers, media_type=media_type, stat_result=_stat(path, job))
    expires_s = service.settings.blobs.redirect_sec
    if request.method == "GET" and expires_s and (url := await found.store.url(found.name, expires_s)):
        return RedirectResponse(url, 307, job_headers(job) | {"Cache-Control": "no-store"})
    read = partial(found.store.read, found.name)
    return await stream_response(request, read, found.stat.size, media_type, headers)


def _stat(path: Path, job: Job) -> os.stat_result:
    try:
        return path.stat()
    except FileNotFoundError as error:
        raise Gone(f"the result of job {job.id} is no longer there") from error


class LiveResponse(StreamingResponse):
    """A stream whose source is closed when it ends, however it ends."""

    def __init__(self, request: Request, first: bytes, rest: AsyncGenerator[bytes, None], **kwargs: Any) -> None:
        super().__init__(self._pieces(request, first, rest), **kwargs)
        self._rest = rest

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send; a source that fails breaks the transfer off without a clean end."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            await self._rest.aclose()

    async def _pieces(
        self, request: Request, first: bytes, rest: AsyncGenerator[bytes, None]
    ) -> AsyncGenerator[bytes, None]:
        yield first
        with contextlib.suppress(ClientLeft):
            while data := await while_connected(request, next_piece(rest)):
                yield data


async def next_piece(stream: AsyncGenerator[bytes, None]) -> bytes:
    """The next bytes of a stream, empty at its end."""
    return await anext(stream, b"")


async def live_response(
    service: JobService, job: Job, request: Request, audio_format: AudioFormat, start: int = 0
) -> Response:
    """Audio while it is made: headers go out with the first take; a job that fails breaks the transfer off.

    The listener counts as a waiter of an attached job.

    Raises:
        JobEnded: The job ended before its first take.
        ClientLeft: So did the client.
    """
    stream = _attended(service, job, audio_format, start)
    try:
        first = await while_connected(request, next_piece(stream))
    except BaseException:
        await stream.aclose()
        raise
    headers = _live_headers(job, audio_format)
    return LiveResponse(request, first, stream, headers=headers, media_type=content_type(audio_format))


def live_head(job: Job, audio_format: AudioFormat) -> Response:
    """What HEAD says of audio that is still being made: all but a length, which nobody knows."""
    answer = Response(headers=_live_headers(job, audio_format), media_type=content_type(audio_format))
    del answer.headers["content-length"]
    return answer


def _live_headers(job: Job, audio_format: AudioFormat) -> Mapping[str, str]:
    name = f"{Path(download_name(job)).stem}.{extension(audio_format)}"
    return job_headers(job) | disposition(name) | AS_IT_COMES


async def _attended(
    service: JobService, job: Job, audio_format: AudioFormat, start: int
) -> AsyncGenerator[bytes, None]:
    async with (
        service.attend(job),
        contextlib.aclosing(live_audio(service.shop, service.scheduler, job, audio_format, start)) as stream,
    ):
        async for data in stream:
            yield data
