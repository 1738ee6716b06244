"""A synchronous client of the HTTP API: submit, watch, fetch. The command line speaks to its server through it."""

import os
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self, TypeVar

import httpx
import msgspec

from rhapsode.errors import RhapsodeError
from rhapsode.model import JobStatus, Pronunciation

T = TypeVar("T")

_CONNECT_S = 5.0
_ANSWER_S = 60.0
_FIRST_POLL_S = 0.05
_LAST_POLL_S = 0.5
_FRUITLESS = 3
"""Tries of a download in a row that bring no byte before it is given up."""
_PAUSE_S = 0.5


class ServerRefused(RhapsodeError):
    """The server answered with an error; the message is its own ``detail``.

    Args:
        status: The HTTP status.
        detail: One sentence for people.
        code: The stable word for programs, empty when the answer had none.
    """

    def __init__(self, status: int, detail: str, code: str = "") -> None:
        super().__init__(detail)
        self.status = status
        self.code = code


class Unreachable(RhapsodeError):
    """There is no answer: no server at this address, or the connection broke."""


@dataclass(frozen=True, slots=True)
class SegmentCounts:
    """Segments of a job."""

    done: int = 0
    failed: int = 0
    total: int = 0
    planned: bool = False
    """Whether ``total`` is final: long texts are still being planned while the first segments speak."""


@dataclass(frozen=True, slots=True)
class CharCounts:
    """Characters of a job's text."""

    done: int = 0
    total: int = 0


@dataclass(frozen=True, slots=True)
class Metrics:
    """What a job took."""

    queue_seconds: float = 0.0
    synth_seconds: float = 0.0
    realtime_factor: float | None = None
    """Synthesis seconds per second of audio."""
    first_audio_seconds: float | None = None
    """From submit to the first stored take."""


@dataclass(frozen=True, slots=True)
class Eta:
    """Seconds until a job is done: the median, and what nine of ten keep."""

    p50: float
    p90: float


@dataclass(frozen=True, slots=True)
class JobInfo:
    """A job as ``GET /tts/{id}/status`` shows it. Times are ISO 8601, UTC."""

    job_id: str
    status: JobStatus
    progress: float = 0.0
    """Percent."""
    created_at: str | None = None
    started_at: str | None = None
    completed_at: str | None = None
    elapsed_sec: float | None = None
    error: str | None = None
    queue_position: int | None = None
    eta_seconds: Eta | None = None
    run: int = 1
    segments: SegmentCounts = field(default_factory=SegmentCounts)
    chars: CharCounts = field(default_factory=CharCounts)
    audio_seconds: float = 0.0
    metrics: Metrics = field(default_factory=Metrics)
    priority: str = ""
    seed: int = 0
    engine: str = ""
    voice: str = ""
    output_format: str = ""
    warnings: tuple[str, ...] = ()
    waiting_for: str | None = None
    expires_at: str | None = None
    kept: bool = False


@dataclass(frozen=True, slots=True)
class JobPage:
    """Jobs, newest first, and where older ones go on (None: nowhere)."""

    jobs: tuple[JobInfo, ...]
    next_cursor: str | None = None


@dataclass(frozen=True, slots=True)
class VoiceInfo:
    """A voice that the server can speak."""

    display_name: str
    filename: str


@dataclass(frozen=True, slots=True)
class SpeechOptions:
    """How to speak a text; what is None is left to the server. The names are those of the request's body."""

    predefined_voice_id: str | None = None
    output_format: str | None = None
    speed_factor: float | None = None
    seed: int | None = None
    language: str | None = None
    chunk_size: int | None = None
    temperature: float | None = None
    priority: str | None = None

    def body(self, text: str) -> dict[str, object]:
        """The request's body. ``output_format`` is always there: its absence would mean WAV."""
        given = {name: getattr(self, name) for name in self.__dataclass_fields__}
        return {"text": text} | {k: v for k, v in given.items() if v is not None or k == "output_format"}


@dataclass(frozen=True, slots=True)
class _Submitted:
    job_id: str


@dataclass(frozen=True, slots=True)
class _Dictionary:
    entries: list[Pronunciation]


