import hashlib
import io
import itertools
import resource
import subprocess
import sys
import wave
from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from rhapsode.audio.encode import (
    _CODECS,
    NO_TAGS,
    EncodedFile,
    FileEncoder,
    StreamEncoder,
    _Muxer,
    content_type,
    encode,
    extension,
)
from rhapsode.audio.wav import to_int16
from rhapsode.model import AudioFormat

RATE = 22_050
ALL = list(AudioFormat)
LOSSLESS = [AudioFormat.WAV, AudioFormat.FLAC]
CONTAINED = [AudioFormat.WAV, AudioFormat.FLAC, AudioFormat.MP3, AudioFormat.OPUS]
COMPRESSED = [AudioFormat.MP3, AudioFormat.OPUS, AudioFormat.AAC]


def tone(seconds: float, hz: float = 440, rate: int = RATE) -> np.ndarray:
    return (0.4 * np.sin(2 * np.pi * hz * np.arange(round(seconds * rate)) / rate)).astype(np.float32)


def noise(seconds: float) -> np.ndarray:
    return (0.2 * np.random.default_rng(3).standard_normal(round(seconds * RATE))).astype(np.float32)


def write(
    path: Path, audio_format: AudioFormat, pieces: list[np.ndarray], rate: int = RATE, tags: Mapping[str, str] = NO_TAGS
) -> EncodedFile:
    encoder = FileEncoder(path, audio_format, rate, tags)
    for piece in pieces:
        encoder.write(piece)
    return encoder.finish()


def decode(source: Path | bytes, audio_format: AudioFormat) -> tuple[np.ndarray, int]:
    """What a player makes of it: values as they come out of the decoder, and their rate."""
    data = source if isinstance(source, bytes) else source.read_bytes()
    if audio_format is AudioFormat.PCM:
        return np.frombuffer(data, "<i2"), RATE
    with av.open(io.BytesIO(data), "r") as container:
        frames = [frame.to_ndarray().reshape(-1) for frame in container.decode(audio=0)]
        return np.concatenate(frames), container.streams.audio[0].rate


