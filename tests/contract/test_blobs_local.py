"""What concerns blobs as local files only."""

import errno
import os
import resource
from collections.abc import Iterator
from pathlib import Path

import pytest

from rhapsode.blobs.local import LocalBlobs
from rhapsode.durable import TEMP_PREFIX
from rhapsode.errors import StorageFull
from tests.contract.test_blobs import NAME, names


@pytest.fixture(params=["local", "local-flat"])
def blobs(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[LocalBlobs]:
    store = LocalBlobs(tmp_path / "blobs", fan_out=request.param == "local")
    yield store
    store.close()


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


async def test_more_names_than_one_page(blobs: LocalBlobs) -> None:
    expected = [f"{index:05}" for index in range(2500)]
    for name in expected:
        path = blobs._path(name)
        path.parent.mkdir(exist_ok=True)
        path.touch()
    assert await names(blobs) == expected


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
    assert await blobs.stat(NAME) is None
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
    assert await blobs.stat(NAME) is None
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
