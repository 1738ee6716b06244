"""What was said of recordings."""

from pathlib import Path

import pytest

from rhapsode.jobs.consents import Consent, Consents, read_consent


@pytest.mark.parametrize(
    ("said", "statement"), [("true", ""), ("YES", ""), ("1", ""), ("I agree. Ann", "I agree. Ann")]
)
def test_a_yes_or_words_are_consent(said: str, statement: str) -> None:
    assert read_consent(said, "ann", 5.0) == Consent("ann", 5.0, statement)


@pytest.mark.parametrize("said", [None, "", "  ", "false", "No", "0", "off"])
def test_a_no_or_nothing_is_none(said: str | None) -> None:
    assert read_consent(said, "ann", 5.0) is None


def test_it_goes_with_the_content_and_not_with_the_name(tmp_path: Path) -> None:
    consents = Consents(tmp_path / "consents")
    (tmp_path / "a.wav").write_bytes(b"one")
    (tmp_path / "b.wav").write_bytes(b"two")
    consents.record(tmp_path / "a.wav", Consent("ann", 5.0, "Gladly."))
    assert consents.of(tmp_path / "b.wav") is None
    (tmp_path / "a.wav").rename(tmp_path / "c.wav")
    assert Consents(tmp_path / "consents").of(tmp_path / "c.wav") == Consent("ann", 5.0, "Gladly.")
    (tmp_path / "c.wav").write_bytes(b"another")
    assert consents.of(tmp_path / "c.wav") is None
    (tmp_path / "c.wav").write_bytes(b"one")
    (tmp_path / "twin.wav").write_bytes(b"one")
    everything = sorted(tmp_path.glob("*.wav"))
    consents.forget(tmp_path / "c.wav", everything)
    assert consents.of(tmp_path / "twin.wav") is not None
    (tmp_path / "c.wav").unlink()
    consents.forget(tmp_path / "twin.wav", [])
    assert consents.of(tmp_path / "twin.wav") is None


def test_a_damaged_record_says_nothing(tmp_path: Path) -> None:
    consents = Consents(tmp_path / "consents")
    (tmp_path / "a.wav").write_bytes(b"one")
    consents.record(tmp_path / "a.wav", Consent("ann", 5.0))
    next((tmp_path / "consents").iterdir()).write_text("{")
    assert consents.of(tmp_path / "a.wav") is None
