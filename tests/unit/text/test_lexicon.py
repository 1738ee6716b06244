"""Pronunciations: which words are found, what becomes of them, and where they come from."""

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rhapsode.errors import InvalidInput
from rhapsode.model import Pronunciation
from rhapsode.text.language import detect
from rhapsode.text.lexicon import FOUND, Dictionary, Lexicon, checked, dumps, loads, merged
from rhapsode.text.plan import PlanCursor, PlanOptions, plan, plan_batch
from rhapsode.text.pls import read_pls

WORDS = (
    Pronunciation("SQL", "sequel"),
    Pronunciation("nginx", "engine x"),
    Pronunciation("C++", "see plus plus"),
    Pronunciation("GIF", None, "dʒɪf"),
    Pronunciation("gnu", "noo", "ɡnuː"),
    Pronunciation("New York", "Noo Yawk"),
    Pronunciation("New York Times", "the Times"),
    Pronunciation("polish", "pollish"),
    Pronunciation("Polish", "Poh-lish"),
    Pronunciation("us", "uss", match_case=True),
    Pronunciation("Herz", "Hairts", language="de"),
    Pronunciation("don't", "dohnt"),
    Pronunciation("St.", "Saint"),
    Pronunciation("東京", "とうきょう"),
)


def said(text: str, takes_ipa: bool = False, language: str = "en", words: tuple[Pronunciation, ...] = WORDS) -> str:
    options = PlanOptions(200, 300, language, takes_ipa=takes_ipa)
    return " ".join(segment.spoken for segment in plan(text, options, Dictionary(words)))


@pytest.mark.parametrize(
    ("text", "spoken"),
    [
        ("SQL's NGINX in C++.", "sequel's engine x in see plus plus."),
        ("MySQL, sql and SQLite", "MySQL, sql and SQLite"),
        ("(New York), New York Times; New  York; new york", "(Noo Yawk), the Times; Noo Yawk; new york"),
        ("Polish polish POLISH", "Poh-lish pollish pollish"),
        ("join us, US", "join uss, US"),
        ("The Herz", "The Herz"),
        ("I don’t", "I dohnt"),
        ("St. Mary", "Saint Mary"),
        ("GIF", "GIF"),
        ("a gnu", "a noo"),
        ("nginx_x nginx-x", "nginx x engine x-x"),
        ("5 nginx 5", "five engine x five"),
    ],
)
def test_which_words_are_found(text: str, spoken: str) -> None:
    assert said(text) == spoken


def test_ipa_is_for_engines_that_take_it() -> None:
    assert said("The GIF, a gnu.", takes_ipa=True) == "The [[dʒɪf]], a [[ɡnuː]]."
    batch = plan_batch("The GIF, a gnu.", PlanCursor(), True, PlanOptions(200, 300, "en"), Dictionary(WORDS))
    assert batch.warnings == ("phonemes in IPA are not for this engine; spoken as written or respelled, such as GIF",)


def test_languages_and_scripts() -> None:
    assert said("Mein Herz", language="de-AT") == "Mein Hairts"
    assert said("私は東京です。", language="ja") == "私はとうきょうです。"


def test_brackets_of_users_are_never_phonemes() -> None:
    assert "[[" not in said("[[dʒɪf]] and [ [x] ] and [[[[y]]]]", takes_ipa=True)
    assert "[[" not in said("x", takes_ipa=True, words=(Pronunciation("x", "a [[b]] c"),))


def test_what_no_segment_can_hold_is_spoken_as_written() -> None:
    options = PlanOptions(200, 60, "en")
    batch = plan_batch("An abc.", PlanCursor(), True, options, Dictionary([Pronunciation("abc", "very " * 20)]))
    assert [segment.spoken for segment in batch.segments] == ["An abc."]
    assert batch.warnings == ("longer than one segment of this engine; spoken as written, such as abc",)


