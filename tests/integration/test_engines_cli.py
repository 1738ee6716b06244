"""``rhapsode engines``: what is there, and environments that are made and deleted."""

import json
import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

from rhapsode import environment
from tests.hosted import POCKET, ROOT, fake_environment


def rhapsode(folder: Path, *arguments: str, status: int = 0, env: Mapping[str, str] | None = None) -> tuple[str, str]:
    """What the command says: standard output and standard error."""
    done = subprocess.run(
        [ROOT / ".venv" / "bin" / "rhapsode", "--data-dir", folder, *arguments],
        capture_output=True, text=True, env=os.environ | {"NO_COLOR": "1"} | dict(env or {}), cwd=folder, timeout=120,
    )  # fmt: skip
    assert done.returncode == status, done.stderr
    return done.stdout, done.stderr


def test_engines_are_listed_with_what_there_is_to_do(tmp_path: Path) -> None:
    python = fake_environment(tmp_path, "pocket")
    found = {one["name"]: one for one in json.loads(rhapsode(tmp_path, "engines", "--json")[0])}
    assert found["piper"] == {"name": "piper", "active": True, "python": None, "install": None}
    assert found["pocket"] == {"name": "pocket", "active": False, "python": str(python), "install": None}
    assert found["chatterbox-turbo"]["install"] == "rhapsode engines install chatterbox"
    shown = dict(line.split(maxsplit=1) for line in rhapsode(tmp_path, "engines")[0].splitlines())
    assert (shown["piper"], shown["pocket"]) == ("speaks", "installed")
    assert shown["chatterbox"] == "rhapsode engines install chatterbox"


def test_the_environment_of_the_checks_was_made_by_the_command_and_fits() -> None:
    assert environment.interpreters(POCKET.parents[1]) == {"pocket": POCKET / "bin" / "python"}
    code = "import rhapsode, sys; print(rhapsode.__file__, sys.prefix, sep='\\n')"
    seen = subprocess.run(
        [POCKET / "bin" / "python", "-I", "-c", code], capture_output=True, text=True, check=True
    ).stdout.splitlines()
    assert Path(seen[0]).parent == ROOT / "src" / "rhapsode", "an editable installation stays one"
    assert Path(seen[1]) == POCKET


def test_what_fits_is_left_alone_and_what_is_removed_is_gone(tmp_path: Path) -> None:
    python = fake_environment(tmp_path, "pocket")
    assert "pocket is there" in rhapsode(tmp_path, "engines", "install", "pocket", "--no-models")[1]
    assert python.exists()
    _, said = rhapsode(tmp_path, "engines", "remove", "pocket", env={"RHAPSODE_ENGINE__NAME": "pocket"})
    assert "will not start" in said
    assert not python.exists()


@pytest.mark.parametrize(
    ("arguments", "fetched", "speaks"),
    [
        (["chatterbox"], ["chatterbox_variants", "turbo"], "chatterbox-turbo"),
        (["chatterbox-turbo"], ["chatterbox_variants", "turbo"], "chatterbox-turbo"),
        (["chatterbox-multilingual"], ["chatterbox_variants", "multilingual"], "chatterbox-multilingual"),
        (["chatterbox", "--model", "original"], ["chatterbox_variants", "original"], "chatterbox"),
        (["pocket", "--model", "de"], ["pocket_files", "de"], "pocket"),
    ],
)
def test_the_model_of_the_engine_that_is_named_is_fetched_and_named(
    tmp_path: Path, arguments: list[str], fetched: list[str], speaks: str
) -> None:
    python = fake_environment(tmp_path, "pocket" if arguments[0] == "pocket" else "chatterbox")
    python.write_text(f'#!/bin/sh\necho "$@" > "{tmp_path}/asked"\n')
    python.chmod(0o755)
    _, said = rhapsode(tmp_path, "engines", "install", *arguments)
    module, model = fetched
    asked = (tmp_path / "asked").read_text().split()
    assert asked[:3] == ["-P", "-m", f"rhapsode.engines.{module}"]
    assert asked[-1] == model
    assert f"engine.name: {speaks}," in said


def test_what_is_named_without_fetching_is_what_would_have_been_fetched(tmp_path: Path) -> None:
    fake_environment(tmp_path, "chatterbox")
    _, said = rhapsode(tmp_path, "engines", "install", "chatterbox", "--no-models")
    assert "engine.name: chatterbox-turbo," in said


def test_removing_an_engine_warns_when_the_active_one_lives_in_its_environment(tmp_path: Path) -> None:
    fake_environment(tmp_path, "chatterbox")
    _, said = rhapsode(tmp_path, "engines", "remove", "chatterbox", env={"RHAPSODE_ENGINE__NAME": "chatterbox-turbo"})
    assert "engine.name is chatterbox-turbo: the server will not start" in said


@pytest.mark.parametrize("stamp", [{"version": "0.0.1"}])
def test_an_installation_that_fails_says_why_and_leaves_the_old_one(tmp_path: Path, stamp: dict[str, str]) -> None:
    python = fake_environment(tmp_path, "pocket", stamp)
    empty = tmp_path / "no packages"
    empty.mkdir()
    nothing = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(empty), "PIP_CONFIG_FILE": os.devnull}
    _, said = rhapsode(tmp_path, "engines", "install", "pocket", status=1, env=nothing)
    assert "could not be installed; check the network" in said
    assert "No matching distribution" in said
    assert python.exists()
    assert json.loads((python.parents[1] / "rhapsode-engine.json").read_text()) == stamp
