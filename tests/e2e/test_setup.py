"""start.sh and the shared set-up, run for real in a copy of the repository whose path has a space."""

import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """What the set-up reads, in a folder of its own."""
    folder = tmp_path / "a clone"
    folder.mkdir()
    for name in ("start.sh", "test.sh", "pyproject.toml"):
        shutil.copy2(ROOT / name, folder / name)
    for name in ("scripts", "requirements"):
        shutil.copytree(ROOT / name, folder / name)
    shutil.copytree(ROOT / "ui", folder / "ui", ignore=shutil.ignore_patterns("node_modules"))
    return folder


def start(clone: Path, *arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
    """Run start.sh from another directory."""
    command = ["/bin/sh", str(clone / "start.sh"), *arguments]
    return subprocess.run(command, check=False, capture_output=True, text=True, cwd="/", env=os.environ | env)


def path_with(folder: Path, **programs: str) -> str:
    """A PATH that holds only these shell scripts and what start.sh itself needs."""
    folder.mkdir()
    (folder / "dirname").symlink_to(shutil.which("dirname") or "/usr/bin/dirname")
    for name, script in programs.items():
        (folder / name).write_text(f"#!/bin/sh\n{script}\n")
        (folder / name).chmod(0o755)
    return str(folder)


def make_ready(clone: Path, mode: str) -> None:
    """A .venv with a stamp, whose ``rhapsode`` prints its arguments."""
    bin_folder = clone / ".venv" / "bin"
    bin_folder.mkdir(parents=True)
    (bin_folder / "python").symlink_to(sys.executable)
    (bin_folder / "rhapsode").write_text("#!/bin/sh\nprintf '<%s>' \"$@\"\n")
    (bin_folder / "rhapsode").chmod(0o755)
    script = "import runpy, sys; print(runpy.run_path(sys.argv[1])['fingerprint'](sys.argv[2]), end='')"
    command = [sys.executable, "-c", script, str(clone / "scripts" / "setup.py"), mode]
    stamp = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    (clone / ".venv" / "rhapsode-stamp").write_text(stamp)
    script = "import runpy, sys; page = runpy.run_path(sys.argv[1]); print(page['_digest'](page['_files']()), end='')"
    built = subprocess.run(
        [sys.executable, "-c", script, str(clone / "scripts" / "page.py")], check=True, capture_output=True, text=True
    ).stdout
    web = clone / "src" / "rhapsode" / "web"
    web.mkdir(parents=True)
    (web / ".stamp").write_text(built)


def test_old_python_is_named(clone: Path, tmp_path: Path) -> None:
    done = start(clone, PATH=path_with(tmp_path / "bin", python3="echo 3.9.2"))
    assert done.returncode == 1
    assert "needs Python 3.11 or newer" in done.stderr
    assert re.search(r"/bin/python3 is Python 3\.9\.2", done.stderr)
    assert not (clone / ".venv").exists()


def test_no_python_at_all(clone: Path, tmp_path: Path) -> None:
    done = start(clone, PATH=path_with(tmp_path / "bin"))
    assert done.returncode == 1
    assert "no Python at all" in done.stderr


def test_unreachable_index_is_said_and_leaves_no_stamp(clone: Path) -> None:
    done = start(
        clone, PIP_CONFIG_FILE=os.devnull, PIP_INDEX_URL="http://127.0.0.1:9/simple", PIP_EXTRA_INDEX_URL="",
        PIP_FIND_LINKS="", PIP_NO_CACHE_DIR="1", RHAPSODE_PYTHON=sys.executable,
    )  # fmt: skip
    assert done.returncode == 1
    assert "package index cannot be reached" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (clone / ".venv" / "rhapsode-stamp").exists()


@pytest.mark.parametrize("mode", ["run", "test"])
def test_a_finished_set_up_is_not_repeated_and_arguments_go_through(clone: Path, mode: str) -> None:
    make_ready(clone, mode)
    assert start(clone).stdout == "<serve>"
    done = start(clone, "speak", "my book.txt", "--seed", "*")
    assert done.stdout == "<speak><my book.txt><--seed><*>"
    assert done.stderr == ""


@pytest.mark.parametrize(
    "changed", ["pyproject.toml", "requirements/run.txt", "requirements/build.txt", "scripts/setup.py"]
)
def test_a_change_asks_for_a_new_set_up(clone: Path, changed: str) -> None:
    make_ready(clone, "run")
    check = [sys.executable, str(clone / "scripts" / "setup.py"), "--check"]
    assert subprocess.run([*check, "run"], check=False).returncode == 0
    assert subprocess.run([*check, "test"], check=False).returncode == 1
    with (clone / changed).open("a") as file:
        file.write("# changed\n")
    assert subprocess.run([*check, "run"], check=False).returncode == 1


def test_a_change_of_the_page_asks_for_a_new_one(clone: Path) -> None:
    make_ready(clone, "run")
    check = [sys.executable, str(clone / "scripts" / "setup.py"), "--check", "run"]
    assert subprocess.run(check, check=False).returncode == 0
    with (clone / "ui" / "src" / "main.tsx").open("a") as file:
        file.write("// changed\n")
    assert subprocess.run(check, check=False).returncode == 1


def test_without_npm_the_server_runs_without_its_page(clone: Path) -> None:
    make_ready(clone, "run")
    (clone / "src" / "rhapsode" / "web" / ".stamp").unlink()
    (clone / ".venv" / "bin" / "python").unlink()
    (clone / ".venv" / "bin" / "python").write_text("#!/bin/sh\nexit 1\n")
    (clone / ".venv" / "bin" / "python").chmod(0o755)
    done = start(clone, RHAPSODE_PYTHON=sys.executable)
    assert done.stdout == "<serve>"
    assert "runs without one" in done.stderr


def test_a_moved_repository_asks_for_a_new_set_up(clone: Path) -> None:
    make_ready(clone, "run")
    moved = clone.rename(clone.with_name("moved"))
    assert (
        subprocess.run([sys.executable, str(moved / "scripts" / "setup.py"), "--check", "run"], check=False).returncode
        == 1
    )


def locked(name: str) -> dict[str, str]:
    """Lines of a lock file by package: its version and all that follows."""
    text = (ROOT / "requirements" / f"{name}.txt").read_text()
    return {canonicalize_name(entry.partition("==")[0]): entry for entry in re.split(r"\n(?=[a-z])", text)[1:]}


def test_every_dependency_is_locked_with_hashes_and_no_address() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    extras = project["project"]["optional-dependencies"]
    run = [*project["project"]["dependencies"], *extras["piper"], *extras["wyoming"]]
    groups = {"run": run, "build": project["dependency-groups"]["build"]}
    for name, requirements in groups.items():
        lock = locked(name)
        assert {canonicalize_name(Requirement(entry).name) for entry in requirements} <= set(lock)
    everything = locked("run") | locked("dev")
    for entry in map(Requirement, [*run, *project["dependency-groups"]["dev"]]):
        version = everything[canonicalize_name(entry.name)].partition("==")[2].split()[0]
        assert entry.specifier.contains(version), entry
    for name, text in (locked("run") | locked("dev") | locked("build")).items():
        assert re.search(r"--hash=sha256:[0-9a-f]{64}", text), name
        assert "://" not in text, name
