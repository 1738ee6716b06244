"""What is in a backup, where it is put back, and what is refused."""

import asyncio
import json
import shutil
from collections.abc import Mapping
from pathlib import Path

import pytest

from rhapsode.backup import back_up, left_out, read_manifest, restore, restored_config, verify
from rhapsode.config import load_settings
from rhapsode.errors import BackupError, DataDirInUse, RhapsodeError
from rhapsode.settings import Settings
from tests.faults.harness import flip_byte
from tests.serving import serving, settings_for


def settings_at(home: Path, content: str | None = None, **changes: object) -> Settings:
    overrides = {key.replace("__", "."): value for key, value in changes.items()}
    return load_settings(None, home, env={}, overrides=overrides, content=content).settings


@pytest.fixture(scope="module")
def origin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data directory with one completed job, and a backup of it beside it that was made while its server ran."""
    folder = tmp_path_factory.mktemp("origin")

    async def make() -> None:
        async with serving(settings_for(folder)) as server:
            await server.until(await server.enqueue("Short. And done.", seed=1), "completed")
            (folder / "data" / "voices").mkdir(exist_ok=True)
            (folder / "data" / "voices" / "own.tone").write_text("mine")
            (folder / "data" / "consents").mkdir()
            (folder / "data" / "consents" / f"{'c' * 64}.json").write_text("{}")
            (folder / "data" / "clips" / f"{'d' * 64}.wav").write_text("a clip")
            (folder / "data" / "clips" / f"{'d' * 64}.pocket-1.safetensors").write_text("can be computed again")
            (folder / "data" / "outputs" / "tts_output_saved.wav").write_text("the user's")
            (folder / "data" / "config.yaml").write_text("ui: {title: Restored}\n")
            await asyncio.to_thread(back_up, server.settings, folder / "backup")
            with pytest.raises(DataDirInUse):
                restore_over(folder)

    asyncio.run(make())
    return folder


def restore_over(folder: Path) -> None:
    """Restore into a data directory that a server holds, emptied of everything else."""
    home = folder / "held"
    home.mkdir()
    (home / "server.lock").hardlink_to(folder / "data" / "server.lock")
    restore(folder / "backup", settings_at(home))


@pytest.fixture
def backup(origin: Path, tmp_path: Path) -> Path:
    """A copy of that backup, to be damaged."""
    return Path(shutil.copytree(origin / "backup", tmp_path / "backup"))


def files(folder: Path) -> Mapping[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_all_that_lasts_is_put_back(origin: Path, backup: Path, tmp_path: Path) -> None:
    home = tmp_path / "home"
    assert restored_config(backup) == "ui: {title: Restored}\n"
    restore(backup, settings_at(home, restored_config(backup)))
    old = origin / "data"
    for name in ("webhook.key", "voices/own.tone", "config.yaml"):
        assert (home / name).read_bytes() == (old / name).read_bytes()
    assert (home / "webhook.key").stat().st_mode & 0o077 == 0
    assert files(home / "takes") == files(old / "takes") != {}
    assert files(home / "consents") == files(old / "consents") != {}
    assert files(home / "clips") == {f"{'d' * 64}.wav": b"a clip"}
    results = files(home / "outputs")
    assert results
    assert results == {name: data for name, data in files(old / "outputs").items() if name.startswith("tts_job_")}
    assert not [path for path in home.iterdir() if path.name.startswith(".")]
    assert (origin / "backup").stat().st_mode & 0o077 == 0, "texts and keys are in it"
    assert verify(backup) == read_manifest(backup)


async def test_a_restored_directory_is_served(backup: Path, tmp_path: Path) -> None:
    settings = settings_for(tmp_path / "new")
    await asyncio.to_thread(restore, backup, settings)
    async with serving(settings) as server:
        (job,) = (await server.http.get("/tts")).json()["jobs"]
        assert job["status"] == "completed"
        assert (await server.http.get(job["links"]["result"])).status_code == 200


def test_results_that_lie_elsewhere_are_put_there(backup: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "mine.txt").write_text("stays")
    settings = settings_at(tmp_path / "home", job_queue__output_path=tmp_path / "elsewhere")
    restore(backup, settings)
    assert len(list((tmp_path / "elsewhere").glob("tts_job_*"))) == 1
    assert (tmp_path / "elsewhere" / "mine.txt").read_text() == "stays"
    shutil.rmtree(tmp_path / "home")
    restore(backup, settings)  # what is there already is the same
    shutil.rmtree(tmp_path / "home")
    flip_byte(next((tmp_path / "elsewhere").glob("tts_job_*")))
    with pytest.raises(BackupError, match="is another file"):
        restore(backup, settings)
    assert not (tmp_path / "home" / "ledger.db").exists()


def test_nothing_is_overwritten(origin: Path, backup: Path, tmp_path: Path) -> None:
    with pytest.raises(BackupError, match="is not empty"):
        restore(backup, settings_at(origin / "data"))
    with pytest.raises(BackupError, match="is not empty"):
        back_up(settings_at(origin / "data"), backup)
    home = tmp_path / "home"
    home.mkdir()
    (home / "server.lock").touch()  # what a server leaves that came to nothing
    (home / ".rhapsode-0.tmp").mkdir()
    restore(backup, settings_at(home))


@pytest.mark.parametrize("damage", ["take", "ledger", "result", "gone", "manifest", "newer", "way out", "another kind"])
def test_a_damaged_backup_is_refused_and_leaves_nothing(backup: Path, tmp_path: Path, damage: str) -> None:
    manifest = json.loads((backup / "manifest.json").read_text())
    entry = next(one for one in manifest["files"] if one["path"].startswith("takes/"))
    take = backup / entry["path"]
    match damage:
        case "take":
            flip_byte(take)
        case "ledger":
            flip_byte(backup / "data" / "ledger.db")
        case "result":
            flip_byte(next((backup / "results").iterdir()))
        case "gone":
            take.unlink()
        case "manifest":
            manifest = {}
        case "newer":
            manifest["format"] = 2
        case "way out":
            (tmp_path / "outside").write_bytes(take.read_bytes())
            entry["path"] = "takes/../../outside"
        case "another kind":
            entry["path"] = "etc/passwd"
    (backup / "manifest.json").write_text(json.dumps(manifest))
    home = tmp_path / "home"
    with pytest.raises(
        RhapsodeError, match=str(backup) if damage not in {"way out", "another kind"} else "belongs into no backup"
    ):
        restore(backup, settings_at(home))
    assert not home.exists()


@pytest.mark.parametrize("link", [False, True])
def test_what_was_damaged_before_is_left_out(origin: Path, tmp_path: Path, link: bool) -> None:
    home = Path(shutil.copytree(origin / "data", tmp_path / "data"))
    (home / "server.lock").unlink()
    takes = sorted(path for path in (home / "takes").rglob("*") if path.is_file())
    flip_byte(takes[0])
    next((home / "outputs").glob("tts_job_*")).unlink()
    manifest = back_up(settings_at(home), tmp_path / "backup", link)
    assert {name.split("/")[0] for name in manifest.missing} == {"takes", "results"}
    assert len(manifest.missing) == 2
    kept = tmp_path / "backup" / takes[1].relative_to(home)
    assert kept.samefile(takes[1]) is link
    assert verify(tmp_path / "backup") == manifest


def test_a_bucket_is_named_and_left_to_its_own_backup(origin: Path, tmp_path: Path) -> None:
    content = json.dumps({"blobs": {"url": "s3://speech"}})
    loaded = load_settings(None, origin / "data", env={}, content=content)
    manifest = back_up(loaded.settings, tmp_path / "backup")
    assert not [entry.path for entry in manifest.files if entry.path.startswith(("takes", "results"))]
    assert [what for what in left_out(loaded) if "s3://speech" in what]
    restore(tmp_path / "backup", settings_at(tmp_path / "home"))


def test_there_must_be_something_to_back_up(tmp_path: Path) -> None:
    with pytest.raises(BackupError, match="nothing to back up"):
        back_up(settings_at(tmp_path / "none"), tmp_path / "backup")
    assert not (tmp_path / "backup").exists()