def resident() -> int:
    """Bytes of memory that this process occupies."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def loudest_hz(values: np.ndarray, rate: int) -> float:
    return float(np.abs(np.fft.rfft(values * np.hanning(values.size))).argmax() * rate / values.size)


@pytest.mark.parametrize("audio_format", LOSSLESS)
def test_lossless_files_hold_the_very_samples(tmp_path: Path, audio_format: AudioFormat) -> None:
    samples = noise(3)
    made = write(tmp_path / "a", audio_format, [samples[:1000], samples[1000:]])
    values, rate = decode(tmp_path / "a", audio_format)
    assert np.array_equal(values, to_int16(samples))
    assert (rate, made.rate, made.samples) == (RATE, RATE, samples.size)


@pytest.mark.parametrize("audio_format", [AudioFormat.MP3, AudioFormat.OPUS])
@pytest.mark.parametrize("rate", [22_050, 24_000, 20_000])
def test_compressed_files_keep_length_and_tone(tmp_path: Path, audio_format: AudioFormat, rate: int) -> None:
    write(tmp_path / "a", audio_format, [tone(1.2345, rate=rate), tone(2, rate=rate)], rate)
    values, decoded_rate = decode(tmp_path / "a", audio_format)
    assert values.size / decoded_rate == pytest.approx(3.2345, abs=1.5 / rate)
    assert loudest_hz(values, decoded_rate) == pytest.approx(440, abs=1)
    assert np.sqrt(np.mean(np.square(values))) == pytest.approx(0.4 / np.sqrt(2), rel=0.06)  # LAME turns 5 % down


@pytest.mark.parametrize("audio_format", CONTAINED)
def test_the_header_tells_the_true_duration(tmp_path: Path, audio_format: AudioFormat) -> None:
    write(tmp_path / "a", audio_format, [tone(12.5)])
    with av.open(tmp_path / "a", "r") as container:
        assert (container.duration or 0) / 1e6 == pytest.approx(12.5, abs=0.007)  # Opus counts its pre-skip


@pytest.mark.parametrize("audio_format", CONTAINED)
def test_players_can_seek(tmp_path: Path, audio_format: AudioFormat) -> None:
    write(tmp_path / "a", audio_format, [tone(10, 300 + 40 * i) for i in range(6)])
    with av.open(tmp_path / "a", "r") as container:
        container.seek(int(45e6))
        frames = list(itertools.islice(container.decode(audio=0), 60))
        late = np.concatenate([f.to_ndarray().reshape(-1) for f in frames if f.time is not None and f.time > 45.1])
        assert frames[0].time == pytest.approx(45, abs=0.5)
        assert loudest_hz(late, frames[0].sample_rate) == pytest.approx(300 + 40 * 4, abs=6)


@pytest.mark.parametrize("audio_format", CONTAINED)
def test_tags_can_be_read(tmp_path: Path, audio_format: AudioFormat) -> None:
    tags = {"title": "Über Bücher · 本", "artist": "Joe", "album": "Shelf", "comment": "two\nlines"}
    write(tmp_path / "a", audio_format, [tone(0.5)], tags=tags)
    with av.open(tmp_path / "a", "r") as container:
        found = {**container.metadata, **container.streams.audio[0].metadata}
    assert tags.items() <= found.items()


@pytest.mark.parametrize("audio_format", ALL)
def test_size_and_digest_are_those_of_the_file(tmp_path: Path, audio_format: AudioFormat) -> None:
    made = write(tmp_path / "a", audio_format, [tone(1)])
    data = (tmp_path / "a").read_bytes()
    assert made.size == len(data)
    assert made.digest == hashlib.sha256(data).hexdigest()


def test_a_finished_wav_has_true_sizes(tmp_path: Path) -> None:
    write(tmp_path / "a.wav", AudioFormat.WAV, [noise(0.5), noise(1)], tags={"title": "t"})
    data = (tmp_path / "a.wav").read_bytes()
    assert int.from_bytes(data[4:8], "little") == len(data) - 8
    with wave.open(str(tmp_path / "a.wav")) as file:
        assert (file.getnchannels(), file.getsampwidth(), file.getframerate()) == (1, 2, RATE)
        assert file.getnframes() == round(0.5 * RATE) + RATE


class SparseFile(io.FileIO):
    """A file that skips over zeros, so that gigabytes of silence cost nothing."""

    zeros = bytes(1 << 15)

    def write(self, data: Any) -> int:
        if data != self.zeros:
            return super().write(data)
        self.seek(len(data), io.SEEK_CUR)
        return len(data)


def test_past_4_gib_a_wav_becomes_rf64(tmp_path: Path) -> None:
    """The muxer gets 4 GiB for real; only the conversion of silence to 16 bits is left out, to save the time."""
    codec = _CODECS[AudioFormat.WAV]
    silence = av.Packet(bytes(1 << 26))
    with SparseFile(tmp_path / "a.wav", "w") as file:
        muxer = _Muxer(file, codec, 48_000, {}, codec.file_options)
        silence.stream = muxer._stream
        silence.time_base = Fraction(1, 48_000)
        for _ in range(64):
            silence.pts = silence.dts = muxer._position
            muxer._container.mux(silence)
            muxer._position += silence.size // 2
        muxer.write(np.full(10, 0.5, np.float32))
        muxer.finish()
    total = 64 * (1 << 26) + 20
    with (tmp_path / "a.wav").open("rb") as file:
        head = file.read(36)
        file.seek(-20, io.SEEK_END)
        assert file.read() == to_int16(np.full(10, 0.5, np.float32)).tobytes()
        assert head[:4] + head[8:16] == b"RF64WAVEds64"
        assert int.from_bytes(head[20:28], "little") == file.tell() - 8
        assert int.from_bytes(head[28:36], "little") == total
    with av.open(tmp_path / "a.wav", "r") as container:
        assert (container.duration or 0) / 1e6 == pytest.approx(total / 2 / 48_000, abs=1e-5)


@pytest.mark.parametrize("audio_format", ALL)
def test_bytes_do_not_depend_on_how_the_samples_are_cut(tmp_path: Path, audio_format: AudioFormat) -> None:
    samples = noise(2)
    whole = write(tmp_path / "a", audio_format, [samples], tags={"title": "t"})
    pieces = np.split(samples, [1, 2, 700, 5000, 5000, 30_000])
    assert write(tmp_path / "b", audio_format, pieces, tags={"title": "t"}).digest == whole.digest


def test_another_process_writes_the_same_bytes(tmp_path: Path) -> None:
    script = (
        "import sys; from pathlib import Path; from test_encode import *\n"
        "for f in ALL: print(write(Path(sys.argv[1]), f, [noise(1), tone(1)], tags={'title': 't', 'artist': 'ä'}).digest)"
    )
    runs = [
        subprocess.run(
            [sys.executable, "-c", script, tmp_path / f"{hash_seed}"],
            env={"PYTHONHASHSEED": hash_seed, "PYTHONPATH": str(Path(__file__).parent), "TZ": zone},
            capture_output=True,
            check=True,
            text=True,
        ).stdout
        for hash_seed, zone in [("1", "UTC"), ("2", "Asia/Tokyo")]
    ]
    here = [write(tmp_path / "c", f, [noise(1), tone(1)], tags={"title": "t", "artist": "ä"}).digest for f in ALL]
    assert runs[0].split() == runs[1].split() == here


@pytest.mark.parametrize("audio_format", ALL)
def test_a_stream_gives_back_within_200_ms_what_was_put_in(audio_format: AudioFormat) -> None:
    samples, step = noise(3), RATE // 20
    encoder, got, heard = StreamEncoder(audio_format, RATE, {"title": "t"}), b"", []
    for start in range(0, samples.size, step):
        got += encoder.encode(samples[start : start + step])
        if start >= 0.2 * RATE:
            values, rate = decode(got, audio_format)
            heard.append((start + step) / RATE - values.size / rate)
    assert max(heard) <= 0.2


@pytest.mark.parametrize("audio_format", [*LOSSLESS, AudioFormat.PCM])
def test_a_lossless_stream_decodes_to_the_very_samples(audio_format: AudioFormat) -> None:
    samples = noise(2)
    encoder = StreamEncoder(audio_format, RATE)
    data = encoder.encode(samples[:777]) + encoder.encode(samples[777:]) + encoder.finish()
    assert np.array_equal(decode(data, audio_format)[0], to_int16(samples))


@pytest.mark.parametrize("audio_format", COMPRESSED)
def test_a_compressed_stream_keeps_length_and_tone(audio_format: AudioFormat) -> None:
    encoder = StreamEncoder(audio_format, RATE)
    values, rate = decode(encoder.encode(tone(3)) + encoder.finish(), audio_format)
    assert values.size / rate == pytest.approx(3, abs=0.15)  # MP3 and ADTS cannot say what is padding in a stream
    assert loudest_hz(values, rate) == pytest.approx(440, abs=1)


def test_the_first_bytes_are_a_header() -> None:
    starts = {f: StreamEncoder(f, RATE, {"title": "t"}).encode(tone(0.5))[:4] for f in CONTAINED}
    assert list(starts.values()) == [b"RIFF", b"fLaC", b"ID3\x04", b"OggS"]


def test_a_wav_stream_says_that_its_end_is_not_known() -> None:
    data = StreamEncoder(AudioFormat.WAV, RATE).encode(tone(0.5))
    assert data[4:8] == b"\xff\xff\xff\xff"
    assert data[36:44] == b"data\xff\xff\xff\xff"


@pytest.mark.parametrize("audio_format", ALL)
def test_a_folder_that_is_not_there_is_an_error(tmp_path: Path, audio_format: AudioFormat) -> None:
    with pytest.raises(OSError, match="No such file"):
        FileEncoder(tmp_path / "none" / "a", audio_format, RATE)


@pytest.mark.parametrize("audio_format", ALL)
def test_encoding_takes_no_more_memory_for_more_sound(tmp_path: Path, audio_format: AudioFormat) -> None:
    piece, seconds = tone(5), 150 if audio_format in COMPRESSED else 3000
    encoder = FileEncoder(tmp_path / "a", audio_format, RATE)
    for written in range(5, seconds, 5):
        encoder.write(piece)
        if written == 20:
            before = resident()
    encoder.finish()
    assert resident() - before < 6e6  # 150 s of float samples would be 13 MB


@pytest.mark.parametrize("audio_format", ALL)
def test_a_full_disk_is_an_error(audio_format: AudioFormat) -> None:
    with pytest.raises(OSError, match="No space left"):
        write(Path("/dev/full"), audio_format, [tone(0.05)])


@pytest.mark.parametrize("audio_format", ALL)
def test_an_aborted_file_is_gone(tmp_path: Path, audio_format: AudioFormat) -> None:
    encoder = FileEncoder(tmp_path / "a", audio_format, RATE)
    encoder.write(tone(1))
    encoder.abort()
    encoder.abort()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("audio_format", ALL)
def test_no_samples_make_no_trouble(tmp_path: Path, audio_format: AudioFormat) -> None:
    assert write(tmp_path / "a", audio_format, [np.zeros(0, np.float32)]).samples == 0
    StreamEncoder(audio_format, RATE).finish()


def test_a_path_may_look_like_an_address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write(Path("http:a.wav"), AudioFormat.WAV, [tone(0.1)])
    assert [path.name for path in tmp_path.iterdir()] == ["http:a.wav"]


def test_media_types_and_extensions() -> None:
    assert {f.value: (content_type(f), extension(f)) for f in ALL} == {
        "wav": ("audio/wav", "wav"),
        "flac": ("audio/flac", "flac"),
        "mp3": ("audio/mpeg", "mp3"),
        "opus": ("audio/opus", "opus"),
        "aac": ("audio/aac", "aac"),
        "pcm": ("audio/pcm", "pcm"),
    }


@pytest.mark.parametrize("audio_format", ALL)
def test_in_memory_it_is_the_same_file(tmp_path: Path, audio_format: AudioFormat) -> None:
    sound = tone(1.3)
    tags = {"artist": "Joe"}
    write(tmp_path / "file", audio_format, [sound], tags=tags)
    assert encode(sound, audio_format, RATE, tags) == (tmp_path / "file").read_bytes()
