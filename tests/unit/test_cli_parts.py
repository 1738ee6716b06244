"""The parts of the command line that decide something by themselves."""

import io
from pathlib import Path

import pytest
from rich.console import Console

from rhapsode.cli.bench import bench_text
from rhapsode.cli.options import human_size, human_time
from rhapsode.cli.order import Order, choose_output, decode, read_source
from rhapsode.cli.progress import Meter, Pace, figures, shown_progress
from rhapsode.client import CharCounts, Eta, JobInfo, SegmentCounts, SpeechOptions
from rhapsode.errors import InvalidInput
from rhapsode.model import JobStatus


def source(argument: str | None, text: str | None = None, data: bytes = b"") -> tuple[str, str]:
    found = read_source(argument, text, "utf-8", io.BytesIO(data))
    return found.text, found.name


def job(done: int, audio_s: float = 0.0, **fields: object) -> JobInfo:
    known = {"chars": CharCounts(done, 100), "segments": SegmentCounts(done // 10, 0, 10, True)}
    return JobInfo("j", JobStatus.RUNNING, progress=float(done), audio_seconds=audio_s, **(known | fields))  # type: ignore[arg-type]


# -- what to speak ----------------------------------------------------------------------------------------------------


def test_an_argument_is_a_file_when_there_is_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    Path("a book.txt").write_text("\ufeffÉté.", encoding="utf-8")
    assert source("a book.txt") == ("Été.", "a book")
    assert source(None, "a book.txt") == ("a book.txt", "a-book-txt")
    assert source("Call me Ishmael, some years ago, never mind.") == (
        "Call me Ishmael, some years ago, never mind.", "call-me-ishmael-some-years-ago",
    )  # fmt: skip
    assert source("x" * 5000)[1] == "x" * 48
    assert source("!?…")[1] == "speech"
    assert source("-", data=b"from a pipe") == ("from a pipe", "speech")


@pytest.mark.parametrize(
    ("argument", "text", "said"),
    [
        (None, None, "say what to speak"),
        ("a", "b", "say what to speak"),
        ("missing.txt", None, "there is no file missing.txt"),
        (".", None, "is a folder"),
        (" \n", None, "the text is empty"),
        ("caf\udce9", None, "not UTF-8 at character 3"),
    ],
)
def test_what_cannot_be_spoken_is_said(argument: str | None, text: str | None, said: str):
    with pytest.raises(InvalidInput, match=said):
        source(argument, text)


def test_bytes_in_another_encoding_are_named_by_their_place():
    with pytest.raises(
        InvalidInput, match=r"b\.txt is not UTF-8 text: byte 0xe9 at offset 8 \(line 2\).*--encoding cp1252"
    ):
        decode(b"one\ncaf \xe9t\xe9", "b.txt", "utf-8")
    with pytest.raises(InvalidInput, match="--encoding utf-16"):
        decode("one".encode("utf-16"), "b.txt", "utf-8")
    with pytest.raises(InvalidInput, match="there is no encoding 'klingon'"):
        decode(b"one", "b.txt", "klingon")
    assert decode("é".encode("cp1252"), "b.txt", "cp1252") == "é"
    assert decode("one".encode("utf-16"), "b.txt", "utf-16") == "one"


# -- where to ---------------------------------------------------------------------------------------------------------


def test_the_extension_says_the_format_unless_something_else_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    assert choose_output(Path("a.MP3"), None, "wav", "n") == (tmp_path / "a.MP3", "mp3")
    assert choose_output(Path("a.ogg"), None, "wav", "n") == (tmp_path / "a.ogg", "opus")
    assert choose_output(Path("a.bin"), "flac", "wav", "n") == (tmp_path / "a.bin", "flac")
    assert choose_output(None, None, "opus", "n") == (tmp_path / "n.opus", "opus")
    assert choose_output(tmp_path, "mp3", "opus", "n") == (tmp_path / "n.mp3", "mp3")
    (tmp_path / "n.wav").touch()
    assert choose_output(Path("n.wav"), None, "wav", "n")[0] == tmp_path / "n.wav"
    for output in (None, tmp_path):
        with pytest.raises(InvalidInput, match="is there already"):
            choose_output(output, None, "wav", "n")


def test_the_key_changes_with_all_that_decides(tmp_path: Path):
    options = SpeechOptions(output_format="wav")
    base = Order("Hi.", options, tmp_path / "a.wav")
    keys = {
        base.key({}),
        base.key({"engine": "other"}),
        Order("Ho.", options, tmp_path / "a.wav").key({}),
        Order("Hi.", SpeechOptions(output_format="wav", seed=2), tmp_path / "a.wav").key({}),
        Order("Hi.", options, tmp_path / "b.wav").key({}),
    }
    assert len(keys) == 5
    assert base.key({}) == Order("Hi.", SpeechOptions(output_format="wav"), tmp_path / "a.wav").key({})


# -- how far ----------------------------------------------------------------------------------------------------------


def test_the_pace_is_that_of_now_and_of_this_run():
    now = [0.0]
    meter = Meter(lambda: now[0])
    assert meter.update(job(40, 4.0)) is None
    now[0] = 2.0
    assert meter.update(job(60, 8.0)) == Pace(10.0, 2.0)
    now[0] = 12.0
    meter.update(job(60, 8.0))
    now[0] = 22.0
    assert meter.update(job(80, 9.0)) == Pace(1.0, 0.05)


def test_figures_say_segments_rate_and_rest():
    assert figures(job(20), Pace(10.0, 2.5)) == "2/10 segments, 10 characters/s, 2.5× real time, 8.0 s left"
    unplanned = job(20, segments=SegmentCounts(2, 0, 5, False), eta_seconds=Eta(75, 90), waiting_for="disk full")
    assert figures(unplanned, None) == "2/5+ segments, 1:15 left (waiting: disk full)"


def test_lines_are_few_where_there_is_no_terminal():
    now = [0.0]
    out = io.StringIO()
    with shown_progress(Console(file=out, width=200), lambda: now[0]) as watch:
        for percent in range(100):
            now[0] = percent * 0.3
            watch(job(percent, percent / 10))
    lines = out.getvalue().splitlines()
    assert len(lines) == 5
    assert lines[0].startswith(" 17.0 %  1/10 segments, 3 characters/s, 0.3× real time")


@pytest.mark.parametrize(
    ("seconds", "shown"), [(0.04, "0.0 s"), (9.94, "9.9 s"), (59.4, "59 s"), (60, "1:00"), (3725, "1:02:05")]
)
def test_times_are_short(seconds: float, shown: str):
    assert human_time(seconds) == shown


@pytest.mark.parametrize(
    ("size", "shown"), [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (12_345, "12 kB"), (4_000_000_000, "4.0 GB")]
)
def test_sizes_are_short(size: int, shown: str):
    assert human_size(size) == shown


@pytest.mark.parametrize("chars", [50, 6_000, 60_000])
def test_the_text_of_the_bench_is_fixed_and_repeats_nothing(chars: int):
    text = bench_text(chars)
    sentences = text.replace("\n\n", " ").split(". ")
    assert chars - 120 < len(text) <= max(chars, 80)
    assert len(set(sentences)) == len(sentences)
    assert bench_text(chars) == text
