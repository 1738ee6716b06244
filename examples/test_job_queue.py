"""Try a running server's job queue over HTTP: speak a text, fetch the file, check the edge cases. Standard library only.

    python examples/test_job_queue.py
    python examples/test_job_queue.py --url http://127.0.0.1:8004 --file book.txt --output book.mp3

Exit status: 0 all is well, 1 something is not, 2 wrong arguments, 130 interrupted (the jobs that it queued are cancelled).
"""

import argparse
import contextlib
import http.client
import json
import signal
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

TEXT = "Sing to me of the man, Muse, the man of twists and turns. Many were the pains he suffered at sea."
WAITS_S = (1, 2, 3, 5, 10)
"""Between two looks at a job's status; the last one again and again."""
TIMEOUT_S = 60
UNKNOWN_ID = "00000000-0000-4000-8000-000000000000"
ENDED = frozenset({"completed", "failed", "cancelled"})
FORMATS = frozenset({"wav", "mp3", "opus", "flac"})


class Failed(Exception):
    """The server did not do what it promises; the message says what."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What the server said."""

    status: int
    body: bytes

    def json(self) -> dict[str, Any]:
        """The body as an object."""
        try:
            found = json.loads(self.body)
        except ValueError as error:
            raise Failed(f"the answer is no JSON: {self.body[:200]!r}") from error
        if not isinstance(found, dict):
            raise Failed(f"the answer is no JSON object: {self.body[:200]!r}")
        return found

    @property
    def detail(self) -> str:
        """The server's own words about an error."""
        with contextlib.suppress(Failed):
            return str(self.json().get("detail", ""))
        return self.body[:200].decode(errors="replace")


@dataclass(slots=True)
class Server:
    """A server's address, and the jobs queued there that have not ended yet."""

    url: str
    unfinished: set[str] = field(default_factory=set)

    def call(self, method: str, path: str, body: Mapping[str, Any] | bytes | None = None) -> Answer:
        """Send one request. An error status is an answer like any other.

        Raises:
            Failed: There is no answer at all.
        """
        data = body if isinstance(body, bytes | None) else json.dumps(body).encode()
        headers = {"Content-Type": "application/json"} if data is not None else {}
        request = urllib.request.Request(self.url + path, data, headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=TIMEOUT_S) as response:
                return Answer(response.status, response.read())
        except urllib.error.HTTPError as error:
            with error:
                return Answer(error.code, error.read())
        except (OSError, http.client.HTTPException) as error:
            raise Failed(f"{method} {self.url}{path}: no answer ({error}); is the server running?") from error

    def enqueue(self, text: str, **fields: object) -> str:
        """Queue a text; the job's id."""
        answer = self.call("POST", "/tts/enqueue", {"text": text, **fields})
        if answer.status != 202:
            raise Failed(f"POST /tts/enqueue answered {answer.status}: {answer.detail}")
        job_id = str(answer.json()["job_id"])
        self.unfinished.add(job_id)
        return job_id

    def wait(self, job_id: str) -> None:
        """Wait until the job is completed, looking less and less often."""
        for pause_s in pauses():
            answer = self.call("GET", f"/tts/{job_id}/status")
            if answer.status != 200:
                raise Failed(f"the status of job {job_id} answered {answer.status}, not 200: {answer.detail}")
            job = answer.json()
            waiting = f", waiting for {job['waiting_for']}" if job.get("waiting_for") else ""
            print(f"  {job['status']}: {job['progress']:g} %, {job['current_chunk']} of {job['total_chunks']}{waiting}")
            if job["status"] in ENDED:
                self.unfinished.discard(job_id)
                if job["status"] != "completed":
                    raise Failed(f"job {job_id} {job['status']}: {job['error'] or 'by somebody else'}")
                return
            time.sleep(pause_s)

    def cancel_unfinished(self) -> None:
        """Cancel what was queued here and has not ended."""
        for job_id in sorted(self.unfinished):
            try:
                answer = self.call("DELETE", f"/tts/{job_id}")
            except Failed as error:
                print(f"job {job_id} may go on: {error}", file=sys.stderr)
            else:
                outcome = "cancelled" if answer.status == 200 else f"not cancelled: {answer.detail}"
                print(f"job {job_id} {outcome}", file=sys.stderr)


def pauses() -> Iterator[int]:
    """Seconds between polls: 1, 2, 3, 5, then always 10."""
    yield from WAITS_S
    while True:
        yield WAITS_S[-1]


def expect(server: Server, status: int, what: str, method: str, path: str, body: Any = None) -> Answer:
    """Send a request that must be answered with ``status``."""
    answer = server.call(method, path, body)
    if answer.status != status:
        raise Failed(f"{what}: {method} {path} answered {answer.status}, not {status}: {answer.detail}")
    print(f"  {status} {what}")
    return answer


