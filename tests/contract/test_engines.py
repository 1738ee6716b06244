"""What every engine must do, whatever it is made of."""

import contextlib
import hashlib
import shutil
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from rhapsode.audio.clip import RATE, make_clip
from rhapsode.audio.trim import trim_silence
from rhapsode.engines.base import Determinism, Engine, EngineOptions, Speech, Utterance
from rhapsode.engines.kokoro import KokoroEngine
from rhapsode.engines.piper import PiperEngine
from rhapsode.engines.tone import ToneEngine
from rhapsode.errors import EngineError, NotFound
from tests import kokoro
from tests.hosted import POCKET, SMALL_MODELS, Host
from tests.plugin_sample.rhapsode_chirp import ChirpEngine

TEXT = "The old bridge was closed for the winter."


@dataclass(frozen=True)
class Subject:
    """An engine under test, with a voice of it that times words."""

    make: Callable[[EngineOptions], Engine]
    voice: str
    folder: Path
    quick: bool = True
    """Speaks far faster than real time; of others less is asked, to save time."""
    heeds_seeds: bool = True
    times_words: bool = True

    def engine(self, threads: int = 1) -> Engine:
        return self.make(EngineOptions(threads, self.folder / "voices", self.folder / "cache"))

    def say(
        self,
        engine: Engine,
        text: str = TEXT,
        seed: int = 1,
        pause_s: float = 0.0,
        controls: Mapping[str, float] | None = None,
    ) -> Speech:
        return engine.synthesise(Utterance(text, self.voice, seed, controls or {}, "en", pause_s))


@pytest.fixture(
    scope="module", params=["tone", "chirp", "piper", "kokoro", "pocket", "turbo", "original", "multilingual"]
)
def subject(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Subject]:
    folder = tmp_path_factory.mktemp(request.param)
    match request.param:
        case "tone":
            yield Subject(ToneEngine, "tone-chars", folder)
        case "chirp":  # the sample plug-in
            yield Subject(ChirpEngine, "lark", folder)
        case "kokoro":
            kokoro.put_into(folder / "cache")
            yield Subject(KokoroEngine, kokoro.VOICE, folder, quick=False, heeds_seeds=False)
        case "pocket":  # its own code, on a small model of random weights
            shutil.copytree(SMALL_MODELS, folder / "cache")
            host = Host(POCKET / "bin" / "python", "rhapsode.engines.pocket:PocketEngine")
            yield Subject(host.engine, "alba", folder, times_words=False)
            host.close()
        case "turbo" | "original" | "multilingual":  # Chatterbox's own code, with small networks of random weights
            host = Host(POCKET / "bin" / "python", f"tests.chatterbox_model:{request.param}")
            yield Subject(host.engine, "chatterbox", folder, quick=False, times_words=False)
            host.close()
        case _:
            yield Subject(PiperEngine, "en_US-joe-medium", folder)


@pytest.fixture(scope="module")
def engine(subject: Subject) -> Engine:
    return subject.engine()


def assert_sound(speech: Speech) -> None:
    assert speech.samples.dtype == np.float32
    assert speech.samples.ndim == 1
    assert np.isfinite(speech.samples).all()
    assert np.abs(speech.samples).max() <= 1
    assert trim_silence(speech.samples, speech.rate)[0].size
    assert speech.speed > 0
    position = 0
    for word in speech.words:
        assert position <= word.start <= word.end <= speech.samples.size
        position = word.end


def same(one: Speech, other: Speech) -> bool:
    return np.array_equal(one.samples, other.samples) and one.words == other.words and one.speed == other.speed


def test_it_describes_itself_before_anything_is_loaded(subject: Subject) -> None:
    info = subject.engine().info
    assert info.name
    assert info.revision
    assert info.max_chars >= 100
    for control in info.controls:
        assert control.minimum <= control.default <= control.maximum
        assert control.help
        assert info.control(control.name) == control


def test_voices_have_ids_of_their_own_and_say_their_rate(subject: Subject, engine: Engine) -> None:
    voices = engine.voices()
    assert subject.voice in {voice.id for voice in voices}
    assert len({voice.id for voice in voices}) == len({voice.filename for voice in voices}) == len(voices)
    assert list(engine.voices()) == list(voices)
    by_id = {voice.id: voice for voice in voices}
    assert subject.say(engine).rate == by_id[subject.voice].sample_rate


@pytest.mark.parametrize("text", ["Yes.", TEXT, "One.\nTwo, three.\nFour!", "no full stop"])
def test_speech_is_sound_with_a_time_for_each_word_if_it_times_words(
    subject: Subject, engine: Engine, text: str
) -> None:
    speech = subject.say(engine, text)
    assert_sound(speech)
    assert [word.text for word in speech.words] == (text.split() if subject.times_words else [])
    assert all(word.start < word.end for word in speech.words)


def test_the_same_input_gives_the_same_sound(subject: Subject, engine: Engine) -> None:
    if engine.info.determinism is Determinism.NONE:
        pytest.skip("not promised")
    first = subject.say(engine)
    subject.say(engine, "Something else in between.", seed=9)
    assert same(first, subject.say(engine))
    assert same(first, subject.say(subject.engine()))


def test_an_exact_engine_does_not_hear_its_threads(subject: Subject, engine: Engine) -> None:
    if engine.info.determinism is not Determinism.EXACT:
        pytest.skip("not promised")
    assert same(subject.say(engine), subject.say(subject.engine(threads=2)))


