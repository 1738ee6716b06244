"""Chatterbox's released code is read, and our calls and files are held against it (``tests/chatterbox_model.py`` runs it)."""

import ast
from pathlib import Path

import pytest

from rhapsode.engines.chatterbox_variants import LANGUAGES, MULTILINGUAL, ORIGINAL, TURBO, VARIANTS, Variant
from rhapsode.engines.recordings import Recordings
from rhapsode.errors import EngineError
from tests.hosted import ROOT

SOURCES = ROOT / ".venv-engines" / "sources"
variants = pytest.mark.parametrize("variant", VARIANTS.values(), ids=list(VARIANTS))


def source(variant: Variant) -> ast.Module:
    return ast.parse((SOURCES / Path(*variant.module.split("."))).with_suffix(".py").read_text(encoding="utf-8"))


def methods(variant: Variant) -> dict[str, ast.FunctionDef]:
    (found,) = [node for node in source(variant).body if isinstance(node, ast.ClassDef) and node.name == variant.model]
    return {node.name: node for node in found.body if isinstance(node, ast.FunctionDef)}


def names(function: ast.FunctionDef) -> list[str]:
    return [argument.arg for argument in function.args.args]


@variants
def test_the_model_is_loaded_from_a_folder_and_a_device(variant: Variant) -> None:
    assert names(methods(variant)["from_local"]) == ["cls", "ckpt_dir", "device"]


@variants
def test_the_model_speaks_with_the_arguments_that_it_has(variant: Variant) -> None:
    generate = methods(variant)["generate"]
    known = names(generate)
    assert known[:2] == ["self", "text"]
    given = variant.arguments({"temperature": 0.7, "speed_factor": 2.0, "cfg_weight": 0.3}, "pt_BR")
    assert set(given) <= set(known)
    assert given["temperature"] == 0.7
    assert "speed_factor" not in given
    needed = known[2 : len(known) - len(generate.args.defaults)]
    assert set(needed) <= set(given), "no argument without a default is left out"


def test_each_variant_gets_its_own_controls() -> None:
    assert VARIANTS["turbo"].arguments({}, "en") == {"temperature": 0.8}
    assert ORIGINAL.arguments({}, "en") == {"temperature": 0.8, "exaggeration": 0.5, "cfg_weight": 0.5}
    assert MULTILINGUAL.arguments({"exaggeration": 1.0}, "pt_BR")["language_id"] == "pt"
    assert "[laugh]" in TURBO.tags


@variants
def test_a_voice_is_prepared_from_one_argument_and_kept_in_a_file(variant: Variant) -> None:
    prepare = methods(variant)["prepare_conditionals"]
    assert len(names(prepare)) - len(prepare.args.defaults) == 2  # self and the recording
    (kept,) = [node for node in source(variant).body if isinstance(node, ast.ClassDef) and node.name == "Conditionals"]
    parts = {node.name: names(node) for node in kept.body if isinstance(node, ast.FunctionDef)}
    assert parts["save"] == ["self", "fpath"]
    assert parts["load"] == ["cls", "fpath", "map_location"]
    assert parts["to"] == ["self", "device"]
    assert "conds" in {node.attr for node in ast.walk(methods(variant)["generate"]) if isinstance(node, ast.Attribute)}


@variants
def test_the_files_that_are_fetched_are_those_that_it_loads(variant: Variant) -> None:
    loaded = {
        node.value
        for node in ast.walk(methods(variant)["from_local"])
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and "." in node.value
    }
    if variant is TURBO:
        assert "from_pretrained(ckpt_dir)" in ast.unparse(methods(variant)["from_local"])
        assert set(variant.needed) - {"tokenizer_config.json"} <= loaded
    else:
        assert {*variant.needed, *variant.vocabulary[0]} <= loaded
    fetched = ast.unparse(source(variant))
    assert variant.repository in fetched


def test_the_languages_are_those_that_it_knows() -> None:
    (known,) = [
        ast.literal_eval(node.value)
        for node in source(MULTILINGUAL).body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "SUPPORTED_LANGUAGES"
    ]
    assert tuple(known) == LANGUAGES


def test_a_folder_that_holds_the_files_needs_no_hub(tmp_path: Path) -> None:
    folder = ORIGINAL.folder(tmp_path)
    assert folder == MULTILINGUAL.folder(tmp_path)
    folder.mkdir()
    for name in (*ORIGINAL.needed, *ORIGINAL.vocabulary[0]):
        (folder / name).touch()
    assert ORIGINAL.fetched(tmp_path) == folder


@pytest.mark.parametrize("missing", ["tokenizer_config.json", "vocab.json", "merges.txt"])
def test_a_folder_without_its_tokenizer_is_not_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, missing: str
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    folder = TURBO.folder(tmp_path)
    folder.mkdir()
    for name in (*TURBO.needed, *TURBO.vocabulary[0]):
        (folder / name).touch()
    assert TURBO.fetched(tmp_path) == folder
    (folder / missing).unlink()
    with pytest.raises(EngineError, match=r"tokenizer_config\.json, vocab\.json and merges\.txt, or tokenizer\.json"):
        TURBO.fetched(tmp_path)


def test_recordings_that_differ_in_their_ending_alone_are_two_voices(tmp_path: Path) -> None:
    for name in ("ann.mp3", "ann.wav", "bob.wav"):
        (tmp_path / name).write_bytes(name.encode())
    found = Recordings(tmp_path).voices("en")
    assert [(voice.id, voice.filename) for voice in found] == [
        ("ann.mp3", "ann.mp3"),
        ("ann.wav", "ann.wav"),
        ("bob", "bob.wav"),
    ]
    (tmp_path / "ann.wav.mp3").write_bytes(b"whose stem is a file's name")
    ids = [voice.id for voice in Recordings(tmp_path).voices("en")]
    assert ids == ["ann.mp3", "ann.wav", "ann.wav.mp3", "bob"]
