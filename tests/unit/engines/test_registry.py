"""Engines by name: listed without loading, loaded with a clear word when they cannot be."""

from importlib.metadata import EntryPoint

import pytest

from rhapsode.engines import registry
from rhapsode.engines.base import GROUP
from rhapsode.engines.tone import ToneEngine
from rhapsode.errors import EngineError


def test_the_tone_engine_is_listed_only_when_named() -> None:
    assert "piper" in registry.engine_names()
    assert "tone" not in registry.engine_names()
    assert "tone" not in registry.engine_names({"piper"})
    assert "tone" in registry.engine_names({"tone"})


def test_an_engine_is_loaded_by_name() -> None:
    assert registry.engine_class("tone") is ToneEngine


def test_an_unknown_engine_is_an_error_that_names_those_there_are() -> None:
    with pytest.raises(EngineError, match=r"'nonesuch' is not one of: .*piper"):
        registry.engine_class("nonesuch")


def test_a_missing_extra_is_an_error_that_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    entry = EntryPoint("grand", "no_such_library.engine:Grand", GROUP)
    monkeypatch.setattr(registry, "entry_points", lambda group: [entry])
    assert registry.engine_names() == ["grand"]
    with pytest.raises(EngineError, match=r"no_such_library.*pip install rhapsode\[grand\]"):
        registry.engine_class("grand")
