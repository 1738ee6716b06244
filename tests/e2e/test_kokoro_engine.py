"""Kokoro as it really speaks: the weights that packages ship."""

import io
import wave
from pathlib import Path

import numpy as np
import pytest

from rhapsode.engines import kokoro_files
from rhapsode.engines.base import EngineOptions, Speech, Utterance
from rhapsode.engines.espeak import Espeak
from rhapsode.engines.kokoro import KokoroEngine
from rhapsode.errors import EngineError, NotFound
from tests import kokoro
from tests.serving import serving, settings_for
from tests.speech import Recogniser, word_error_rate

SENTENCE = "Nobody in the village remembered the name of the old bridge."


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    kokoro.put_into(folder)
    return folder


@pytest.fixture(scope="module")
def engine(cache: Path) -> KokoroEngine:
    return KokoroEngine(EngineOptions(2, cache / "no-voices", cache))


@pytest.fixture(scope="module")
def recogniser() -> Recogniser:
    return Recogniser()


def say(engine: KokoroEngine, text: str, voice: str = kokoro.VOICE, language: str = "en") -> Speech:
    return engine.synthesise(Utterance(text, voice, 1, {}, language, 0.3))


def test_kumo_says_what_was_asked_and_words_are_where_they_are_heard(
    engine: KokoroEngine, recogniser: Recogniser
) -> None:
    text = f"{SENTENCE}\nWe will leave early in the morning."
    speech = say(engine, text)
    assert word_error_rate(text, recogniser.text(speech.samples, speech.rate)) <= 0.06
    heard = {word.text: word.start_s for word in recogniser.timed_words(speech.samples, speech.rate)}
    for word in speech.words:
        if word.text.lower() in ("village", "bridge.", "early"):
            assert heard[word.text.strip(".").lower()] == pytest.approx(word.start / speech.rate, abs=0.25)


def test_phonemes_in_brackets_are_spoken_as_they_are(engine: KokoroEngine, recogniser: Recogniser) -> None:
    assert engine.info.takes_ipa
    speech = say(engine, "Nobody closed the [[ˈwɪndoʊ]], because the [[ˈgɑ:rdən ˈdɔːr]] was open.")
    heard = recogniser.text(speech.samples, speech.rate)
    assert word_error_rate("Nobody closed the window, because the garden door was open.", heard) <= 0.1, heard
    words = [word.text for word in speech.words]
    assert words == ["Nobody", "closed", "the", "ˈwɪndoʊ,", "because", "the", "ˈgɑ:rdən ˈdɔːr", "was", "open."]
    assert all(word.end > word.start for word in speech.words)


def test_a_blend_lies_between_its_voices_and_depends_on_its_shares_alone(engine: KokoroEngine) -> None:
    blend = say(engine, "Good morning.", "jf_alpha:0.25+jm_kumo:0.75")
    assert np.array_equal(blend.samples, say(engine, "Good morning.", "jm_kumo:3+jf_alpha:1").samples)
    alone = [say(engine, "Good morning.", voice).samples for voice in ("jf_alpha", "jm_kumo")]
    assert not any(np.array_equal(blend.samples, samples) for samples in alone)
    whole = say(engine, "Good morning.", "jm_kumo:1+jm_kumo:1")
    assert np.array_equal(whole.samples, alone[1])
    with pytest.raises(NotFound, match="af_nobody"):
        say(engine, "Good morning.", "jm_kumo+af_nobody")


def test_more_phonemes_than_the_network_has_places_for_are_all_spoken(
    engine: KokoroEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rhapsode.engines.kokoro.MOST_PHONEMES", 60)  # instead of 510: less to say
    text = "987654321 987654321 987654321"
    assert len(Espeak().phonemes(text, "en-us")) > 120
    short = say(engine, "987654321")
    long = say(engine, text)
    assert long.samples.size > 2.4 * short.samples.size
    assert len(long.words) == 3


def test_the_revision_names_the_model_and_what_is_missing_is_named(cache: Path, tmp_path: Path) -> None:
    model = kokoro_files.find_model(tmp_path, cache)
    assert model is not None
    with_model = KokoroEngine(EngineOptions(1, tmp_path, cache))
    assert kokoro_files.revision_of(model) in with_model.info.revision
    assert {voice.language for voice in with_model.voices()} == {"en-US"}, (
        "without misaki Japanese voices speak English"
    )
    without = KokoroEngine(EngineOptions(1, tmp_path, tmp_path))
    assert without.voices() == []
    assert "no model" in without.info.revision
    with pytest.raises(NotFound):
        without.load(kokoro.VOICE)
    with pytest.raises(EngineError, match=r"does not speak 'de'; it speaks en, .*es"):
        say(with_model, "Guten Tag.", language="de")


def test_a_device_that_is_not_there_and_damaged_files_are_errors_that_say_so(cache: Path, tmp_path: Path) -> None:
    with pytest.raises(EngineError, match=r"cuda:1 cannot be had.*onnxruntime-gpu"):
        KokoroEngine(EngineOptions(1, tmp_path, cache, "cuda:1")).load(kokoro.VOICE)
    folder = tmp_path / "kokoro"
    folder.mkdir()
    (folder / "model.onnx").write_bytes(b"no model")
    (folder / "af_plain.bin").write_bytes(np.ones((510, 256), "<f4").tobytes())
    (folder / "af_short.bin").write_bytes(b"x" * 1500)
    (folder / "notes.bin").write_bytes(b"x" * 2048)
    engine = KokoroEngine(EngineOptions(1, tmp_path, tmp_path / "none"))
    assert [voice.id for voice in engine.voices()] == ["af_plain", "af_short"]
    with pytest.raises(EngineError, match="af_short"):
        engine.load("af_short")
    with pytest.raises(EngineError, match=r"model.onnx cannot be loaded"):
        engine.load("af_plain")


def test_what_cannot_be_fetched_says_what_was_tried_and_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(NotFound, match=r"voices/af_heart.bin of onnx-community/Kokoro.*put its .onnx file"):
        kokoro_files.download(tmp_path, ["af_heart"])


async def test_it_speaks_beside_the_active_engine_over_http(
    cache: Path, tmp_path: Path, recogniser: Recogniser
) -> None:
    settings = settings_for(
        tmp_path, engine__also="kokoro", paths__model_cache=cache, fleet__bulk_slots=1, fleet__express_threads=-1
    )
    async with serving(settings) as server:
        body = {"text": SENTENCE, "engine": "kokoro", "predefined_voice_id": "jm_kumo:3+jf_alpha:1"}
        answer = await server.http.post("/tts", json=body)
        assert answer.status_code == 200, answer.text
        with wave.open(io.BytesIO(answer.content)) as file:
            samples = (np.frombuffer(file.readframes(file.getnframes()), "<i2") / 32768).astype(np.float32)
            assert word_error_rate(SENTENCE, recogniser.text(samples, file.getframerate())) <= 0.1
        found = await server.status(answer.headers["x-job-id"])
        assert (found["engine"], found["voice"]) == ("kokoro", "jf_alpha:0.25+jm_kumo:0.75")
        for name, detail in (("jm_kumo:x", "is no number"), ("jm_kumo:0+jf_alpha", "must be over 0")):
            wrong = await server.http.post("/tts/enqueue", json=body | {"predefined_voice_id": name})
            assert wrong.status_code == 422
            assert detail in wrong.json()["detail"]
        unknown = await server.http.post("/tts/enqueue", json=body | {"predefined_voice_id": "jm_kumo+af_nobody"})
        assert unknown.status_code == 404
