"""Archives of finished files."""

import io
import tracemalloc
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from rhapsode.deliver.archive import Member, archive, safe_names

_THEN = (2026, 5, 1, 12, 30, 2)


def member(path: Path, name: str, data: bytes) -> Member:
    path.write_bytes(data)
    return Member(name, lambda: pieces_of(path), len(data), _THEN)


def pieces_of(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while data := file.read(500_000):
            yield data


def test_what_is_unpacked_is_what_was_packed(tmp_path: Path) -> None:
    contents = {"one.wav": b"a" * 1_500_000, "zwei ü.mp3": b"", "three.flac": b"xyz"}
    members = [member(tmp_path / str(n), name, data) for n, (name, data) in enumerate(contents.items())]
    pieces = list(archive({"batch_id": "b"}, members))
    with zipfile.ZipFile(io.BytesIO(b"".join(pieces))) as made:
        assert made.testzip() is None
        assert made.namelist() == ["manifest.json", *contents]
        assert {name: made.read(name) for name in contents} == contents
        assert made.getinfo("one.wav").date_time == _THEN
        assert made.getinfo("one.wav").compress_type == zipfile.ZIP_STORED


def test_memory_does_not_grow_with_the_files(tmp_path: Path) -> None:
    path = tmp_path / "big"
    with path.open("wb") as file:
        file.truncate(200_000_000)
    size = 0
    tracemalloc.start()
    for piece in archive({}, [Member("big.wav", lambda: pieces_of(path), 200_000_000, _THEN)]):
        size += len(piece)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert size > 200_000_000
    assert peak < 8_000_000


def test_a_file_that_changed_or_vanished_breaks_the_archive_off(tmp_path: Path) -> None:
    first = member(tmp_path / "a", "a.wav", b"abc")
    with pytest.raises(OSError, match="has 3 bytes, not 4"):
        list(archive({}, [Member("a.wav", first.pieces, 4, _THEN)]))
    (tmp_path / "a").unlink()
    with pytest.raises(FileNotFoundError):
        list(archive({}, [first]))


def test_a_clock_before_1980_does_no_harm(tmp_path: Path) -> None:
    old = member(tmp_path / "a", "a.wav", b"abc")
    data = b"".join(archive({}, [Member(old.name, old.pieces, old.size, (1970, 1, 1, 0, 0, 0))]))
    assert zipfile.ZipFile(io.BytesIO(data)).read("a.wav") == b"abc"


@pytest.mark.parametrize(
    ("label", "name"),
    [
        ("chapter-1", "chapter-1.wav"), ("../../etc/passwd", "_.._etc_passwd.wav"), ("/abs", "_abs.wav"),
        ("C:\\x", "C_x.wav"), ("..", "_.wav"), ("", "_.wav"), ("con", "_con.wav"), ("Lpt1.x", "_Lpt1.x.wav"),
        ("a\nb", "a_b.wav"), ("Größe", "Größe.wav"), ("x" * 500, "x" * 100 + ".wav"), ("dot.", "dot.wav"),
    ],
)  # fmt: skip
def test_names_are_safe(label: str, name: str) -> None:
    assert safe_names([(label, "wav")]) == [name]


def test_names_are_unique_on_systems_that_know_no_case() -> None:
    wanted = [("a", "wav"), ("A", "wav"), ("a", "mp3"), ("a (2)", "wav"), ("a", "wav")]
    names = safe_names(wanted)
    assert names[0] == "a.wav"
    assert len({name.casefold() for name in names}) == len(wanted)
