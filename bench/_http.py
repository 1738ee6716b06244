"""Small HTTP clients that cost little beside what they measure: one kept connection, no library between it and the clock."""

import http.client
import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

_POLL_S = 0.02
_AUDIBLE = 1024
"""Bytes of a stream that cannot be a header alone."""


class Client:
    """One connection to a server; opened again when the other side closes it."""

    def __init__(self, url: str, timeout_s: float = 900) -> None:
        parts = urlsplit(url)
        self._connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=timeout_s)

    def close(self) -> None:
        """Hang up."""
        self._connection.close()

    def request(self, method: str, path: str, body: object = None) -> tuple[int, bytes]:
        """Status and body of the answer."""
        try:
            self._send(method, path, body)
            answer = self._connection.getresponse()
            return answer.status, answer.read()
        except OSError:
            self.close()  # so that the next request may try again
            raise

    def ask(self, method: str, path: str, body: object = None) -> bytes:
        """The body of an answer that must be a good one."""
        status, data = self.request(method, path, body)
        if status >= 300:
            raise RuntimeError(f"{method} {path}: {status} {data[:300]!r}")
        return data

    def timed(self, path: str, body: object) -> float:
        """Seconds from sending a POST to the last byte of its audio."""
        begun = time.perf_counter()
        data = self.ask("POST", path, body)
        took = time.perf_counter() - begun
        if len(data) < _AUDIBLE:
            raise RuntimeError(f"{path}: no audio but {data[:300]!r}")
        return took

    def _send(self, method: str, path: str, body: object) -> None:
        data = None if body is None else json.dumps(body).encode()
        self._connection.request(method, path, data, {"Content-Type": "application/json"})

    # -- Rhapsode -----------------------------------------------------------------------------------------------

    def speak(self, text: str, **fields: object) -> float:
        """Seconds that ``POST /tts`` takes."""
        return self.timed("/tts", {"text": text} | fields)

    def enqueue(self, text: str, **fields: object) -> str:
        """Queue a job; its id."""
        return str(json.loads(self.ask("POST", "/tts/enqueue", {"text": text} | fields))["job_id"])

    def status(self, job_id: str) -> dict[str, Any]:
        """How the job stands."""
        return dict(json.loads(self.ask("GET", f"/tts/{job_id}/status")))

    def until(
        self, job_id: str, condition: Callable[[dict[str, Any]], bool], poll_s: float = _POLL_S
    ) -> dict[str, Any]:
        """Ask for the status until ``condition`` holds; a job that fails or is cancelled before is an error."""
        while not condition(found := self.status(job_id)):
            if found["status"] in ("failed", "cancelled"):
                raise RuntimeError(f"job {job_id}: {found['status']}: {found['error']}")
            time.sleep(poll_s)
        return found

    def done(self, job_id: str, poll_s: float = _POLL_S) -> dict[str, Any]:
        """Wait until the job is completed."""
        return self.until(job_id, lambda found: found["status"] == "completed", poll_s)

    def cancel(self, job_id: str) -> None:
        """Cancel a job that may have ended."""
        self.request("DELETE", f"/tts/{job_id}")

    @contextmanager
    def stream(self, method: str, path: str, body: object = None) -> Iterator[float]:
        """Read up to the first audio; gives the moment it came, then breaks off."""
        self._send(method, path, body)
        answer = self._connection.getresponse()
        got = 0
        while got < _AUDIBLE:
            data = answer.read1(65536)
            if not data:
                raise RuntimeError(f"{method} {path}: {answer.status}, ended after {got} bytes")
            got += len(data)
        if answer.status != 200:
            raise RuntimeError(f"{method} {path}: {answer.status}")
        try:
            yield time.perf_counter()
        finally:
            self.close()
