"""Phonemes are given to the words that they belong to."""

import pytest

from rhapsode.engines.piper_download import hub_paths
from rhapsode.engines.words import as_espeak, shown, word_spans, words_of
from rhapsode.errors import NotFound

ALONE = {
    "of": "ʌv",
    "the": "ðə",
    "people": "pˈiːpəl",
    "in": "ɪn",
    "1984": "nˈaɪntiːn ˈeɪɾi fˈɔːɹ",
    "—": "",
    "&": "ænd",
    "&c": "ænd sˈiː",
}


def parts(text: str, phonemes: str, **changed: str) -> list[str]:
    spans = word_spans(text.split(), list(phonemes), lambda token: list((ALONE | changed)[token.strip(".,")]))
    position = 0
    for start, end in spans:
        assert position <= start <= end <= len(phonemes)
        position = end
    return [phonemes[a:b] for a, b in spans]


def test_words_are_the_groups_between_spaces_without_punctuation() -> None:
    assert parts("Hello, old — world!", "həlˈoʊ, ˈoʊld wˈɜːld!") == ["həlˈoʊ", "ˈoʊld", "", "wˈɜːld"]


def test_words_run_together_are_taken_apart() -> None:
    assert parts("of the people", "ʌvðə pˈiːpəl") == ["ʌv", "ðə", "pˈiːpəl"]
    assert parts("people of the", "pˈiːpəl ʌvðɪ.") == ["pˈiːpəl", "ʌv", "ðɪ"]


def test_a_number_keeps_all_its_words() -> None:
    assert parts("in 1984, people", "ɪn nˈaɪntiːn ˈeɪɾi fˈɔːɹ, pˈiːpəl") == ["ɪn", "nˈaɪntiːn ˈeɪɾi fˈɔːɹ", "pˈiːpəl"]


def test_a_sign_that_is_read_out_is_a_word() -> None:
    assert parts("the people & the people", "ðə pˈiːpəl ænd ðə pˈiːpəl") == ["ðə", "pˈiːpəl", "ænd", "ðə", "pˈiːpəl"]


def test_phonemes_that_match_nothing_are_shared_out() -> None:
    assert parts("of the", "xxxx", of="aa", the="bb") == ["xx", "xx"]


def test_no_phonemes_give_words_of_no_length() -> None:
    assert parts("of the", "") == ["", ""]


def test_the_hub_keeps_voices_by_language_name_and_quality() -> None:
    assert hub_paths("en_GB-alba-medium") == (
        "en/en_GB/alba/medium/en_GB-alba-medium.onnx",
        "en/en_GB/alba/medium/en_GB-alba-medium.onnx.json",
    )
    assert hub_paths("de_DE-thorsten_emotional-x_low")[0].startswith("de/de_DE/thorsten_emotional/x_low/")


@pytest.mark.parametrize(
    "name", ["", "alba", "en_GB-alba", "../en_GB-alba-medium", "en_GB-alba-medium/..", "en_GB-a/b-low", "en_GB-a-low\n"]
)
def test_other_names_are_never_asked_for(name: str) -> None:
    with pytest.raises(NotFound, match="en_GB-alba-medium"):
        hub_paths(name)


@pytest.mark.parametrize(
    ("ipa", "language", "written"),
    [
        ("ˈwɪndoʊ", "en", "wˈɪndoʊ"), ("pəˈteɪ.toʊ", "en-US", "pətˈeɪtoʊ"), ("ˈgɑ:rdən", "en", "ɡˈɑːɹdən"), ("ˌɪntəˈnæʃənəl", "en", "ˌɪntənˈæʃənəl"),
        ("həlˈoʊ", "en", "həlˈoʊ"), ("ˈd͡ʒɪm ˈstriːt", "en-gb", "dʒˈɪm stɹˈiːt"), ("ˈrjoxa", "es", "rjˈoxa"), ("ˈkl̩", "de", "ˈkl̩"), ("", "en", ""),
    ],
)  # fmt: skip
def test_phonemes_of_dictionaries_are_written_as_espeak_does(ipa: str, language: str, written: str) -> None:
    assert as_espeak(ipa, language) == written
    assert as_espeak(written, language) == written


def test_phonemes_in_brackets_are_one_word() -> None:
    assert words_of("He saw [[nˈuː jˈɔːɹk]], twice.") == ["He", "saw", "[[nˈuː jˈɔːɹk]],", "twice."]
    assert shown("[[nˈuː jˈɔːɹk]],") == "nˈuː jˈɔːɹk,"
