"""Piper speaks, Whisper listens: do pronunciations, IPA and SSML arrive in the sound?"""

from pathlib import Path

import numpy as np
import pytest

from rhapsode.engines.base import EngineOptions, Utterance
from rhapsode.engines.piper import PiperEngine
from rhapsode.model import Markup, Pronunciation
from rhapsode.text.lexicon import Dictionary
from rhapsode.text.plan import PlanOptions, plan
from rhapsode.text.ssml import is_ssml, read_ssml
from tests.speech import Recogniser, contains

WORDS = Dictionary(
    [
        Pronunciation("SQL", "sequel"),
        Pronunciation("qqq", None, "ˈwɪndoʊ"),
        Pronunciation("zzz", "mountain", "ˈɛləfənt"),
    ]
)
CASES = (
    ("The new SQL was better than the first film.", "new sequel was better"),
    ("He closed the qqq because it was cold.", "closed the window because"),
    ("We saw a large zzz at the zoo.", "a large elephant at the zoo"),
    ('<speak>He waited at the <phoneme ph="ˈgɑ:rdən ˈd͡ʒeɪl">xyz</phoneme> all night.</speak>', "at the garden jail all night"),
    ('<speak>They put the <phoneme ph="pəˈteɪtoʊ">xyz</phoneme> on the table.</speak>', "put the potato on the table"),
    ('<speak>He works for the <sub alias="weather office">W.O.</sub> in town.</speak>', "the weather office in town"),
    ('<speak>It was their <say-as interpret-as="ordinal">12</say-as> birthday party.</speak>', "twelfth birthday"),
    ('<speak>They met on <say-as interpret-as="date" format="dmy">3/4/1950</say-as> in Rome.</speak>', "april third nineteen fifty"),
    ('<speak>The code is <say-as interpret-as="digits">1984</say-as> for the door.</speak>', "one nine eight four"),
)  # fmt: skip


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> PiperEngine:
    folder: Path = tmp_path_factory.mktemp("piper")
    return PiperEngine(EngineOptions(threads=2, voices_dir=folder, model_cache=folder))


def test_what_was_asked_for_is_heard(engine: PiperEngine) -> None:
    info, voice = engine.info, engine.voices()[0].id
    assert info.takes_ipa
    assert not info.reads_numbers
    parts: list[np.ndarray] = []
    rate = 0
    for text, _ in CASES:
        markup = Markup.SSML if is_ssml(text) else Markup.PLAIN
        if markup is Markup.SSML:
            read_ssml(text)
        options = PlanOptions(300, info.max_chars, "en", markup=markup, takes_ipa=True)
        for segment in plan(text, options, WORDS):
            speech = engine.synthesise(Utterance(segment.spoken, voice, 1, {"temperature": 0.0}, "en", 0.3))
            assert all("[" not in word.text for word in speech.words)
            rate = speech.rate
            parts += [speech.samples, np.zeros(round(0.6 * rate), np.float32)]
    heard = Recogniser().words(np.concatenate(parts), rate)
    missed = [expected for _, expected in CASES if not contains(heard, expected)]
    assert not missed, " ".join(heard)


def test_words_in_ipa_have_their_time(engine: PiperEngine) -> None:
    spoken = "He closed the [[ˈwɪndoʊ]] slowly."
    speech = engine.synthesise(Utterance(spoken, engine.voices()[0].id, 1, {}, "en", 0.3))
    assert [word.text for word in speech.words] == ["He", "closed", "the", "ˈwɪndoʊ", "slowly."]
    lengths = [word.end - word.start for word in speech.words]
    assert min(lengths) > 0
    assert lengths[3] > 0.15 * speech.rate
