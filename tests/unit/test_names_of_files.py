"""Whatever a file is called that somebody sends: what it is stored as is one plain name on every system."""

import unicodedata
from pathlib import Path, PurePosixPath, PureWindowsPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rhapsode.errors import InvalidInput
from rhapsode.jobs.library import RECORDINGS, VOICE_FILES, clean_name

NASTY = st.sampled_from(
    ["../", "..\\", "/", "\\", "C:", "con", "NUL", "com¹", ".", " ", "\x00", "\n", "\u202e", "\u200b", "e\u0301", "．", "／", "ﬁ", "👩‍👩‍👧", "%2e%2e"]
)  # fmt: skip
NAMES = st.lists(NASTY | st.text(max_size=20), max_size=12).map("".join)


@given(NAMES, st.sampled_from([*VOICE_FILES, ".WAV", ".Mp3"]))
def test_a_clean_name_is_one_plain_file_name(stem: str, ending: str) -> None:
    try:
        name = clean_name(stem + ending, VOICE_FILES)
    except InvalidInput:
        return
    assert name.endswith(VOICE_FILES)
    assert PurePosixPath(name).name == name == PureWindowsPath(name).name
    assert not PureWindowsPath(name).is_reserved()
    assert not name.startswith((".", " "))
    assert len(name.encode()) <= 200
    assert unicodedata.normalize("NFC", name) == name
    assert all(c.isprintable() for c in name)
    assert not set('<>:"/\\|?*%\x00') & set(name)
    assert (Path("/library") / name).resolve().parent == Path("/library")
    assert clean_name(name, VOICE_FILES) == name, "a clean name stays as it is"


@pytest.mark.parametrize(
    ("given_name", "stored"),
    [
        ("../../etc/passwd.wav", "passwd.wav"),
        ("/etc/cron.d/x.wav", "x.wav"),
        ("C:\\Windows\\System32\\a.wav", "a.wav"),
        ("CON.wav", "_CON.wav"),
        ("nul.tar.wav", "_nul.tar.wav"),
        ("com¹.wav", "_com¹.wav"),
        ("a\x00b.wav", "a_b.wav"),
        ("gnp\u202evaw.wav", "gnp_vaw.wav"),
        ("e\u0301te\u0301.wav", "\u00e9t\u00e9.wav"),
        ("．．／a.wav", "___a.wav"),
        ("голос.wav", "голос.wav"),
        ("x" * 5_000 + ".wav", "x" * 180 + ".wav"),
        ("é" * 5_000 + ".wav", "é" * 90 + ".wav"),
    ],
)
def test_known_tricks(given_name: str, stored: str) -> None:
    assert clean_name(given_name, RECORDINGS) == stored


@pytest.mark.parametrize(
    "name", ["", ".wav", "...wav", " .wav", "/.wav", "a.exe", "a.wav.exe", "a", "\u202e.wav", "__.wav"]
)
def test_names_with_nothing_left_are_refused(name: str) -> None:
    with pytest.raises(InvalidInput):
        clean_name(name, RECORDINGS)
