"""A Hugging Face hub on this machine: the three calls that fetching takes, with files of our own."""

import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

COMMIT = "c0ffee" + "0" * 34
_FILE = re.compile(r"/(?P<repository>[^/]+/[^/]+)/resolve/[^/]+/(?P<name>.+)")
_TREE = re.compile(r"/api/models/(?P<repository>[^/]+/[^/]+)/tree/[^/]+")


@dataclass
class Hub:
    """What it has, how it behaves, and what it was asked."""

    files: dict[str, bytes]
    """By ``owner/repository/path``."""
    closed: frozenset[str] = frozenset()
    """Repositories whose terms were not accepted."""
    stall_after: int | None = None
    """Send so many bytes of the largest file, and then nothing until :attr:`go_on`."""
    damaged: bool = False
    address: str = ""
    gets: list[tuple[str, str | None]] = field(default_factory=list)
    """Names of the files that were sent, and the range that was asked for."""
    stalled: threading.Event = field(default_factory=threading.Event)
    go_on: threading.Event = field(default_factory=threading.Event)

    @property
    def env(self) -> dict[str, str]:
        """For processes that shall ask this one."""
        return {"HF_ENDPOINT": self.address, "HF_HUB_OFFLINE": "0", "NO_PROXY": "127.0.0.1"}


@contextmanager
def serve(hub: Hub) -> Iterator[Hub]:
    """Answer on a port of this machine while the block runs."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_HEAD(self) -> None:
            self._answer(body=False)

        def do_GET(self) -> None:
            self._answer(body=True)

        def log_message(self, *_: object) -> None:
            pass

        def _answer(self, body: bool) -> None:
            path = unquote(urlsplit(self.path).path)
            if match := _TREE.fullmatch(path):
                start = match["repository"] + "/"
                found = [
                    {"type": "file", "path": name.removeprefix(start), "size": len(data), "oid": _blob(data)}
                    for name, data in hub.files.items()
                    if name.startswith(start)
                ]
                self._send(200, json.dumps(found).encode(), {"Content-Type": "application/json"})
                return
            match = _FILE.fullmatch(path)
            name = f"{match['repository']}/{match['name']}" if match else ""
            if name not in hub.files:
                self._send(404, b"", {"X-Error-Code": "EntryNotFound"})
            elif match and match["repository"] in hub.closed:
                self._send(403, b"", {"X-Error-Code": "GatedRepo"})
            else:
                self._file(name, hub.files[name], body)

        def _file(self, name: str, data: bytes, body: bool) -> None:
            large = len(data) > 1000
            etag = hashlib.sha256(data).hexdigest() if large else _blob(data)
            headers = {"ETag": f'"{etag}"', "X-Repo-Commit": COMMIT}
            asked = self.headers["Range"]
            if not body:
                self._send(200, data, headers, body=False)
                return
            hub.gets.append((name.rpartition("/")[2], asked))
            start = int(asked.removeprefix("bytes=").rstrip("-")) if asked else 0
            if asked:
                headers["Content-Range"] = f"bytes {start}-{len(data) - 1}/{len(data)}"
            sent = bytes(len(data)) if hub.damaged else data
            stall = hub.stall_after if large and data == max(hub.files.values(), key=len) else None
            self._send(206 if asked else 200, sent[start:], headers, stall=stall)

        def _send(
            self, status: int, data: bytes, headers: dict[str, str], body: bool = True, stall: int | None = None
        ) -> None:
            self.send_response(status)
            for key, value in ({"Content-Length": str(len(data))} | headers).items():
                self.send_header(key, value)
            self.end_headers()
            if not body:
                return
            self.wfile.write(data[:stall])
            if stall is not None:
                self.wfile.flush()
                hub.stalled.set()
                hub.go_on.wait()
                self.close_connection = True

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        hub.address = f"http://127.0.0.1:{server.server_port}"
        try:
            yield hub
        finally:
            hub.go_on.set()
            server.shutdown()
            thread.join()


def _blob(data: bytes) -> str:
    """What git calls it."""
    return hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()
