"""Raw connections that can be slow, a prober in a process of its own, and what a server uses."""

import asyncio
import json
import os
import resource
import socket
import sys
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import psutil

from rhapsode.ledger.backend import READERS
from tests.faults.harness import ServerProcess

Head = Mapping[str, str | int]

LAZY_FILES = 2 * READERS
"""Connections that read the ledger are opened when first needed, and stay: the file and its log, each."""
LAZY_THREADS = 8
"""The same of threads that wait for the disk."""

_PROBER = """
import http.client, json, sys, threading, time

host, path = sys.argv[1:3]
over = threading.Event()
threading.Thread(target=lambda: (sys.stdin.read(), over.set()), daemon=True).start()
print("ready", flush=True)
connection, seconds, due = http.client.HTTPConnection(host, timeout=60), [], time.perf_counter()
while not over.is_set():
    connection.request("GET", path)
    assert connection.getresponse().read()
    seconds.append(time.perf_counter() - due)  # from when it was due: a server that stalls is not spared
    due += 0.04
    time.sleep(max(0.0, due - time.perf_counter()))
print(json.dumps(seconds))
"""


@dataclass(slots=True)
class Probe:
    """How long one client waited, again and again."""

    seconds: list[float] = field(default_factory=list)

    def quantile(self, share: float) -> float:
        """Seconds that this share of the questions took at most."""
        ordered = sorted(self.seconds)
        return ordered[min(int(share * len(ordered)), len(ordered) - 1)]

    def __str__(self) -> str:
        return f"{self.quantile(0.5) * 1e3:.1f} ms, p99 {self.quantile(0.99) * 1e3:.1f} ms, n = {len(self.seconds)}"


@asynccontextmanager
async def probing(server: ServerProcess, path: str = "/livez") -> AsyncIterator[Probe]:
    """Ask 25 times a second for as long as the block runs."""
    probe = Probe()
    host = urlsplit(server.url).netloc
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", _PROBER, host, path, stdin=PIPE, stdout=PIPE)
    assert process.stdout is not None
    try:
        assert await process.stdout.readline() == b"ready\n"
        yield probe
    finally:
        assert process.stdin is not None
        process.stdin.close()
        out = await process.stdout.read()
        await process.wait()
    probe.seconds = json.loads(out)


def many_files(count: int) -> None:
    """Let this process and its children have so many files open."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < count:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(count, hard), hard))


@dataclass(frozen=True, slots=True)
class Usage:
    """What a server and its children hold."""

    memory: int
    """Bytes that are theirs alone, or their share (PSS)."""
    files: int
    threads: int
    clients: int
    """Connections to it."""


def usage(server: ServerProcess) -> Usage:
    """Of a server that runs."""
    assert server.process is not None
    process = psutil.Process(server.process.pid)
    port = urlsplit(server.url).port
    everybody = [process, *process.children(recursive=True)]
    return Usage(
        memory=sum(one.memory_full_info().pss for one in everybody),
        files=process.num_fds(),
        threads=process.num_threads(),
        clients=sum(
            one.laddr.port == port and one.status != psutil.CONN_LISTEN for one in process.net_connections("tcp")
        ),
    )


async def connect(server: ServerProcess, small: bool = False) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A raw connection; a ``small`` one takes a few kilobytes before its peer must wait."""
    where = urlsplit(server.url)
    sock = socket.socket()
    if small:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    sock.setblocking(False)
    await asyncio.get_running_loop().sock_connect(sock, (where.hostname, where.port))
    return await asyncio.open_connection(sock=sock, limit=4096 if small else 2**16)


async def ask(writer: asyncio.StreamWriter, method: str, path: str, headers: Head | None = None) -> None:
    """Send the head of a request."""
    lines = [f"{method} {path} HTTP/1.1", "Host: localhost", *(f"{name}: {it}" for name, it in (headers or {}).items())]
    writer.write("\r\n".join([*lines, "", ""]).encode())
    await writer.drain()


async def listen(server: ServerProcess, job_id: str, seen: list[int], until: int | None = None) -> bool:
    """Follow a job's events behind those ``seen``, until one has that number or the stream ends; whether it ended."""
    reader, writer = await connect(server)
    try:
        await ask(writer, "GET", f"/tts/{job_id}/events", {"Last-Event-ID": seen[-1]} if seen else {})
        while line := await reader.readline():
            if line.startswith(b"id: "):
                seen.append(int(line[4:]))
                if until is not None and seen[-1] >= until:
                    return False
            elif line.startswith(b"0\r\n") or b" 204 " in line:
                return True
        return True
    finally:
        writer.transport.abort()


def machine() -> str:
    """What the figures were measured on."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    return f"{os.cpu_count()} cores, {memory:.0f} GB"


def show(name: str, lines: Sequence[str]) -> None:
    """Print figures for the documentation (``pytest -s``)."""
    print(f"\n[{name}; {machine()}] " + "; ".join(lines))
