"""The example script against a real server, as a user runs it."""

import asyncio
import signal
import sys
from asyncio.subprocess import PIPE, Process
from pathlib import Path

import pytest

from tests.serving import serving, settings_for

SCRIPT = Path(__file__).parents[2] / "examples" / "test_job_queue.py"
LIMIT_S = 40


async def begin(*arguments: str, folder: Path) -> Process:
    return await asyncio.create_subprocess_exec(
        sys.executable, "-u", "-W", "error", str(SCRIPT), *arguments, cwd=folder, stdout=PIPE, stderr=PIPE
    )


async def end(process: Process) -> tuple[int, str, str]:
    """Exit status, standard output, standard error."""
    try:
        async with asyncio.timeout(LIMIT_S):
            out, err = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode is not None
    return process.returncode, out.decode(), err.decode()


async def test_speaks_and_finds_all_well(tmp_path: Path) -> None:
    (tmp_path / "book.txt").write_text("Un été à Zürich. Then a winter.", encoding="utf-8")
    async with serving(settings_for(tmp_path)) as server:
        process = await begin("--url", server.url, "--file", "book.txt", "--output", "out.flac", folder=tmp_path)
        status, out, err = await end(process)
        jobs = (await server.http.get("/tts")).json()["jobs"]
    assert (status, err) == (0, "")
    assert out.endswith("all is well\n")
    assert (tmp_path / "out.flac").read_bytes().startswith(b"fLaC")
    assert [job["status"] for job in jobs] == ["completed"]


async def test_interrupted_it_cancels_its_job(tmp_path: Path) -> None:
    (tmp_path / "book.txt").write_text("A very long story. " * 50_000)
    async with serving(settings_for(tmp_path)) as server:
        process = await begin("--url", server.url, "--file", "book.txt", folder=tmp_path)
        assert process.stdout is not None
        job_id = (await process.stdout.readline()).decode().removeprefix("job ").strip()
        await process.stdout.readline()  # it polls
        process.send_signal(signal.SIGINT)
        status, _, err = await end(process)
        assert (await server.status(job_id))["status"] == "cancelled"
    assert status == 130
    assert f"job {job_id} cancelled" in err
    assert not (tmp_path / "speech.wav").exists()


async def test_a_failed_job_is_a_failure(tmp_path: Path) -> None:
    async with serving(settings_for(tmp_path)) as server:
        process = await begin("--url", server.url, "--text", "This is !raise! bad.", folder=tmp_path)
        status, out, err = await end(process)
    assert status == 1
    assert "FAILED" in err
    assert "segment 0" in err
    assert "all is well" not in out


async def _lie(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Say yes to everything."""
    await reader.readuntil(b"\r\n\r\n")
    body = b'{"job_id": "x", "status": "completed", "progress": 100, "current_chunk": 1, "total_chunks": 1}'
    head = f"HTTP/1.1 202 Accepted\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    writer.write(head.encode() + body)
    await writer.drain()
    writer.close()


async def test_a_server_that_says_yes_to_everything_is_found_out(tmp_path: Path) -> None:
    async with await asyncio.start_server(_lie, "127.0.0.1", 0) as liar:
        port = liar.sockets[0].getsockname()[1]
        status, _, err = await end(await begin("--url", f"http://127.0.0.1:{port}", folder=tmp_path))
    assert status == 1
    assert "answered 202, not 200" in err


async def test_no_server_is_a_failure(tmp_path: Path) -> None:
    status, _, err = await end(await begin("--url", "http://127.0.0.1:9", folder=tmp_path))
    assert status == 1
    assert "is the server running?" in err


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (("--output", "speech.txt"), "--output"),
        (("--file", "missing.txt"), "--file"),
        (("--url", "localhost:8004"), "--url"),
        (("--text", "a", "--file", "b"), "--file"),
    ],
)
async def test_wrong_arguments_are_named(arguments: tuple[str, ...], named: str, tmp_path: Path) -> None:
    status, _, err = await end(await begin(*arguments, folder=tmp_path))
    assert status == 2
    assert named in err
