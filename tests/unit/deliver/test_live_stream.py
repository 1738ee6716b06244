import io
from pathlib import Path

import av
import numpy as np
import pytest

from rhapsode.audio.wav import wav_bytes
from rhapsode.deliver.assemble import Assembler
from rhapsode.deliver.live import LiveStream
from rhapsode.deliver.timeline import TimelineOptions
from rhapsode.errors import SampleRateMismatch
from rhapsode.model import AudioFormat, Boundary, Joint, Pauses

RATE = 22_050
OPTIONS = TimelineOptions(RATE, Pauses(), gain_db=5.0)
TAKES = [
    (
        wav_bytes((0.4 * np.random.default_rng(i).standard_normal(5000 + 999 * i)).astype(np.float32), RATE),
        Joint(list(Boundary)[i % 5], gain_db=[None, -3.0][i % 2], lead_ms=[None, None, 40][i % 3]),
    )
    for i in range(12)
]


def decode(data: bytes, audio_format: AudioFormat) -> np.ndarray:
    if audio_format is AudioFormat.PCM:
        return np.frombuffer(data, "<i2")
    with av.open(io.BytesIO(data), "r") as container:
        return np.concatenate([frame.to_ndarray().reshape(-1) for frame in container.decode(audio=0)])


def finished(path: Path, audio_format: AudioFormat) -> np.ndarray:
    assembler = Assembler(path, audio_format, OPTIONS)
    for part in TAKES:
        assembler.add(*part)
    assembler.finish()
    return decode(path.read_bytes(), audio_format)


def live(audio_format: AudioFormat) -> bytes:
    stream = LiveStream(audio_format, OPTIONS, {"title": "t"})
    return b"".join([*(stream.add(*part) for part in TAKES), stream.finish()])


@pytest.mark.parametrize("audio_format", [AudioFormat.WAV, AudioFormat.PCM, AudioFormat.FLAC])
def test_live_and_finished_sound_agree_sample_for_sample(tmp_path: Path, audio_format: AudioFormat) -> None:
    assert np.array_equal(decode(live(audio_format), audio_format), finished(tmp_path / "a.wav", AudioFormat.WAV))


@pytest.mark.parametrize("audio_format", [AudioFormat.MP3, AudioFormat.OPUS])
def test_compressed_too_once_the_encoders_lead_is_set_aside(tmp_path: Path, audio_format: AudioFormat) -> None:
    heard, file = decode(live(audio_format), audio_format), finished(tmp_path / "a", audio_format)
    lead = {AudioFormat.MP3: 1105, AudioFormat.OPUS: 0}[audio_format]  # LAME's delay, which only the file can declare
    assert np.abs(heard[lead : lead + file.size] - file).max() < 0.02


@pytest.mark.parametrize("audio_format", list(AudioFormat))
def test_the_same_takes_give_the_same_bytes(audio_format: AudioFormat) -> None:
    assert live(audio_format) == live(audio_format)


@pytest.mark.parametrize("audio_format", list(AudioFormat))
def test_every_take_is_heard_before_the_next(audio_format: AudioFormat) -> None:
    stream, got, total = LiveStream(audio_format, OPTIONS), b"", 0
    for data, joint in TAKES:
        got += stream.add(data, joint)
        total += (len(data) - 44) // 2
        if total > RATE // 2:
            rate = 48_000 if audio_format is AudioFormat.OPUS else RATE
            assert decode(got, audio_format).size / rate > total / RATE - 0.2


def test_a_take_of_another_rate_is_refused() -> None:
    with pytest.raises(SampleRateMismatch):
        LiveStream(AudioFormat.MP3, OPTIONS).add(wav_bytes(np.zeros(9, np.float32), 8000), Joint(Boundary.CLAUSE))
