"""The blob contract, against every store."""

import asyncio
from pathlib import Path

import pytest

from rhapsode.blobs.base import BlobStore
from rhapsode.errors import BlobError

NAME = "ab" * 32


async def names(blobs: BlobStore, older_than_s: float = -60) -> list[str]:
    return sorted([name async for name in blobs.names(older_than_s)])


async def test_bytes_come_back(blobs: BlobStore) -> None:
    for name, data in [(NAME, b"\x00\xff" * 100_000), ("tts_job_1.wav", b"x"), ("_-.", b"")]:
        await blobs.put(name, data)
        assert await blobs.get(name) == data
        stat = await blobs.stat(name)
        assert stat is not None
        assert stat.size == len(data)
        path = blobs.local_path(name)
        assert path is None or path.read_bytes() == data
    assert await names(blobs) == sorted([NAME, "tts_job_1.wav", "_-."])


async def test_what_is_not_there(blobs: BlobStore) -> None:
    with pytest.raises(BlobError, match=NAME):
        await blobs.get(NAME)
    assert await blobs.stat(NAME) is None
    assert blobs.local_path(NAME) is None
    await blobs.delete(NAME)
    assert await names(blobs) == []


async def test_deleted_bytes_are_gone(blobs: BlobStore) -> None:
    await blobs.put(NAME, b"data")
    await blobs.delete(NAME)
    assert await blobs.stat(NAME) is None
    await blobs.put(NAME, b"again")
    assert await blobs.get(NAME) == b"again"


async def test_many_at_once_and_the_same_one(blobs: BlobStore) -> None:
    data = {f"{index:02x}{'c' * 62}": bytes([index]) * 5000 for index in range(100)}
    await asyncio.gather(*(blobs.put(name, value) for name, value in data.items()))
    await asyncio.gather(*(blobs.put(NAME, b"same") for _ in range(20)))
    assert await names(blobs) == sorted([*data, NAME])
    assert {name: await blobs.get(name) for name in data} == data
    assert await blobs.sweep_temp(-60) == 0


async def test_a_finished_file_is_adopted(blobs: BlobStore, tmp_path: Path) -> None:
    source = tmp_path / "assembled"
    source.write_bytes(b"audio")
    await blobs.adopt(source, "result.wav")
    assert await blobs.get("result.wav") == b"audio"
    assert not source.exists()
    with pytest.raises(BlobError):
        await blobs.adopt(source, "result.wav")
    scratch = blobs.scratch()
    assert not scratch.exists()
    scratch.write_bytes(b"newer audio")
    await blobs.adopt(scratch, "result.wav")
    assert await blobs.get("result.wav") == b"newer audio"
    assert await names(blobs) == ["result.wav"]


@pytest.mark.parametrize(
    "name",
    [
        "",
        "..",
        "../x",
        "a/../../x",
        "/etc/passwd",
        "a/b",
        "a\\b",
        "abc\x00",
        "abc\n",
        ".hidden",
        ".tmp-abc",
        "-rf",
        "ab",
        "x" * 201,
        "é" * 5,
    ],
)
async def test_names_that_could_lead_elsewhere_are_refused(blobs: BlobStore, name: str, tmp_path: Path) -> None:
    source = tmp_path / "file"
    source.write_bytes(b"x")
    for call in (
        blobs.put(name, b"x"),
        blobs.get(name),
        blobs.adopt(source, name),
        blobs.stat(name),
        blobs.delete(name),
    ):
        with pytest.raises(BlobError):
            await call
    with pytest.raises(BlobError):
        blobs.local_path(name)
    assert source.exists()
    assert await names(blobs) == []


async def test_free_space_is_known(blobs: BlobStore) -> None:
    free = await blobs.free_bytes()
    assert free is not None
    assert free > 0