def test_engines_that_read_numbers_are_left_alone() -> None:
    (segment,) = plan("He paid $5 to SQL.", PlanOptions(200, 300, "en", reads_numbers=True), Dictionary(WORDS))
    assert segment.spoken == "He paid $5 to sequel."


texts = st.lists(
    st.sampled_from(["a", "ab", "abc", "a b", "İ", "ß", "A", ".", "+", " ", "\n", "é", "中", "中文", "_", "-", "'"]),
    max_size=40,
).map("".join)
entries = st.lists(
    st.builds(
        Pronunciation,
        st.sampled_from(["a", "ab", "abc", "a b", "a b a", "+", "A", "b.", "中", "中文", "é", "ß"]),
        st.just("x"),
    ),
    max_size=8,
)


@settings(max_examples=150, deadline=None)
@given(texts, entries)
def test_nothing_is_lost_or_doubled(text: str, found: list[Pronunciation]) -> None:
    taken: list[str] = []

    def spoken(entry: Pronunciation) -> str:
        taken.append(entry.word)
        return entry.word

    replaced, _ = Lexicon(found, "en").replaced(text, spoken)
    again = "".join(taken[ord(c) - ord(FOUND)] if c >= FOUND and c <= "\uf8ff" else c for c in replaced)
    assert again.lower() == text.lower()


def test_lookup_is_linear() -> None:
    hostile = [Pronunciation("a" * n, "x") for n in range(1, 80)]
    hostile += [Pronunciation("b " * n + "c", "x") for n in range(1, 30)]
    started = time.process_time()
    lexicon = Lexicon([*hostile, *(Pronunciation(f"word{n} x", "y") for n in range(20_000))], "en")
    for text in ("a" * 20_000, "a " * 10_000, "b " * 10_000, "word1 " * 3_000):
        lexicon.replaced(text, lambda entry: entry.say)
    assert time.process_time() - started < 10


@pytest.mark.parametrize(
    "entry",
    [
        Pronunciation("", "x"),
        Pronunciation("a" * 81, "x"),
        Pronunciation("a"),
        Pronunciation("a", "..."),
        Pronunciation("a", "x" * 201),
        Pronunciation("a", None, "[x]"),
        Pronunciation("a", None, "\ue000x"),
        Pronunciation("[]", "x"),
    ],
)
def test_what_is_no_entry(entry: Pronunciation) -> None:
    if entry.word == "[]":
        assert checked(entry, "entry 0").word == "[]"  # never found, which harms nobody
        return
    with pytest.raises(InvalidInput, match="entry 0"):
        checked(entry, "entry 0")


def test_entries_are_stored_the_same_whatever_their_order() -> None:
    one = merged([*WORDS, Pronunciation("SQL", "squeal")])
    assert dumps(one) == dumps(merged(reversed(merged([Pronunciation("SQL", "squeal"), *WORDS[1:]]))))
    assert loads(dumps(one)) == tuple(one)
    assert Pronunciation("SQL", "sequel") not in one


# --- PLS ---------------------------------------------------------------------------------------------------------------

HEAD = '<?xml version="1.0"?>\n<lexicon version="1.0" xmlns="http://www.w3.org/2005/01/pronunciation-lexicon" alphabet="ipa" xml:lang="en-US">\n'


def test_a_lexicon_of_the_w3c() -> None:
    found, told = read_pls(
        HEAD
        + "<meta name='x' content='y'/><lexeme><grapheme>Sepulveda</grapheme><phoneme>səˈpʌlvɪdə</phoneme></lexeme>"
        "<lexeme><grapheme>W3C</grapheme><grapheme>w3c</grapheme><alias>World Wide Web Consortium</alias></lexeme>"
        "<lexeme xml:lang='de'><grapheme>huge</grapheme><phoneme>a</phoneme><phoneme prefer='true'>hjuːdʒ</phoneme><example>x</example></lexeme>"
        "<lexeme><grapheme>odd</grapheme><phoneme alphabet='x-sampa'>Od</phoneme></lexeme></lexicon>",
        "a.pls",
    )
    assert found == [
        Pronunciation("Sepulveda", None, "səˈpʌlvɪdə", "en-US"),
        Pronunciation("W3C", "World Wide Web Consortium", None, "en-US"),
        Pronunciation("w3c", "World Wide Web Consortium", None, "en-US"),
        Pronunciation("huge", None, "hjuːdʒ", "de"),
    ]
    assert told == ["1 words have neither an alias nor phonemes in IPA and were passed over"]


