"""Numbers in words, in languages other than English."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rhapsode.text.numbers import _POINT, knows_numbers, numbers_in_words
from rhapsode.text.plan import PlanOptions, plan


@pytest.mark.parametrize(
    ("code", "written", "said"),
    [
        ("de", "1984 kamen 1.234 Gäste.", "neunzehnhundertvierundachtzig kamen eintausendzweihundertvierunddreißig Gäste."),
        ("de", "Es sind -3,5 Grad, 50 % mehr.", "Es sind minus drei Komma fünf Grad, fünfzig Prozent mehr."),
        ("de", "Das kostet 3,50 € oder 20 $.", "Das kostet drei Euro fünfzig oder zwanzig Dollar."),
        ("de", "Am 3. Mai um 14:30 Uhr.", "Am dritten Mai um vierzehn dreißig Uhr."),
        ("de", "Zimmer 007 in A4", "Zimmer null null sieben in A vier"),
        ("de", "192.168.0.1", "einhundertzweiundneunzig einhundertachtundsechzig null eins"),
        ("fr", "12 000 euros, soit 3,5 %", "douze mille euros, soit trois virgule cinq pour cent"),
        ("es", "En 1984 pagó €5.", "En mil novecientos ochenta y cuatro pagó cinco euros."),
        ("it", "21 libri", "ventuno libri"),
        ("pt", "Custa 2,05 €", "Custa dois euros cinco"),
        ("nl", "in 1984", "in negentienvierentachtig"),
        ("ja", "-3.5", "マイナス 三 点 五"),
        ("ko", "1,984", "천구백팔십사"),
        ("ru", "7 и 0,5", "семь и ноль запятая пять"),
    ],
)  # fmt: skip
def test_numbers_are_written_out(code: str, written: str, said: str) -> None:
    assert numbers_in_words(written, code) == said


@given(st.sampled_from(sorted(_POINT)), st.text("0123456789.,:-−%€$ aё語", max_size=40))
def test_no_digit_is_left_and_nothing_else_is_lost(code: str, text: str) -> None:
    said = numbers_in_words(text, code)
    assert not any(char in "0123456789" for char in said)
    assert [char for char in said if char in "ё語"].count("語") >= text.count("語")
    assert bool(said.strip()) or not any(char.isalnum() for char in text)


def test_engines_that_read_digits_get_them() -> None:
    for reads, spoken in ((True, "Es sind 21."), (False, "Es sind einundzwanzig.")):
        (segment,) = plan("Es sind 21.", PlanOptions(200, 300, "de-AT", reads_digits=reads))
        assert segment.spoken == spoken
    (segment,) = plan("It is $5.", PlanOptions(200, 300, "en", reads_digits=False))
    assert segment.spoken == "It is five dollars."
    assert not knows_numbers("en")
    assert not knows_numbers("xx")


@pytest.mark.parametrize("part", ["1 2 3,4 ", "1.", "9", "111 ", "€1,00 ", "-"])
def test_a_window_of_digits_takes_moments(part: str) -> None:
    began = time.perf_counter()
    numbers_in_words(part * (4_096 // len(part)), "de")
    assert time.perf_counter() - began < 2
