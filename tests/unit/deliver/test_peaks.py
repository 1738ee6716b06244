"""Peaks are those of the finished file."""

import numpy as np
import pytest

from rhapsode.audio.wav import to_float32, to_int16, wav_bytes
from rhapsode.deliver.assemble import LoudnessPass
from rhapsode.deliver.peaks import PeakMeter
from rhapsode.deliver.piece import encode_piece
from rhapsode.deliver.timeline import Placer, Timeline, TimelineOptions
from rhapsode.model import AudioFormat, Boundary, Joint, Pauses

RATE = 8_000
TAKES = [
    (np.random.default_rng(n).uniform(-0.6, 0.5, 700 + 37 * n).astype(np.float32), Joint(boundary))
    for n, boundary in enumerate([Boundary.SENTENCE, Boundary.NONE, Boundary.HEADING] * 4)
]


def timeline(options: TimelineOptions) -> np.ndarray:
    whole = Timeline(options)
    pieces = [whole.add_take(wav_bytes(samples, RATE), joint)[0] for samples, joint in TAKES]
    return np.concatenate([*pieces, whole.finish()])


@pytest.mark.parametrize("points", [1, 2, 7, 1_000, 20_000, 10**9])
@pytest.mark.parametrize("gain_db", [0.0, 9.0])
def test_each_point_is_the_lowest_and_the_highest_of_its_stretch(points: int, gain_db: float) -> None:
    options = TimelineOptions(RATE, Pauses(), gain_db)
    whole = timeline(options)
    meter = PeakMeter(options, whole.size, points)
    for samples, joint in TAKES:
        meter.add(wav_bytes(samples, RATE), joint)
    found = meter.finish()
    count = min(points, whole.size)
    parts = [whole[i * whole.size // count : (i + 1) * whole.size // count] for i in range(count)]
    assert found.low == tuple(float(np.float64(part.min()).round(3)) for part in parts)
    assert found.high == tuple(float(np.float64(part.max()).round(3)) for part in parts)
    assert (found.rate, found.samples) == (RATE, whole.size)


def test_loudness_of_the_file_is_in_the_peaks() -> None:
    options = TimelineOptions(RATE, Pauses())
    loudness = LoudnessPass(options, -30.0)
    meter = PeakMeter(options, timeline(options).size, 50, -30.0)
    for samples, joint in TAKES:
        loudness.add(wav_bytes(samples, RATE), joint)
        meter.add(wav_bytes(samples, RATE), joint)
    factor = loudness.makeup()
    assert factor < 0.5
    whole = timeline(options) * factor
    assert max(meter.finish().high) == pytest.approx(whole.max(), abs=0.0006)


def test_a_piece_is_that_of_the_whole() -> None:
    options = TimelineOptions(RATE, Pauses(), gain_db=-3.0)
    whole = to_float32(to_int16(timeline(options)))
    placer = Placer(RATE, Pauses())
    for samples, joint in TAKES:
        place = placer.place(samples.size, joint)
        data = encode_piece(wav_bytes(samples, RATE), AudioFormat.WAV, options)
        sound = np.frombuffer(data[-2 * samples.size :], "<i2")
        assert np.array_equal(to_float32(sound), whole[place.start : place.end])
