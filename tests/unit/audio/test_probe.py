"""Sound that somebody sent: taken when it is sound, refused otherwise, and never more than a moment, a memory and a process of its own."""

import asyncio
import io
import random
import shlex
import struct
import sys
import tempfile
import time
import wave
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import av
import numpy as np
import psutil
import pytest
from av.audio import AudioStream
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from rhapsode.audio import probe as probing
from rhapsode.audio.probe import Sound, inspect, probe
from rhapsode.audio.wav import read_wav, wav_bytes
from rhapsode.errors import BlobError, InvalidInput

LONGEST_S = 30.0


def tone(seconds: float = 0.5, rate: int = 22_050) -> NDArray[np.float32]:
    wave = 0.3 * np.sin(np.arange(int(seconds * rate)) * 0.1)
    return np.asarray(wave, np.float32)


def pcm(rate: int = 22_050, channels: int = 1, seconds: float = 0.5) -> bytes:
    out = io.BytesIO()
    with wave.open(out, "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(2)
        file.setframerate(rate)
        values = (tone(seconds, rate) * 32767).astype("<i2")
        file.writeframes(np.repeat(values, channels).tobytes())
    return out.getvalue()


def floats(values: NDArray[Any], rate: int = 22_050) -> bytes:
    """A WAV file of 32-bit floats."""
    data = values.astype("<f4").tobytes()
    head = struct.pack(
        "<4sI4s4sIHHIIHH4sI",
        b"RIFF",
        36 + len(data),
        b"WAVE",
        b"fmt ",
        16,
        3,
        1,
        rate,
        4 * rate,
        4,
        32,
        b"data",
        len(data),
    )
    return head + data


def encoded(codec: str, container: str, seconds: float, silent: bool = False) -> bytes:
    out = io.BytesIO()
    with av.open(out, "w", format=container) as file:
        stream = cast(AudioStream, file.add_stream(codec, rate=44_100, layout="mono"))
        block = np.zeros((1, 44_100), np.int16) if silent else (tone(1, 44_100) * 32767).astype(np.int16)[None, :]
        for second in range(int(seconds)):
            frame = av.AudioFrame.from_ndarray(block, format="s16", layout="mono")
            frame.rate, frame.pts = 44_100, second * 44_100
            file.mux(stream.encode(frame))
        file.mux(stream.encode(None))
    return out.getvalue()


def bomb() -> bytes:
    """Some hundred kilobytes that are an hour of sound, 600 times as much."""
    return encoded("flac", "flac", 3_600, silent=True)


@pytest.mark.parametrize(
    ("data", "found"),
    [
        (lambda: pcm(), Sound("pcm_s16le", 22_050, 1, 0.5)),
        (lambda: pcm(channels=8), Sound("pcm_s16le", 22_050, 8, 0.5)),
        (lambda: pcm(rate=4_000), Sound("pcm_s16le", 4_000, 1, 0.5)),
        (lambda: floats(tone()), Sound("pcm_f32le", 22_050, 1, 0.5)),
        (lambda: encoded("libmp3lame", "mp3", 1), Sound("mp3float", 44_100, 1, 1.0)),
        (lambda: encoded("flac", "flac", 2), Sound("flac", 44_100, 1, 2.0)),
    ],
    ids=["16 bits", "8 channels", "4 kHz", "32-bit floats", "mp3", "flac in another name"],
)
async def test_sound_is_taken(tmp_path: Path, data: Callable[[], bytes], found: Sound) -> None:
    path = tmp_path / "upload"
    path.write_bytes(data())
    clip = await probe(path, LONGEST_S)
    assert (clip.codec, clip.sample_rate, clip.channels) == (found.codec, found.sample_rate, found.channels)
    assert clip.duration_s == pytest.approx(found.duration_s, abs=0.1)


def playlist(target: Path) -> bytes:
    return f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{target}\n#EXT-X-ENDLIST\n".encode()


def concat(target: Path) -> bytes:
    return f"ffconcat version 1.0\nfile {target.name}\n".encode()


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (lambda: b"", "decoded"),
        (lambda: b"RIFF", "decoded"),
        (lambda: b"Once upon a time. " * 1_000, "decoded"),
        (lambda: b"\x89PNG\r\n\x1a\n" + bytes(1_000), "decoded"),
        (lambda: random.Random(1).randbytes(100_000), "decoded"),
        (lambda: pcm()[:30], "decoded"),
        (lambda: pcm()[:44], "no sound"),
        (lambda: pcm(rate=1), "sample rate is 1 Hz"),
        (lambda: pcm(seconds=0.05), "shorter than 0.1 s"),
        (lambda: pcm(rate=1_000_000, seconds=0.01), "sample rate is 1000000 Hz"),
        (lambda: pcm(channels=64, seconds=0.2), "64 channels"),
        (lambda: floats(np.zeros(22_050)), "silent"),
        (lambda: floats(np.full(22_050, np.nan)), "no sound"),
        (lambda: floats(np.full(22_050, np.inf)), "no sound"),
        (lambda: pcm(rate=4_000, seconds=3_600), "longer than 30 s"),
        (lambda: encoded("libmp3lame", "mp3", 40), "longer than 30 s"),
    ],
    ids=[
        "nothing", "four bytes", "text", "an image", "noise", "half a header", "a header", "1 Hz", "a click", "1 MHz", "64 channels", "silence",
        "NaN", "infinity", "an hour", "a long mp3",
    ],
)  # fmt: skip
def test_what_is_no_recording_is_refused(tmp_path: Path, data: Callable[[], bytes], why: str) -> None:
    path = tmp_path / "upload"
    path.write_bytes(data())
    with pytest.raises(InvalidInput, match=why) as refused:
        inspect(path, LONGEST_S)
    assert str(tmp_path) not in str(refused.value)