@pytest.mark.parametrize(
    ("document", "place"),
    [
        ("", (1, 1)),
        ("<speak/>", (1, 1)),
        (HEAD + "<lexeme><alias>x</alias></lexeme></lexicon>", (3, 1)),
        (HEAD + "<grapheme>x</grapheme></lexicon>", (3, 1)),
        (HEAD + " <lexeme><grapheme>" + "x" * 81 + "</grapheme><alias>y</alias></lexeme></lexicon>", (3, 2)),
        (HEAD + "<lexeme>", (3, 9)),
        (HEAD + "<b/></lexicon>", (3, 1)),
        ("<!DOCTYPE lexicon [<!ENTITY a '" + "b" * 100 + "'>]><lexicon>&a;</lexicon>", None),
    ],
)
def test_what_is_no_lexicon_is_said_with_its_place(document: str, place: tuple[int, int] | None) -> None:
    with pytest.raises(InvalidInput, match=r"a\.pls: line") as caught:
        read_pls(document, "a.pls")
    assert caught.value.place is not None
    assert place in (None, caught.value.place)


TAGS = [
    "<lexicon>",
    "</lexicon>",
    "<lexeme>",
    "</lexeme>",
    "<grapheme>",
    "</grapheme>",
    "<alias>",
    "</alias>",
    "<phoneme>",
    "</phoneme>",
    "<example>",
    "</example>",
    "x",
    "[[",
    "&amp;",
    "&",
    "<",
    "\ud800",
    "\x00",
    "<x:lexeme/>",
    "<!DOCTYPE a [",
    "]>",
]


@settings(max_examples=150, deadline=None)
@given(st.lists(st.sampled_from(TAGS), max_size=30), st.booleans())
def test_any_document_is_read_or_refused(parts: list[str], wrapped: bool) -> None:
    document = "".join(["<lexicon><lexeme><grapheme>", *parts, "</lexeme></lexicon>"] if wrapped else parts)
    try:
        found, _ = read_pls(document, "a.pls")
    except InvalidInput:
        return
    assert all(entry.say or entry.ipa for entry in found)


# --- language ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("It was the best of times, it was the worst of times.", "en"),
        ("Als Gregor Samsa eines Morgens erwachte, fand er sich in seinem Bett.", "de"),
        ("Longtemps, je me suis couché de bonne heure et les livres étaient dans la chambre.", "fr"),
        ("En un lugar de la Mancha, de cuyo nombre no quiero acordarme.", "es"),
        ("Nel mezzo del cammin di nostra vita mi ritrovai", "it"),
        ("No meio do caminho tinha uma pedra, e não havia mais nada para fazer.", "pt"),
        ("Het was een koude dag en ik liep naar de stad met mijn broer.", "nl"),
        ("W pokoju nie było nikogo, ale na stole leżał list do mnie.", "pl"),
        ("Все счастливые семьи похожи друг на друга", "ru"),
        ("Реве та стогне Дніпр широкий, і їх було багато", "uk"),
        ("吾輩は猫である。名前はまだ無い。", "ja"),
        ("道可道，非常道。", "zh"),
        ("나는 고양이로소이다", "ko"),
        ("مرحبا بالعالم", "ar"),
        ("<speak>Der Hund und die Katze sind nicht im Haus.</speak>", "de"),
        ("[voice:the] [voice:and]", None),
        ("1234 !!!", None),
        ("Xyzzy", None),
    ],
)
def test_which_language_a_text_is_in(text: str, code: str | None) -> None:
    assert detect(text) == code
