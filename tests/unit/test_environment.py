"""Environments of engines: what is asked for, and what is there."""

from pathlib import Path

import pytest

from rhapsode.compose import installed_engines
from rhapsode.engines.registry import CLONING
from rhapsode.environment import FOLDER, families, install, interpreters, missing, remove, requirements_of
from rhapsode.errors import InvalidInput
from rhapsode.settings import Settings
from tests.hosted import fake_environment


def test_an_extra_asks_for_its_libraries() -> None:
    assert requirements_of("pocket")[0].startswith("pocket-tts")
    assert requirements_of("chatterbox")[0].startswith("chatterbox-tts")
    assert requirements_of("nonesuch") == []


def test_engines_of_one_module_share_an_extra() -> None:
    assert families()["chatterbox"] == ["chatterbox", "chatterbox-multilingual", "chatterbox-turbo"]
    assert families()["pocket"] == ["pocket"]
    assert "tone" not in families()


def test_engines_that_are_said_to_clone_exist() -> None:
    assert set(CLONING) <= {name for names in families().values() for name in names}


def test_one_that_fits_is_used_for_all_its_engines(tmp_path: Path) -> None:
    assert interpreters(tmp_path) == {}
    assert missing(tmp_path)["chatterbox-turbo"] == "rhapsode engines install chatterbox"
    python = fake_environment(tmp_path, "chatterbox")
    assert interpreters(tmp_path) == dict.fromkeys(families()["chatterbox"], python)
    assert not any(name.startswith("chatterbox") for name in missing(tmp_path))


@pytest.mark.parametrize("stamp", [{}, [], {"version": "0.0.0", "requirements": []}])
def test_one_of_another_version_is_not_used(tmp_path: Path, stamp: object) -> None:
    fake_environment(tmp_path, "pocket", stamp)
    assert interpreters(tmp_path) == {}
    assert "pocket" in missing(tmp_path)


def test_one_that_was_not_finished_is_not_used(tmp_path: Path) -> None:
    python = fake_environment(tmp_path, "pocket")
    python.unlink()
    assert interpreters(tmp_path) == {}


def test_unknown_engines_are_refused_with_those_there_are(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"'nonesuch' cannot be installed; these can: .*pocket"):
        install(tmp_path, "nonesuch", print)
    with pytest.raises(InvalidInput, match="no environment"):
        remove(tmp_path, "../nonesuch", print)


def test_what_is_removed_is_gone(tmp_path: Path) -> None:
    fake_environment(tmp_path, "pocket")
    said: list[str] = []
    remove(tmp_path, "pocket", said.append)
    assert interpreters(tmp_path) == {}
    assert not (tmp_path / FOLDER / "pocket").exists()
    assert said
    with pytest.raises(InvalidInput):
        remove(tmp_path, "pocket", said.append)


def test_a_cluster_has_nothing_of_this_machine(tmp_path: Path) -> None:
    python = fake_environment(tmp_path, "pocket")
    assert interpreters(tmp_path)["pocket"] == python
    assert installed_engines(Settings(data_dir=tmp_path))["pocket"] == ""
    cluster = Settings.model_validate({"data_dir": tmp_path, "fleet": {"kind": "ray"}})
    assert installed_engines(cluster)["pocket"] == "pip install rhapsode[pocket]"
