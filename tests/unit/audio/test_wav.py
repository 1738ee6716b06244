import io
import wave

import numpy as np
import pytest

from rhapsode.audio.wav import read_wav, to_float32, to_int16, wav_bytes
from rhapsode.errors import BlobError

EVERY_VALUE = np.arange(-32768, 32768).astype("<i2")


def test_every_16_bit_value_survives_the_way_there_and_back() -> None:
    samples, rate = read_wav(wav_bytes(to_float32(EVERY_VALUE), 22_050))
    assert rate == 22_050
    assert samples.dtype == np.float32
    assert np.array_equal(to_int16(samples), EVERY_VALUE)


def test_the_standard_library_reads_what_we_write() -> None:
    with wave.open(io.BytesIO(wav_bytes(to_float32(EVERY_VALUE), 24_000))) as file:
        assert (file.getnchannels(), file.getsampwidth(), file.getframerate()) == (1, 2, 24_000)
        assert file.readframes(-1) == EVERY_VALUE.tobytes()


def test_the_header_is_44_bytes_and_the_rest_is_sound() -> None:
    assert len(wav_bytes(np.zeros(100, np.float32), 16_000)) == 44 + 200


def test_halves_round_to_even_and_what_is_too_loud_is_clipped() -> None:
    halves = np.array([0.5, 1.5, 2.5, -0.5, -1.5], np.float32) / np.float32(32768)
    assert to_int16(halves).tolist() == [0, 2, 2, 0, -2]
    assert to_int16(np.array([1.0, 2.0, -1.0, -3.0], np.float32)).tolist() == [32767, 32767, -32768, -32768]


def test_conversion_leaves_its_input_alone() -> None:
    samples = np.array([0.25, 7.0], np.float32)
    to_int16(samples)
    assert samples.tolist() == [0.25, 7.0]


def test_an_empty_take_is_possible() -> None:
    samples, rate = read_wav(wav_bytes(np.zeros(0, np.float32), 8000))
    assert (samples.size, rate) == (0, 8000)


def test_every_truncation_is_noticed() -> None:
    data = wav_bytes(np.zeros(20, np.float32), 22_050)
    for length in range(len(data)):
        with pytest.raises(BlobError):
            read_wav(data[:length])


def test_appended_bytes_are_noticed() -> None:
    with pytest.raises(BlobError):
        read_wav(wav_bytes(np.zeros(20, np.float32), 22_050) + b"\0\0")


def test_every_flipped_bit_of_the_header_is_noticed() -> None:
    data = wav_bytes(np.zeros(20, np.float32), 22_050)
    for bit in range(44 * 8):
        damaged = bytearray(data)
        damaged[bit // 8] ^= 1 << bit % 8
        with pytest.raises(BlobError):
            read_wav(bytes(damaged))