class Client:
    """Speaks to one server. Close it, or use it as a context manager. Every method raises what the two classes above say.

    Args:
        url: Where the server answers, with its root path if it has one.
        verify: Whether an HTTPS certificate must be trusted; False only for a server of this very user on this machine.
        api_key: Sent with every request; None: none.
        transport: Another way to carry requests, for tests.
        sleep: Waits between polls and tries, seconds.
    """

    def __init__(
        self,
        url: str,
        verify: bool = True,
        api_key: str | None = None,
        transport: httpx.BaseTransport | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.url = url.rstrip("/")
        self._sleep = sleep
        try:
            address = httpx.URL(self.url)
            if address.scheme not in {"http", "https"} or not address.host:
                raise Unreachable(f"{url!r} is not the address of a server; it begins with http:// or https://")
            self._http = httpx.Client(
                base_url=address,
                verify=verify,
                transport=transport,
                timeout=httpx.Timeout(_ANSWER_S, connect=_CONNECT_S),
                trust_env=address.host not in {"127.0.0.1", "::1", "localhost"},  # no proxy between us and ourselves
                headers={"Accept-Encoding": "identity"} | ({"X-API-Key": api_key} if api_key else {}),
            )
        except httpx.InvalidURL as error:
            raise Unreachable(f"{url!r} is not the address of a server: {error}") from None

    def close(self) -> None:
        """Let go of the connections."""
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # -- jobs ---------------------------------------------------------------------------------------------------

    def submit(self, text: str, options: SpeechOptions, idempotency_key: str | None = None) -> str:
        """Queue a text; once this returns it is stored.

        Args:
            text: What to speak.
            options: How.
            idempotency_key: The same key with the same text and options gives the job of before.

        Returns:
            The job's id.
        """
        headers = {"Idempotency-Key": idempotency_key} if idempotency_key else {}
        answer = self._call("POST", "/tts/enqueue", json=options.body(text), headers=headers)
        return _decode(answer, _Submitted).job_id

    def status(self, job_id: str) -> JobInfo:
        """Where a job stands."""
        return _decode(self._call("GET", f"/tts/{job_id}/status"), JobInfo)

    def wait(self, job_id: str, on_progress: Callable[[JobInfo], None] | None = None) -> JobInfo:
        """Wait until a job has ended, however it ends.

        Args:
            job_id: The job.
            on_progress: Called with each status that is seen, the last one included.
        """
        pause = _FIRST_POLL_S
        while True:
            job = self.status(job_id)
            if on_progress:
                on_progress(job)
            if job.status.is_terminal:
                return job
            self._sleep(pause)
            pause = min(pause * 1.3, _LAST_POLL_S)

    def jobs(
        self,
        status: JobStatus | None = None,
        limit: int = 50,
        cursor: str | None = None,
        *,
        tags: Sequence[str] = (),
        search: str = "",
    ) -> JobPage:
        """Jobs, newest first; with ``tags`` only those that have them all, with ``search`` those that have its words."""
        given = {"status": status, "limit": limit, "cursor": cursor, "q": search or None}
        query: dict[str, str | list[str]] = {name: str(value) for name, value in given.items() if value is not None}
        return _decode(self._call("GET", "/tts", params=query | {"tag": list(tags)}), JobPage)

    def cancel(self, job_id: str) -> None:
        """Cancel an unfinished job; what is done of it is kept until it expires."""
        self._call("DELETE", f"/tts/{job_id}")

    def purge(self, job_id: str) -> None:
        """Delete a job, its text and its audio."""
        self._call("DELETE", f"/tts/{job_id}", params={"purge": "true"})

    def retry(self, job_id: str) -> JobInfo:
        """Queue a failed or cancelled job again; what is done of it is not made again."""
        return _decode(self._call("POST", f"/tts/{job_id}/retry"), JobInfo)

    # -- voices and health --------------------------------------------------------------------------------------

    def voices(self) -> Sequence[VoiceInfo]:
        """Voices that can be spoken now; the first is the engine's own default."""
        return _decode(self._call("GET", "/get_predefined_voices"), list[VoiceInfo])

    def dictionary(self) -> Sequence[Pronunciation]:
        """How words are spoken, sorted."""
        return _decode(self._call("GET", "/dictionary"), _Dictionary).entries

    def import_dictionary(self, document: str) -> int:
        """Add the words of a W3C pronunciation lexicon; how many there are then."""
        headers = {"Content-Type": "application/pls+xml"}
        answer = self._call("POST", "/dictionary/import", content=document.encode(), headers=headers)
        return len(_decode(answer, _Dictionary).entries)

    def is_alive(self) -> bool:
        """Whether a server answers."""
        try:
            self._call("GET", "/livez", timeout=_CONNECT_S)
        except (Unreachable, ServerRefused):
            return False
        return True

    # -- audio --------------------------------------------------------------------------------------------------

    def stream(self, job_id: str, audio_format: str | None = None) -> Iterator[bytes]:
        """Audio while it is made: a job that fails raises Unreachable in the middle, because its transfer breaks off.

        Args:
            job_id: The job.
            audio_format: mp3, opus, aac, wav, pcm or flac; None: as the result.
        """
        query = {"format": audio_format} if audio_format else {}
        with self._open(f"/tts/{job_id}/audio", params=query) as answer:
            yield from answer.iter_bytes()

    def download(self, job_id: str, target: Path, on_bytes: Callable[[int, int], None] | None = None) -> int:
        """Fetch a finished file. It appears at ``target`` whole or not at all; a broken transfer goes on where it stopped.

        Args:
            job_id: A completed job.
            target: The file; one that is there is replaced.
            on_bytes: Called with the bytes so far and in all.

        Returns:
            Its size in bytes.

        Raises:
            OSError: ``target`` cannot be written.
        """
        part = target.with_name(f".rhapsode-{uuid.uuid4().hex}.part")
        try:
            with part.open("xb") as file:
                size = self._fetch(job_id, file, on_bytes)
                file.flush()
                os.fsync(file.fileno())
            part.replace(target)
        except BaseException:
            part.unlink(missing_ok=True)
            raise
        _sync_folder(target.parent)
        return size

    def _fetch(self, job_id: str, file: BinaryIO, on_bytes: Callable[[int, int], None] | None) -> int:
        """Write the whole result to ``file``; each new try asks for what is missing, of the very same version."""
        validator, fruitless = "", 0
        while True:
            had = file.tell()
            try:
                with self._open(f"/tts/{job_id}/result", headers=_from(had, validator)) as answer:
                    if answer.status_code != httpx.codes.PARTIAL_CONTENT:
                        file.seek(0)
                        file.truncate()
                    start = file.tell()
                    validator = answer.headers.get("etag", "")
                    total = start + int(answer.headers.get("content-length", 0))
                    for data in answer.iter_bytes():
                        file.write(data)
                        if on_bytes:
                            on_bytes(file.tell(), total)
                return file.tell()
            except Unreachable:
                fruitless = fruitless + 1 if file.tell() <= had else 0
                if fruitless >= _FRUITLESS:
                    raise
                self._sleep(_PAUSE_S)

    # -- keys ---------------------------------------------------------------------------------------------------

    def keys(self) -> Sequence[dict[str, Any]]:
        """All keys, as ``GET /keys`` shows them."""
        return _decode(self._call("GET", "/keys"), list[dict[str, Any]])

    def create_key(self, body: dict[str, object]) -> dict[str, Any]:
        """Make a key; ``secret`` is in this answer only."""
        return _decode(self._call("POST", "/keys", json=body), dict[str, Any])

    def rotate_key(self, key_id: str) -> dict[str, Any]:
        """Give a key another secret, which is in this answer only."""
        return _decode(self._call("POST", f"/keys/{key_id}/rotate"), dict[str, Any])

    def revoke_key(self, key_id: str) -> None:
        """End a key."""
        self._call("DELETE", f"/keys/{key_id}")

    # -- calls --------------------------------------------------------------------------------------------------

    def _call(self, method: str, path: str, **given: Any) -> httpx.Response:
        with self._reaching():
            answer = self._http.request(method, path, **given)
        _check(answer)
        return answer

    @contextmanager
    def _open(self, path: str, **given: Any) -> Iterator[httpx.Response]:
        with self._reaching(), self._http.stream("GET", path, **given) as answer:
            if answer.is_error:
                answer.read()
            _check(answer)
            yield answer

    @contextmanager
    def _reaching(self) -> Iterator[None]:
        try:
            yield
        except httpx.TransportError as error:
            reason = str(error) or type(error).__name__
            raise Unreachable(f"no answer from {self.url}: {reason}") from error


def _from(offset: int, validator: str) -> dict[str, str]:
    """Headers that ask for what is missing; without a validator the whole is asked for."""
    return {"Range": f"bytes={offset}-", "If-Range": validator} if offset and validator else {}


def _check(answer: httpx.Response) -> None:
    if not answer.is_error:
        return
    problem: object = None
    with suppress(ValueError):
        problem = answer.json()
    found = problem if isinstance(problem, dict) else {}
    detail = str(found.get("detail") or f"{answer.request.url} answers {answer.status_code} {answer.reason_phrase}")
    raise ServerRefused(answer.status_code, detail, str(found.get("code", "")))


def _decode(answer: httpx.Response, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(answer.content, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ServerRefused(answer.status_code, f"{answer.request.url} is no Rhapsode server: {error}") from None


def _sync_folder(folder: Path) -> None:
    """Make a rename in ``folder`` durable."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
