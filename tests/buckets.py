"""An S3 server on this machine, and a road to it that can be closed."""

import asyncio
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import httpx

CREDENTIALS = {"AWS_ACCESS_KEY_ID": "rhapsode", "AWS_SECRET_ACCESS_KEY": "of no account"}
_UP_S = 60.0


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


class Buckets:
    """A server with one bucket. What it holds is gone when it ends."""

    def __init__(self) -> None:
        self.port = free_port()
        self.endpoint = f"http://127.0.0.1:{self.port}"
        self.url = "s3://speech"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(self.port)]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        last = time.monotonic() + _UP_S
        while True:
            try:
                httpx.put(f"{self.endpoint}/speech", timeout=5).raise_for_status()
            except httpx.TransportError:
                assert self._process.poll() is None, "the S3 server has ended"
                assert time.monotonic() < last, "the S3 server does not answer"
                time.sleep(0.05)  # it tells nobody that it is up
            else:
                return

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


@contextmanager
def running_buckets() -> Iterator[Buckets]:
    buckets = Buckets()
    try:
        buckets.start()
        yield buckets
    finally:
        buckets.stop()


class Road:
    """Passes connections on to the server while it is open; closed, it cuts them off and refuses others."""

    def __init__(self, port: int) -> None:
        self._to = port
        self._port = free_port()
        self.endpoint = f"http://127.0.0.1:{self._port}"
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()

    async def open(self) -> None:
        self._server = await asyncio.start_server(self._pass_on, "127.0.0.1", self._port)

    async def close(self) -> None:
        if self._server is not None:
            self._server.close()
            for writer in list(self._writers):
                writer.transport.abort()
            self._server = None

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there_reader, there_writer = await asyncio.open_connection("127.0.0.1", self._to)
        await asyncio.gather(self._pump(reader, there_writer), self._pump(there_reader, writer))

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        with suppress(ConnectionError):
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
        self._writers.discard(writer)
        writer.close()
