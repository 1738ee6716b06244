"""Large results: they cost no memory, whoever fetches them, and whoever leaves."""

import asyncio
import contextlib
import gc
import hashlib
import logging
import os
import socket
import sqlite3
import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import psutil
import pytest
import pytest_asyncio

from tests.proxying import write_certificate
from tests.serving import Server, serving, settings_for

pytestmark = pytest.mark.asyncio(loop_scope="module")

SIZE = 1 << 30
MARK = b"here"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Server]:
    async with serving(settings_for(tmp_path_factory.mktemp("server"))) as found:
        yield found


async def grown(server: Server, size: int) -> str:
    """The path of a result of so many bytes: a file with holes, which costs no disk, with its digest in the ledger."""
    job_id = await server.enqueue("Large.", seed=1)
    await server.until(job_id, "completed")
    file = file_of(server, job_id)
    with file.open("r+b") as out:
        out.truncate(size)
        for place in (size // 2, size - len(MARK)):
            out.seek(place)
            out.write(MARK)
    with file.open("rb") as whole:
        digest = (await asyncio.to_thread(hashlib.file_digest, whole, "sha256")).hexdigest()
    with contextlib.closing(sqlite3.connect(server.settings.data_dir / "ledger.db", timeout=30)) as ledger, ledger:
        row = ledger.execute("UPDATE jobs SET result_size = ?, result_digest = ? WHERE id = ?", (size, digest, job_id))
        assert row.rowcount == 1
    return f"/tts/{job_id}/result"


def file_of(server: Server, job_id: str) -> Path:
    (file,) = server.settings.job_queue.output_path.glob(f"tts_job_{job_id}_*")
    return file


@contextmanager
def no_more_memory(than_mb: float) -> Iterator[None]:
    """This process, which is the server too, never holds much more memory in the block; descriptors are all closed behind it."""
    gc.collect()
    me = psutil.Process()
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
    before, files = peak_mb(), me.num_fds()
    yield
    assert peak_mb() - before < than_mb
    assert me.num_fds() <= files


def peak_mb() -> float:
    """Most memory that this process held."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1e3


async def fetch(server: Server, path: str, **headers: str) -> tuple[httpx.Response, int, bytes]:
    """The answer, how long its body was, and how it ended."""
    count, end = 0, b""
    async with server.http.stream("GET", path, headers=headers) as answer:
        async for data in answer.aiter_raw():
            count += len(data)
            end = (end + data)[-8:]
    return answer, count, end


async def test_parts_of_a_gigabyte_are_right_and_cost_no_memory(server: Server) -> None:
    large = await grown(server, SIZE)
    answer, _, _ = await fetch(server, large, Range="bytes=0-9")  # looked through once; what is made once is made
    etag = answer.headers["etag"]
    with no_more_memory(than_mb=30):
        answer, count, end = await fetch(server, large, Range=f"bytes={SIZE - 10**8}-", **{"If-Range": etag})
        assert (answer.status_code, count, end[-4:]) == (206, 10**8, MARK)
        answer, count, end = await fetch(server, large, Range=f"bytes={SIZE // 2}-{SIZE // 2 + 3}")
        assert (answer.status_code, count, end) == (206, 4, MARK)
        assert answer.headers["content-range"] == f"bytes {SIZE // 2}-{SIZE // 2 + 3}/{SIZE}"
        answer, count, end = await fetch(server, large, Range="bytes=-4")
        assert (answer.status_code, count, end) == (206, 4, MARK)
        answer, count, _ = await fetch(server, large, Range="bytes=0-1,5-9")
        assert (answer.status_code, answer.headers["content-type"].split(";")[0]) == (206, "multipart/byteranges")
        assert (await server.http.head(large)).headers["content-length"] == str(SIZE)


async def test_many_who_leave_in_the_middle_leave_nothing_behind(
    server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    large = await grown(server, 100_000_000)
    address, before = urlsplit(server.url), psutil.Process().num_fds()
    with caplog.at_level(logging.ERROR), no_more_memory(than_mb=30):
        for leave in (False, True):  # with what has come unread, and with a clean end
            socks = [socket.create_connection((address.hostname, address.port)) for _ in range(8)]
            for sock in socks:
                sock.sendall(f"GET {large} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
                await asyncio.to_thread(sock.recv, 1_000)
            for sock in socks:
                if leave:
                    sock.shutdown(socket.SHUT_WR)
                sock.close()
        async with asyncio.timeout(20):
            while open_files(server) or psutil.Process().num_fds() > before:
                await asyncio.sleep(0.02)
    assert not caplog.records


async def test_answers_follow_each_other_on_one_connection(server: Server) -> None:
    """Requests that are sent before the answer came, a part between two small ones."""
    large = await grown(server, 1_000_000)
    address = urlsplit(server.url)
    reader, writer = await asyncio.open_connection(address.hostname, address.port)
    asked = f"GET {large} HTTP/1.1\r\nHost: localhost\r\nRange: bytes=-4\r\n\r\n".encode()
    writer.write(
        asked
        + b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n"
        + asked.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
    )
    whole = await reader.read()
    writer.close()
    await writer.wait_closed()
    first, second, third, *rest = whole.split(b"HTTP/1.1 ")[1:]
    assert (first[:3], first[-4:], second[:3], third[:3], third[-4:], rest) == (b"206", MARK, b"200", b"206", MARK, [])


async def test_a_file_that_ends_early_breaks_the_transfer_off(server: Server) -> None:
    large = await grown(server, 50_000_000)
    file = file_of(server, large.split("/")[2])
    with pytest.raises(httpx.RemoteProtocolError):
        async with server.http.stream("GET", large) as answer:
            async for _ in answer.aiter_raw():
                os.truncate(file, 1_000_000)


async def test_over_tls_bytes_pass_through_this_process(tmp_path: Path) -> None:
    certificate, key = tmp_path / "a.pem", tmp_path / "a.key"
    write_certificate(certificate, key)
    settings = settings_for(tmp_path, server__ssl_certfile=str(certificate), server__ssl_keyfile=str(key))
    tls = ssl.create_default_context(cafile=str(certificate))
    async with serving(settings) as server, httpx.AsyncClient(base_url=server.url, verify=tls) as http:
        job = (await http.post("/tts/enqueue", json={"text": "Hello."})).json()
        whole = await http.get(job["result_url"], headers={"Prefer": "wait=30"})
        part = await http.get(job["result_url"], headers={"Range": "bytes=10-19"})
        assert (whole.status_code, whole.content[:4]) == (200, b"RIFF")
        assert (part.status_code, part.content) == (206, whole.content[10:20])


def open_files(server: Server) -> list[str]:
    """Results that are being read."""
    folder = str(server.settings.job_queue.output_path)
    return [found.path for found in psutil.Process().open_files() if found.path.startswith(folder)]
