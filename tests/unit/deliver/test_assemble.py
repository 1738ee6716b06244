import hashlib
import tracemalloc
import wave
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import pytest

from rhapsode.audio.limiter import decibels
from rhapsode.audio.loudness import LoudnessMeter
from rhapsode.audio.wav import read_wav, to_float32, to_int16, wav_bytes
from rhapsode.deliver.assemble import Assembled, Assembler, LoudnessPass
from rhapsode.deliver.timeline import Timeline, TimelineOptions
from rhapsode.errors import BlobError, SampleRateMismatch
from rhapsode.model import AudioFormat, Boundary, Joint, Pauses

RATE = 22_050
OPTIONS = TimelineOptions(RATE, Pauses(), gain_db=2.0)
BOUNDARIES = [Joint(boundary) for boundary in Boundary]


def take(number: int, level: float = 0.1, seconds: float = 0.4) -> bytes:
    n = round(seconds * RATE)
    tone = np.sin(2 * np.pi * (200 + 20 * number) * np.arange(n) / RATE)
    return wav_bytes((level * tone).astype(np.float32), RATE)


def takes(level: float = 0.1, count: int = 10) -> list[tuple[bytes, Joint]]:
    return [(take(i, level), BOUNDARIES[i % 5]) for i in range(count)]


def factor(parts: Iterable[tuple[bytes, Joint]], lufs: float, options: TimelineOptions = OPTIONS) -> float:
    first_pass = LoudnessPass(options, lufs)
    for part in parts:
        first_pass.add(*part)
    return first_pass.makeup()


def assemble(
    path: Path,
    audio_format: AudioFormat,
    parts: Callable[[], Iterable[tuple[bytes, Joint]]],
    lufs: float | None = None,
    options: TimelineOptions = OPTIONS,
) -> Assembled:
    makeup = 1.0 if lufs is None else factor(parts(), lufs, options)
    assembler = Assembler(path, audio_format, options, {"title": "t"}, makeup)
    for part in parts():
        assembler.add(*part)
    return assembler.finish()


def timeline_of(parts: Iterable[tuple[bytes, Joint]], options: TimelineOptions = OPTIONS) -> np.ndarray:
    timeline = Timeline(options)
    return np.concatenate([*(timeline.add(read_wav(data)[0], end)[0] for data, end in parts), timeline.finish()])


def samples_of(path: Path) -> np.ndarray:
    with wave.open(str(path)) as file:
        return np.frombuffer(file.readframes(-1), "<i2")


def loudness_of(path: Path) -> float | None:
    meter = LoudnessMeter(RATE)
    meter.add(to_float32(samples_of(path)))
    return meter.integrated()


def test_the_file_is_the_timeline(tmp_path: Path) -> None:
    assembler = Assembler(tmp_path / "a.wav", AudioFormat.WAV, OPTIONS, {"title": "t"})
    places = [assembler.add(*part) for part in takes()]
    made = assembler.finish()
    whole = timeline_of(takes())
    data = (tmp_path / "a.wav").read_bytes()
    assert np.array_equal(samples_of(tmp_path / "a.wav"), to_int16(whole))
    assert made == Assembled(len(data), hashlib.sha256(data).hexdigest(), whole.size, RATE, AudioFormat.WAV)
    assert places[-1].end == made.samples


@pytest.mark.parametrize("level", [0.003, 0.05, 0.6])
def test_the_loudness_is_as_ordered(tmp_path: Path, level: float) -> None:
    assemble(tmp_path / "a.wav", AudioFormat.WAV, lambda: takes(level), -20)
    assert loudness_of(tmp_path / "a.wav") == pytest.approx(-20, abs=0.1)


def test_loudness_is_one_constant_gain(tmp_path: Path) -> None:
    assemble(tmp_path / "a.wav", AudioFormat.WAV, takes, -16)
    gain = factor(takes(), -16)
    assert gain > 1.2
    assert np.array_equal(samples_of(tmp_path / "a.wav"), to_int16(timeline_of(takes()) * np.float32(gain)))


def test_the_peak_bounds_the_loudness(tmp_path: Path) -> None:
    options = TimelineOptions(RATE, Pauses(), ceiling_db=-2)
    assemble(tmp_path / "a.wav", AudioFormat.WAV, takes, 0, options)
    peak = np.abs(to_float32(samples_of(tmp_path / "a.wav"))).max()
    assert peak == pytest.approx(decibels(-2), abs=1e-4)


def test_silence_has_no_loudness_to_change(tmp_path: Path) -> None:
    made = assemble(tmp_path / "a.wav", AudioFormat.WAV, lambda: takes(level=0), -16)
    assert made.samples > 0
    assert not samples_of(tmp_path / "a.wav").any()


def test_no_takes_make_an_empty_file(tmp_path: Path) -> None:
    assert assemble(tmp_path / "a.wav", AudioFormat.WAV, list, -16).samples == 0
    assert samples_of(tmp_path / "a.wav").size == 0


@pytest.mark.parametrize(
    ("bad", "error"), [(take(1)[:-1], BlobError), (wav_bytes(np.zeros(9, np.float32), 8000), SampleRateMismatch)]
)
def test_a_bad_take_is_refused_and_the_rest_goes_on(tmp_path: Path, bad: bytes, error: type[Exception]) -> None:
    assembler, first_pass = Assembler(tmp_path / "a.wav", AudioFormat.WAV, OPTIONS), LoudnessPass(OPTIONS, -16)
    for part in takes():
        with pytest.raises(error):
            assembler.add(bad, Joint(Boundary.CLAUSE))
        with pytest.raises(error):
            first_pass.add(bad, Joint(Boundary.CLAUSE))
        assembler.add(*part)
        first_pass.add(*part)
    assembler.finish()
    assert np.array_equal(samples_of(tmp_path / "a.wav"), to_int16(timeline_of(takes())))
    assert first_pass.makeup() == factor(takes(), -16)


def test_an_aborted_file_is_gone(tmp_path: Path) -> None:
    assembler = Assembler(tmp_path / "a.mp3", AudioFormat.MP3, OPTIONS)
    assembler.add(take(1), Joint(Boundary.CLAUSE))
    assembler.abort()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("lufs", [None, -16])
def test_joining_holds_about_one_take(tmp_path: Path, lufs: float | None) -> None:
    """Ten minutes of takes are 26 MB; one is 0.4 MB as float samples. The takes are loud, so that the limiter works too."""
    loud, options = take(1, level=0.9, seconds=5), TimelineOptions(RATE, Pauses(), gain_db=6)

    def parts() -> Iterable[tuple[bytes, Joint]]:
        return ((bytes(bytearray(loud)), Joint(Boundary.SENTENCE)) for _ in range(120))

    assemble(tmp_path / "a.wav", AudioFormat.WAV, lambda: [(loud, Joint(Boundary.CLAUSE))], lufs, options)
    tracemalloc.start()
    try:
        assemble(tmp_path / "a.wav", AudioFormat.WAV, parts, lufs, options)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 4e6
