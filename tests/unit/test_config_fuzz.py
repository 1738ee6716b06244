"""Whatever a configuration file, the environment or a page says: settings, or an error that can be read; and a file that stays whole."""

import json
import tempfile
from pathlib import Path
from typing import Any

from fastapi.responses import JSONResponse
from hypothesis import given, settings
from hypothesis import strategies as st

from rhapsode.config import effective, env_name, load_settings
from rhapsode.config_file import ConfigFile
from rhapsode.errors import ConfigError, Forbidden
from rhapsode.settings import sections

KEYS = ["data_dir", *(f"{name}.{key}" for name, section in sections().items() for key in section.model_fields)]
ODD = st.sampled_from(
    [
        "", "0", "-1", "1e999", "nan", ".inf", "1_000", "0x10", "yes", "null", "~", "2001-01-01", "../../etc/passwd", "~root", "~nobody-there/x",
        "\x00", "\ud800", "a" * 5_000, "8004", "::1", "[", "http://", "*", "%", "wav", "true",
    ]
)  # fmt: skip
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | ODD
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8) | ODD, inner, max_size=3)
)
NAMED = st.dictionaries(st.sampled_from(KEYS), VALUES, min_size=1, max_size=3)
PIECES = st.sampled_from(
    [
        "server:", "  port: 1", "port", ": ", "- ", "\n", "\n  ", "\t", "{", "}", "[", "]", "&a ", "*a", "<<: *a", "!!python/object:os.system ",
        "!!binary ", "!!int x", "!!float x", "!!timestamp 1", "%YAML 9.9\n", "---\n", "...\n", "\\ud800", "|",
        ">", '"', "'", "#", "? ", "@", "`", "\x00", "\x85", "\u2028", "\ufeff",
        "{a: 1, a: 2}", "2001-99-99", "0o9", "0b2", "1:61", "99999999999999999999",
    ]
)  # fmt: skip
TEXTS = st.lists(PIECES | st.text(max_size=5), max_size=20).map("".join)


def nested(named: dict[str, Any]) -> dict[str, Any]:
    """Values by section, as a file or a page has them."""
    found: dict[str, Any] = {}
    for key, value in named.items():
        section, _, name = key.partition(".")
        if name:
            found.setdefault(section, {})[name] = value
        else:
            found[section] = value
    return found


def shown(values: object) -> None:
    """What an answer does with them."""
    JSONResponse(values)


def problem(**sources: Any) -> str:
    """Load what a file or the environment says; empty when it is in force and can be shown, else why it is refused."""
    folder = Path("/nowhere")
    try:
        loaded = load_settings(folder / "my.yaml", folder / "data", **{"env": {}, "content": "", **sources})
    except ConfigError as error:
        return str(error)
    shown(effective(loaded))
    return ""


@settings(deadline=None)
@given(TEXTS)
def test_any_text_is_a_configuration_or_says_why_not(text: str) -> None:
    assert "my.yaml" in (problem(content=text) or "my.yaml")


@settings(deadline=None)
@given(NAMED)
def test_any_values_are_in_force_or_named(named: dict[str, Any]) -> None:
    found = problem(content=json.dumps(nested(named)))
    assert not found or any(key.partition(".")[0] in found for key in named) or "is not valid YAML" in found


@settings(deadline=None)
@given(NAMED.map(lambda named: {env_name(key): str(value) for key, value in named.items()}))
def test_any_environment_is_in_force_or_named(env: dict[str, str]) -> None:
    found = problem(env=env)
    assert not found or any(name in found or name.partition("__")[2].lower() in found for name in env)


@settings(deadline=None, max_examples=60)
@given(
    st.lists(NAMED.map(nested) | st.dictionaries(st.text(max_size=8) | ODD, VALUES, max_size=3), min_size=1, max_size=3)
)
def test_what_a_page_saves_is_in_force_after_a_restart_or_not_there_at_all(saves: list[dict[str, Any]]) -> None:
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "my.yaml"
        path.write_text("# kept\nserver:\n  port: 8005\n", encoding="utf-8")
        file = ConfigFile(load_settings(path, Path(name) / "data", env={}))
        for changes in saves:
            before = path.read_bytes()
            try:
                file.save(changes)
            except (ConfigError, Forbidden):
                assert path.read_bytes() == before
        again = ConfigFile(load_settings(path, Path(name) / "data", env={}))
        assert again.loaded.settings == file.loaded.settings
        shown(again.view())
        assert "# kept" in path.read_text(encoding="utf-8")
        assert not list(Path(name).rglob(".tmp-*"))


def test_anchors_that_multiply_cost_nothing() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 12)]
    for last in (
        "server: *a11",
        "server: {port: *a11}",
        "ui: {title: *a11}",
        "ui_state: {last_text: *a11}",
        "tts_engine: {predefined_voices_path: *a11}",
    ):
        assert 0 < len(problem(content="\n".join([*lines, last]))) < 2_000


def test_what_nests_too_deeply_is_refused() -> None:
    assert "not valid YAML" in problem(content="ui_state: " + "[" * 1_000)
    assert "32 levels" in problem(content="ui_state: {last_seed: " + "[" * 40 + "]" * 40 + "}")
