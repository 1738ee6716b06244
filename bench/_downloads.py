"""A large finished file, beside servers that do nothing but send files."""

import http.client
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from bench._rows import Outcome, Row, median, spread
from bench._servers import TONE, free_port, rhapsode
from bench._setup import Setup
from bench._text import sentences
from scripts.proxies import find

_AT_LEAST = 0.8
_CHARS: Mapping[str, Any] = {**TONE, "tts_engine": {"default_voice_id": "tone-chars"}}
_PIECE = 1 << 20
_STARLETTE = """
import sys
import uvicorn
from starlette.applications import Starlette
from starlette.responses import FileResponse
from starlette.routing import Route

async def file(request):
    return FileResponse(sys.argv[1])

uvicorn.run(Starlette(routes=[Route("/file", file)]), port=int(sys.argv[2]), log_level="error")
"""


def measure(setup: Setup) -> Outcome:
    """The same bytes from each server in turn, over loopback, read and thrown away."""
    chars = setup.size(500_000, 40_000)  # 882 bytes of sound each
    rates: dict[str, list[float]] = {}
    with rhapsode(setup.folder, _CHARS, warm=False) as server:
        client = server.client()
        job = client.enqueue(" ".join(islice(sentences(8), chars // 80)), chunk_size=500)
        client.done(job)
        (file,) = setup.folder.rglob("tts_job_*")
        size = file.stat().st_size
        with _nginx(setup.folder, file) as nginx, _starlette(setup.folder, file) as starlette:
            arms = {"ours": f"{server.url}/tts/{job}/result", "nginx": nginx, "starlette": starlette}
            for _ in range(setup.size(3 * setup.runs, 3)):
                for name, url in arms.items():
                    rates.setdefault(name, []).append(_rate(url, size))
    ours, what = rates["ours"], f"GET /tts/{{id}}/result, {size / 1e6:,.0f} MB"
    rows = [
        Row(what, median(ours), "MB/s", _AT_LEAST * median(rates[name]), True, about, median(rates[name]), spread(ours))
        for name, about in (("nginx", "nginx, sendfile"), ("starlette", "Starlette's FileResponse in uvicorn"))
    ]
    return Outcome(rows, {"MB/s": rates})


def _rate(url: str, size: int) -> float:
    """MB/s of one download on a new connection."""
    parts, buffer, got = urlsplit(url), bytearray(_PIECE), 0
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=60)
    begun = time.perf_counter()
    connection.request("GET", parts.path)
    answer = connection.getresponse()
    while count := answer.readinto(buffer):
        got += count
    took = time.perf_counter() - begun
    connection.close()
    if (answer.status, got) != (200, size):
        raise RuntimeError(f"{url}: {answer.status}, {got} bytes of {size}")
    return size / took / 1e6


@contextmanager
def _nginx(folder: Path, file: Path) -> Iterator[str]:
    port = free_port()
    config = folder / "nginx.conf"
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    temporary = "".join(f"{kind}_temp_path {folder}/{kind}; " for kind in kinds)
    config.write_text(
        f"daemon off; pid {folder}/nginx.pid; worker_processes 1; error_log stderr; {'user root;' if os.geteuid() == 0 else ''}\n"
        f"events {{}}\nhttp {{ {temporary} access_log off; sendfile on; tcp_nopush on;\n"
        f"server {{ listen 127.0.0.1:{port}; location = /file {{ alias {json.dumps(str(file))}; }} }} }}\n"
    )
    with _running([str(find("nginx")), "-e", "stderr", "-p", str(folder), "-c", str(config)], port):
        yield f"http://127.0.0.1:{port}/file"


@contextmanager
def _starlette(folder: Path, file: Path) -> Iterator[str]:
    port = free_port()
    with _running([sys.executable, "-c", _STARLETTE, str(file), str(port)], port):
        yield f"http://127.0.0.1:{port}/file"


@contextmanager
def _running(command: list[str], port: int) -> Iterator[None]:
    process = subprocess.Popen(command)
    try:
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            except OSError:
                if process.poll() is not None:
                    raise RuntimeError(f"{command[0]} did not start") from None
                time.sleep(0.05)
        yield
    finally:
        process.terminate()
        process.wait()