@pytest.mark.parametrize("write", [playlist, concat])
def test_no_playlist_leads_to_another_file(tmp_path: Path, write: Callable[[Path], bytes]) -> None:
    (tmp_path / "secret.wav").write_bytes(pcm())
    (tmp_path / "upload").write_bytes(write(tmp_path / "secret.wav"))
    with pytest.raises(InvalidInput, match="decoded"):
        inspect(tmp_path / "upload", LONGEST_S)


async def test_a_bomb_costs_a_moment(tmp_path: Path) -> None:
    path = tmp_path / "upload"
    path.write_bytes(bomb())
    assert path.stat().st_size < 600_000
    began = time.monotonic()
    with pytest.raises(InvalidInput, match="longer than 30 s"):
        await probe(path, LONGEST_S)
    assert time.monotonic() - began < 20


HOG = """
import sys, time, rhapsode.audio.probe as probe
probe.inspect = lambda *_: {action}
sys.argv = ["probe", "file", "1"]
probe.main()
"""


@pytest.mark.parametrize(
    ("action", "why"),
    [
        ("bytearray(4 << 30)", "needs too much memory"),
        ("open('/tmp/rhapsode-probe-must-not-write', 'wb').write(bytes(9)) and None", "decoded"),
        ("__import__('os').kill(__import__('os').getpid(), 11)", "decoded"),
        ("[open('/dev/null') for _ in range(100)]", "decoded"),
        ("print('x' * 1_000_000)", "decoded"),
        ("time.sleep(3_600)", "too long"),
    ],
    ids=["memory", "writing", "crash", "files", "talk", "sleep"],
)
async def test_the_child_may_do_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, action: str, why: str
) -> None:
    hog = tmp_path / "hog"
    script = tmp_path / "hog.py"
    script.write_text(HOG.format(action=action))
    # of a shell, since a first line that names the interpreter holds no space
    hog.write_text(f"#!/bin/sh\nexec {shlex.quote(sys.executable)} {shlex.quote(str(script))}\n")
    hog.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(hog))
    monkeypatch.setattr(probing, "_PATIENCE_S", 5.0 if why == "too long" else 60.0)
    with pytest.raises(InvalidInput, match=why):
        await probe(tmp_path / "file", 1)
    written = Path("/tmp/rhapsode-probe-must-not-write")
    assert not written.exists() or not written.stat().st_size
    written.unlink(missing_ok=True)


async def test_a_child_is_ended_with_its_asker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hog = tmp_path / "hog"
    hog.write_text(f"#!/bin/sh\necho $$ > {tmp_path}/pid\nexec sleep 3600\n")
    hog.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(hog))
    asking = asyncio.create_task(probe(tmp_path / "file", 1))
    async with asyncio.timeout(10):
        while not (tmp_path / "pid").exists() or not (tmp_path / "pid").read_text().strip():
            await asyncio.sleep(0.01)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    child = psutil.Process(pid) if psutil.pid_exists(pid := int((tmp_path / "pid").read_text())) else None
    async with asyncio.timeout(10):  # until it is gone, or waits to be buried
        while child is not None and child.is_running() and child.status() != psutil.STATUS_ZOMBIE:
            await asyncio.sleep(0.01)


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_damaged_sound_is_decoded_or_refused(data: st.DataObject) -> None:
    """Bytes flipped, cut off and put in, at random places of real files."""
    whole = bytearray(data.draw(st.sampled_from([SMALL_WAV, SMALL_FLOAT, SMALL_MP3])))
    for _ in range(data.draw(st.integers(1, 8))):
        place = data.draw(st.integers(0, min(len(whole) - 1, 200)) | st.integers(0, len(whole) - 1))
        whole[place : place + data.draw(st.integers(0, 4))] = data.draw(st.binary(max_size=4))
    with tempfile.NamedTemporaryFile() as file:
        file.write(whole[: data.draw(st.integers(0, len(whole)))])
        file.flush()
        try:
            clip = inspect(Path(file.name), LONGEST_S)
        except InvalidInput:
            return
    assert 0.1 <= clip.duration_s <= LONGEST_S + 0.01


SMALL_WAV = pcm(rate=4_000, seconds=0.12)
SMALL_FLOAT = floats(tone(0.12, 4_000), 4_000)
SMALL_MP3 = encoded("libmp3lame", "mp3", 1)[:4_000]


@given(st.binary(max_size=100) | st.binary(max_size=60).map(lambda tail: wav_bytes(tone(0.001), 22_050)[:44] + tail))
def test_a_take_is_read_whole_or_refused(data: bytes) -> None:
    try:
        samples, rate = read_wav(data)
    except BlobError:
        return
    assert wav_bytes(samples, rate) == data