def test_another_seed_sounds_otherwise_if_chance_has_a_part(subject: Subject, engine: Engine) -> None:
    spoken = [subject.say(engine, "Hello there.", seed=seed) for seed in (1, 2)]
    assert same(*spoken) is not subject.heeds_seeds


def test_each_control_is_heard_between_its_bounds(subject: Subject, engine: Engine) -> None:
    for control in engine.info.controls:
        ends = [subject.say(engine, controls={control.name: value}) for value in (control.minimum, control.maximum)]
        for speech in ends:
            assert_sound(speech)
        if control.name == "speed_factor":
            natural = subject.say(engine).samples.size
            for speech in ends:
                assert speech.samples.size * speech.speed == pytest.approx(natural, rel=0.02)
        else:
            assert not same(*ends)


def test_the_pause_between_sentences_is_silence_as_long_as_asked(subject: Subject, engine: Engine) -> None:
    joined = subject.say(engine, "It rained.\nIt stopped.", pause_s=0.0)
    apart = subject.say(engine, "It rained.\nIt stopped.", pause_s=0.5)
    pause = round(0.5 * apart.rate)
    assert apart.samples.size == joined.samples.size + pause
    assert (
        0 <= np.diff(np.flatnonzero(apart.samples)).max() - 1 - pause <= 1
    )  # a sentence may begin with a zero of its own
    if subject.times_words:
        assert apart.words[2].start == joined.words[2].start + pause


def test_the_longest_text_is_spoken(subject: Subject, engine: Engine) -> None:
    text = ("When the sun had gone down behind the hills, nobody spoke " * 20)[
        : (engine.info.max_chars if subject.quick else 120) - 1
    ].strip() + "."
    speech = subject.say(engine, text)
    assert_sound(speech)
    assert len(speech.words) == (len(text.split()) if subject.times_words else 0)


def test_an_unknown_voice_is_not_found_and_those_there_are_are_named(subject: Subject, engine: Engine) -> None:
    with pytest.raises(NotFound, match=subject.voice):
        engine.load("nonesuch")
    with pytest.raises(NotFound):
        engine.synthesise(Utterance("Hello.", "../nonesuch", 1, {}, "en", 0.0))


@pytest.mark.parametrize(
    "text",
    [
        "Ω",
        "你好世界",
        "1234567890",
        "!!!",
        "…",
        "-",
        "👍",
        "a\u0301",
        "٣",
        "\u200b",
        "[[x]]",
        "x\0y",
        "a\ud800b",
        "<b>&amp;</b>",
        "#",
        "{}",
    ],
)
def test_odd_text_is_spoken_or_refused_and_never_silent(subject: Subject, engine: Engine, text: str) -> None:
    if not subject.quick and text not in {"你好世界", "!!!", "👍", "x\0y", "a\ud800b", "#"}:
        pytest.skip("to save time")
    with contextlib.suppress(EngineError):
        assert_sound(subject.say(engine, text))


def test_engines_in_several_threads_do_not_disturb_each_other(subject: Subject, engine: Engine) -> None:
    texts = [f"Number {n} went home." for n in ("one", "two", "three")[: 3 if subject.quick else 1]]
    alone = [subject.say(engine, text) for text in texts]
    together: dict[int, list[Speech]] = {}

    def speak(number: int) -> None:
        own = subject.engine()
        together[number] = [subject.say(own, text) for text in texts]

    threads = [threading.Thread(target=speak, args=(n,)) for n in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(together) == len(threads)
    for spoken in together.values():
        assert all(same(a, b) for a, b in zip(alone, spoken, strict=True))


# -- cloning ----------------------------------------------------------------------------------------------------


def hum(folder: Path, hertz: float, seconds: float) -> Path:
    """A clip of somebody who hums."""
    time = np.arange(round(RATE * seconds), dtype=np.float32) / RATE
    sound = sum(np.sin(2 * np.pi * hertz * k * time) / k for k in range(1, 6))
    data = make_clip(np.asarray(0.2 * np.asarray(sound), np.float32))
    path = folder / "clips" / f"{hashlib.sha256(data).hexdigest()}.wav"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(data)
    return path


def test_of_a_clone_the_clip_alone_decides_and_is_computed_once(subject: Subject, engine: Engine) -> None:
    if not engine.info.can_clone:
        pytest.skip("it does not clone")
    assert engine.info.sample_rate
    assert "en" in engine.info.languages

    def spoken(by: Engine, clip: Path, called: str = "ann.wav") -> Speech:
        return by.synthesise(Utterance(TEXT, called, 1, {}, "en", 0.0, clip))

    ann, bob = (hum(subject.folder, hertz, max(1.0, engine.info.min_clip_s + 0.1)) for hertz in (220, 110))
    first = spoken(engine, ann)
    assert_sound(first)
    assert first.rate == engine.info.sample_rate
    assert not same(first, spoken(engine, bob))
    assert same(first, spoken(engine, ann, "a/new name.wav"))
    kept = {path.name: path.stat().st_ino for path in ann.parent.glob(f"{ann.stem}.{engine.info.name}-*")}
    assert same(first, spoken(subject.engine(), ann)), "another worker reads what the first one computed"
    assert kept == {path.name: path.stat().st_ino for path in ann.parent.glob(f"{ann.stem}.{engine.info.name}-*")}
    for path in kept:
        (ann.parent / path).write_bytes(b"damaged")
    with pytest.raises(EngineError, match="damaged"):
        spoken(subject.engine(), ann)
    assert same(first, spoken(subject.engine(), ann)), "the next attempt computes it anew"