def speak(server: Server, text: str, output: Path) -> None:
    """From text to file, as every client does it."""
    job_id = server.enqueue(text, output_format=output.suffix[1:])
    print(f"job {job_id}")
    server.wait(job_id)
    audio = expect(server, 200, "the finished file", "GET", f"/tts/{job_id}/result").body
    if not audio:
        raise Failed(f"the result of job {job_id} is empty")
    output.write_bytes(audio)
    print(f"  {output}: {len(audio):,} bytes")
    expect(server, 409, "a completed job cannot be cancelled", "DELETE", f"/tts/{job_id}")
    expect(server, 409, "nor begun again", "POST", f"/tts/{job_id}/retry")


def check_unknown(server: Server) -> None:
    """Whatever is no job is 404, however odd its name."""
    for job_id in (UNKNOWN_ID, "no-such-job"):
        expect(server, 404, f"status of {job_id}", "GET", f"/tts/{job_id}/status")
        expect(server, 404, f"result of {job_id}", "GET", f"/tts/{job_id}/result")
        expect(server, 404, f"cancelling {job_id}", "DELETE", f"/tts/{job_id}")


def check_cancelled(server: Server) -> None:
    """A job is too early, then cancelled, then gone. It is long and of low priority: others do not notice it."""
    job_id = server.enqueue(f"{TEXT} " * 2000, priority="batch")
    expect(server, 425, "too early for the result", "GET", f"/tts/{job_id}/result")
    expect(server, 200, "cancelled", "DELETE", f"/tts/{job_id}")
    server.unfinished.discard(job_id)
    expect(server, 200, "cancelled once more", "DELETE", f"/tts/{job_id}")
    state = expect(server, 200, "its status is still there", "GET", f"/tts/{job_id}/status").json()["status"]
    if state != "cancelled":
        raise Failed(f"a cancelled job says that it is {state}")
    expect(server, 410, "no result of a cancelled job", "GET", f"/tts/{job_id}/result")
    expect(server, 200, "deleted for good", "DELETE", f"/tts/{job_id}?purge=true")
    expect(server, 410, "its status is gone too", "GET", f"/tts/{job_id}/status")


def check_bad_input(server: Server) -> None:
    """Bad input is refused, and the answer names the field."""
    cases: Sequence[tuple[int, str, Mapping[str, Any] | bytes]] = (
        (422, "text", {"text": " \n"}),
        (422, "text", {}),
        (422, "chunk_size", {"text": "Hello.", "chunk_size": 10}),
        (422, "speed_factor", {"text": "Hello.", "speed_factor": "fast"}),
        (422, "output_format", {"text": "Hello.", "output_format": "midi"}),
        (404, "predefined_voice_id", {"text": "Hello.", "predefined_voice_id": "../../etc/passwd"}),
        (400, "reference_audio_filename", {"text": "Hello.", "voice_mode": "clone"}),
        (422, "JSON", b"{ this is no JSON"),
    )
    for status, name, body in cases:
        answer = expect(server, status, f"bad {name}", "POST", "/tts/enqueue", body)
        if name not in answer.detail:
            raise Failed(f"the answer does not name {name}: {answer.detail}")


def arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description="Try a running server's job queue over HTTP.")
    parser.add_argument("--url", default="http://127.0.0.1:8004", help="address of the server (default: %(default)s)")
    source = parser.add_mutually_exclusive_group()
    source.add_argument("--text", default=TEXT, help="what to speak")
    source.add_argument("--file", type=Path, help="a UTF-8 text file to speak")
    parser.add_argument("--output", type=Path, default=Path("speech.wav"), help="file to write: .wav .mp3 .opus .flac")
    given = parser.parse_args(argv)
    if given.output.suffix[1:] not in FORMATS:
        parser.error(f"--output must end in one of {', '.join(f'.{name}' for name in sorted(FORMATS))}")
    if not given.url.startswith(("http://", "https://")):
        parser.error("--url must begin with http:// or https://")
    if given.file:
        try:
            given.text = given.file.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            parser.error(f"--file {given.file}: {error}")
    return given


def main(argv: Sequence[str] | None = None) -> int:
    """Run all checks; the exit status."""
    given = arguments(argv)
    server = Server(given.url.rstrip("/"))
    signal.signal(signal.SIGINT, signal.default_int_handler)  # also where a shell started this in the background
    try:
        speak(server, given.text, given.output)
        for check in (check_unknown, check_cancelled, check_bad_input):
            print((check.__doc__ or "").strip())
            check(server)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        server.cancel_unfinished()
        return 130
    except (Failed, OSError) as error:
        print(f"FAILED: {error}", file=sys.stderr)
        server.cancel_unfinished()
        return 1
    print("all is well")
    return 0


if __name__ == "__main__":
    sys.exit(main())
