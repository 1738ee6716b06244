"""How fast sound is joined and encoded, each beside the limit it could reach. Run: ``python bench/sound.py [--seconds 120] [--runs 5]``.

Numbers are × real time (seconds of audio per second of processor time), medians of interleaved runs. ``of limit`` compares with

- for joining: a plain conversion of the same takes (bytes to float samples and back to bytes), which no timeline can do without;
- for a format: FFmpeg's encoder and muxer alone, fed with ready frames of the same samples in the same piece lengths.
"""

import argparse
import io
import statistics
import tempfile
import time
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import cast

import av
import numpy as np

from rhapsode.audio.encode import _CODECS, FileEncoder
from rhapsode.audio.loudness import LoudnessMeter
from rhapsode.audio.speed import stretch
from rhapsode.audio.trim import trim_silence
from rhapsode.audio.wav import read_wav, to_int16, wav_bytes
from rhapsode.deliver.assemble import Assembler
from rhapsode.deliver.live import LiveStream
from rhapsode.deliver.timeline import Timeline, TimelineOptions
from rhapsode.model import AudioFormat, Boundary, Joint, Pauses

RATE = 22_050
TAKE_S = 4.0


def speech_like(seconds: float, seed: int) -> np.ndarray:
    """A buzz of a wandering pitch in syllables, with some noise: encoders take about as long for it as for speech."""
    rng = np.random.default_rng(seed)
    t = np.arange(round(seconds * RATE)) / RATE
    phase = 2 * np.pi * np.cumsum(110 + 25 * np.sin(2 * np.pi * 0.6 * t + seed)) / RATE
    voice = sum(np.sin(k * phase) / k**1.3 for k in range(1, 30))
    syllables = np.clip(np.sin(2 * np.pi * 3.5 * t), 0, 1)
    return np.asarray(0.2 * syllables * (voice + 0.2 * rng.standard_normal(t.size)), np.float32)


def bare_encoder(audio_format: AudioFormat, takes: list[np.ndarray]) -> Callable[[], None]:
    """FFmpeg alone, as this format is set up here, on frames of one second that are made beforehand."""
    codec = _CODECS[audio_format]
    rate = 48_000 if audio_format is AudioFormat.OPUS else RATE
    whole = np.concatenate(takes)
    if rate != RATE:
        whole = np.interp(np.arange(whole.size * rate // RATE) * RATE / rate, np.arange(whole.size), whole).astype("f4")
    values = to_int16(whole) if codec.sample_format.startswith("s16") else whole
    frames = []
    for start in range(0, values.size, rate):
        frame = av.AudioFrame.from_ndarray(
            values[start : start + rate].reshape(1, -1), format=codec.sample_format, layout="mono"
        )
        frame.sample_rate, frame.time_base, frame.pts = rate, Fraction(1, rate), start
        frames.append(frame)

    def run() -> None:
        with av.open(io.BytesIO(), "w", format=codec.container) as container:
            added = container.add_stream(codec.encoder, rate=rate, options=dict(codec.encoder_options))
            stream = cast(av.AudioStream, added)
            stream.codec_context.layout, stream.codec_context.format = "mono", codec.sample_format
            stream.codec_context.thread_count = 1
            if codec.bit_rate is not None:
                stream.codec_context.bit_rate = codec.bit_rate
            for frame in frames:
                container.mux(stream.encode(frame))
            container.mux(stream.encode(None))

    return run


def cases(takes: list[np.ndarray], folder: Path) -> dict[str, tuple[Callable[[], object], Callable[[], object] | None]]:
    """What to measure by name: the thing itself and its limit."""
    stored = [wav_bytes(take, RATE) for take in takes]
    loud = [wav_bytes(np.clip(take * 3, -1, 0.999), RATE) for take in takes]
    options = TimelineOptions(RATE, Pauses())

    def join(data: list[bytes], gain_db: float) -> Callable[[], None]:
        def run() -> None:
            timeline = Timeline(TimelineOptions(RATE, Pauses(), gain_db))
            for take in data:
                to_int16(timeline.add_take(take, Joint(Boundary.SENTENCE))[0]).tobytes()
            timeline.finish()

        return run

    def convert() -> None:
        for take in stored:
            to_int16(read_wav(take)[0]).tobytes()

    def encode(audio_format: AudioFormat) -> Callable[[], None]:
        def run() -> None:
            encoder = FileEncoder(folder / "encoded", audio_format, RATE)
            for take in takes:
                encoder.write(take)
            encoder.finish()

        return run

    def assemble(audio_format: AudioFormat) -> Callable[[], None]:
        def run() -> None:
            assembler = Assembler(folder / "assembled", audio_format, options)
            for take in stored:
                assembler.add(take, Joint(Boundary.SENTENCE))
            assembler.finish()

        return run

    def live(audio_format: AudioFormat) -> Callable[[], None]:
        def run() -> None:
            stream = LiveStream(audio_format, options)
            for take in stored:
                stream.add(take, Joint(Boundary.SENTENCE))
            stream.finish()

        return run

    def measure() -> None:
        meter = LoudnessMeter(RATE)
        for take in takes:
            meter.add(take)

    found: dict[str, tuple[Callable[[], object], Callable[[], object] | None]] = {
        "timeline": (join(stored, 0.0), convert),
        "timeline, limiter at work": (join(loud, 3.0), convert),
        "loudness meter": (measure, None),
        "trim": (lambda: [trim_silence(take, RATE) for take in takes], None),
        "speed 0.8": (lambda: [stretch(take, RATE, 0.8) for take in takes], None),
        "speed 3": (lambda: [stretch(take, RATE, 3.0) for take in takes], None),
    }
    for audio_format in AudioFormat:
        limit = bare_encoder(audio_format, takes)
        found[f"encode {audio_format}"] = (encode(audio_format), limit)
        found[f"assemble {audio_format}"] = (assemble(audio_format), limit)
        found[f"live {audio_format}"] = (live(audio_format), limit)
    return found


def seconds_of(function: Callable[[], object]) -> float:
    began = time.process_time()
    function()
    return time.process_time() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=120.0, help="audio per run")
    parser.add_argument("--runs", type=int, default=5)
    arguments = parser.parse_args()
    takes = [speech_like(TAKE_S, seed) for seed in range(max(1, round(arguments.seconds / TAKE_S)))]
    audio_s = TAKE_S * len(takes)
    with tempfile.TemporaryDirectory() as folder:
        todo = cases(takes, Path(folder))
        own: dict[str, list[float]] = {name: [] for name in todo}
        best: dict[str, list[float]] = {name: [] for name in todo}
        for _ in range(arguments.runs):
            for name, (function, limit) in todo.items():
                own[name].append(seconds_of(function))
                if limit is not None:
                    best[name].append(seconds_of(limit))
    print(f"{audio_s:.0f} s of audio in takes of {TAKE_S:.0f} s at {RATE} Hz, median of {arguments.runs} runs")
    print(f"{'':28}{'× real time':>12}{'limit':>12}{'of limit':>10}")
    for name in todo:
        line = f"{name:28}{audio_s / statistics.median(own[name]):12,.0f}"
        if best[name]:
            limit_s = statistics.median(best[name])
            line += f"{audio_s / limit_s:12,.0f}{limit_s / statistics.median(own[name]):10.2f}"
        print(line)


if __name__ == "__main__":
    main()
