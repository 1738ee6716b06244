"""The blob contract, against every store; what concerns local files only stands below it."""

import asyncio
import errno
import os
import resource
from pathlib import Path

import pytest

from rhapsode.blobs.local import TEMP_PREFIX, LocalBlobs
from rhapsode.errors import BlobError, StorageFull

NAME = "ab" * 32


async def names(blobs: LocalBlobs, older_than_s: float = -60) -> list[str]:
    return sorted([name async for name in blobs.names(older_than_s)])


async def test_bytes_come_back(blobs: LocalBlobs) -> None:
    for name, data in [(NAME, b"\x00\xff" * 100_000), ("tts_job_1.wav", b"x"), ("_-.", b"")]:
        await blobs.put(name, data)
        assert await blobs.get(name) == data
        assert await blobs.size(name) == len(data)
        path = blobs.local_path(name)
        assert path is not None
        assert path.read_bytes() == data
    assert await names(blobs) == sorted([NAME, "tts_job_1.wav", "_-."])


async def test_what_is_not_there(blobs: LocalBlobs) -> None:
    with pytest.raises(BlobError, match=NAME):
        await blobs.get(NAME)
    assert await blobs.size(NAME) is None
    assert blobs.local_path(NAME) is None
    await blobs.delete(NAME)
    assert await names(blobs) == []


async def test_deleted_bytes_are_gone(blobs: LocalBlobs) -> None:
    await blobs.put(NAME, b"data")
    await blobs.delete(NAME)
    assert await blobs.size(NAME) is None
    await blobs.put(NAME, b"again")
    assert await blobs.get(NAME) == b"again"


async def test_storing_again_heals_a_cut_off_blob(blobs: LocalBlobs) -> None:
    await blobs.put(NAME, b"whole")
    path = blobs.local_path(NAME)
    assert path is not None
    path.write_bytes(b"who")
    await blobs.put(NAME, b"whole")
    assert await blobs.get(NAME) == b"whole"


async def test_a_blob_stored_again_is_no_orphan(blobs: LocalBlobs) -> None:
    await blobs.put(NAME, b"data")
    path = blobs.local_path(NAME)
    assert path is not None
    os.utime(path, (0, 0))
    assert await names(blobs, older_than_s=3600) == [NAME]
    await blobs.put(NAME, b"data")
    assert await names(blobs, older_than_s=3600) == []


async def test_many_at_once_and_the_same_one(blobs: LocalBlobs) -> None:
    data = {f"{index:02x}{'c' * 62}": bytes([index]) * 5000 for index in range(100)}
    await asyncio.gather(*(blobs.put(name, value) for name, value in data.items()))
    await asyncio.gather(*(blobs.put(NAME, b"same") for _ in range(20)))
    assert await names(blobs) == sorted([*data, NAME])
    assert {name: await blobs.get(name) for name in data} == data
    assert await blobs.sweep_temp(-60) == 0


async def test_more_names_than_one_page(blobs: LocalBlobs) -> None:
    expected = [f"{index:05}" for index in range(2500)]
    for name in expected:
        path = blobs._path(name)
        path.parent.mkdir(exist_ok=True)
        path.touch()
    assert await names(blobs) == expected


async def test_a_finished_file_is_adopted(blobs: LocalBlobs, tmp_path: Path) -> None:
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


@pytest.mark.skipif(not Path("/dev/shm").is_dir(), reason="needs a second file system")
async def test_a_file_from_another_file_system_is_adopted(blobs: LocalBlobs) -> None:
    source = Path("/dev/shm") / f"rhapsode-{os.getpid()}"
    source.write_bytes(b"from afar")
    try:
        assert source.stat().st_dev != blobs._root.stat().st_dev
        await blobs.adopt(source, "result.wav")
        assert not source.exists()
    finally:
        source.unlink(missing_ok=True)
    assert await blobs.get("result.wav") == b"from afar"


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
async def test_names_that_could_lead_elsewhere_are_refused(blobs: LocalBlobs, name: str, tmp_path: Path) -> None:
    source = tmp_path / "file"
    source.write_bytes(b"x")
    for call in (
        blobs.put(name, b"x"),
        blobs.get(name),
        blobs.adopt(source, name),
        blobs.size(name),
        blobs.delete(name),
    ):
        with pytest.raises(BlobError):
            await call
    with pytest.raises(BlobError):
        blobs.local_path(name)
    assert source.exists()
    assert await names(blobs) == []


async def test_what_crashes_leave_is_swept_and_never_listed(blobs: LocalBlobs) -> None:
    await blobs.put(NAME, b"data")
    path = blobs.local_path(NAME)
    assert path is not None
    old, young, foreign = (
        path.with_name(name) for name in (f"{TEMP_PREFIX}{'0' * 32}", f"{TEMP_PREFIX}{'1' * 32}", ".notes")
    )
    for leftover in (old, young, foreign, blobs.scratch()):
        leftover.write_bytes(b"half")
    os.utime(old, (0, 0))
    assert await names(blobs) == [NAME]
    assert await blobs.sweep_temp(older_than_s=3600) == 1
    assert not old.exists()
    assert await blobs.sweep_temp(older_than_s=-60) == 2
    assert foreign.exists()  # not ours
    assert await blobs.get(NAME) == b"data"


async def test_free_space_is_known(blobs: LocalBlobs) -> None:
    free = await blobs.free_bytes()
    assert free is not None
    assert free > 0


@pytest.mark.parametrize("call", ["put", "adopt"])
async def test_a_full_disk_leaves_nothing(
    blobs: LocalBlobs, call: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    source = tmp_path / "file"
    source.write_bytes(b"x" * 1000)
    monkeypatch.setattr("rhapsode.blobs.local.os.fsync", full)
    with pytest.raises(StorageFull, match=NAME):
        await (blobs.put(NAME, b"x" * 1000) if call == "put" else blobs.adopt(source, NAME))
    monkeypatch.undo()
    assert await blobs.size(NAME) is None
    assert await blobs.sweep_temp(-60) == 0
    await blobs.put(NAME, b"x" * 1000)


async def test_a_write_that_fails_half_way_leaves_nothing(blobs: LocalBlobs) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, hard))
    try:
        with pytest.raises(OSError, match="too large"):
            await blobs.put(NAME, b"x" * 100_000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert await blobs.size(NAME) is None
    assert await blobs.sweep_temp(-60) == 0


async def test_bytes_and_name_are_synced_before_put_returns(blobs: LocalBlobs, monkeypatch: pytest.MonkeyPatch) -> None:
    await blobs.put("abc", b"makes the folder")
    steps: list[str] = []
    fsync, replace = os.fsync, Path.replace

    def spy_fsync(descriptor: int) -> None:
        steps.append(f"fsync {Path(f'/proc/self/fd/{descriptor}').readlink().name[:5]}")
        fsync(descriptor)

    def spy_replace(self: Path, target: Path) -> Path:
        steps.append("rename")
        return replace(self, target)

    monkeypatch.setattr("rhapsode.blobs.local.os.fsync", spy_fsync)
    monkeypatch.setattr(Path, "replace", spy_replace)
    await blobs.put(NAME, b"data")
    folder = blobs._path(NAME).parent.name[:5]
    assert steps == ["fsync .tmp-", "rename", f"fsync {folder}"]
