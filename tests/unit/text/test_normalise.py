"""What is dropped, what is replaced, and that offsets lead back to the original."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rhapsode.text.normalise import normalise, polish, tidy
from rhapsode.text.plan import PlanCursor, PlanOptions, plan_batch


@pytest.mark.parametrize(
    ("source", "expected", "kinds"),
    [
        ("a\r\nb\rc\x85d\u2028e", "a\nb\nc\nd\ne", set()),
        ("a\fb\u2029c", "a\n\nb\n\nc", set()),
        ("a\tb\xa0c\u3000d", "a b c d", set()),
        ("so\xadft\u200bly \u202eright\ufeff", "softly right", set()),
        ("exam-\nple Jean-\nPaul mother-\nin-law", "example Jean-Paul mother-\nin-law", set()),
        ("a\x00b\x1b[31mred", "abred", {"control"}),
        ("a\ud800b", "ab", {"surrogate"}),
        ("a\ue000b", "a b", {"private"}),
        ("hi 👩‍👩‍👧🇩🇪 there ❤️", "hi   there  ", {"emoji"}),
        ("1️⃣ go", "1 go", set()),
        ("a" + "\u0301" * 9, "a" + "\u0301" * 6, {"flood"}),
        ("e\u0301 क्षि", "e\u0301 क्षि", set()),
        ("نمی‌خواهم a\u200cb", "نمی‌خواهم ab", set()),
        ("well [sigh] [Laughs softly] he", "well     he", {"tag"}),
        ("oh [clears his throat] [soft music] [happy] [Nervous laughter] so", "oh         so", {"tag"}),
        ("[the] man [sic] [1]", "[the] man [sic] [1]", set()),
        ("The [music industry] [laughed] at [her music]", "The [music industry] [laughed] at [her music]", set()),
        ("He [was very happy] to go. [The singing bird]", "He [was very happy] to go. [The singing bird]", set()),
        ("[sad news] [silence of the lambs]", "[sad news] [silence of the lambs]", set()),
        ("<laugh>ha</laugh> 3 < 4 > 2", " ha  3 < 4 > 2", {"markup"}),
        ("a<br/>b<br />c<a href='x'>d<b >e", "a b c d e", {"markup"}),
        ("if a <b and c> d", "if a <b and c> d", set()),
        ("see [the docs](https://x.org/a_b) now", "see [the docs now", {"href"}),
        ("**bold** _it_ `code` ~~no~~ ***all***", "bold it code no all", set()),
        ("2*3 snake_case 4 * 5 _", "2*3 snake_case 4 * 5 _", set()),
        ("https://x.org/_a_/*b* _c_", "https://x.org/_a_/*b* c", set()),
        ("> quoted\n>> twice", "quoted\ntwice", set()),
        ("● one → two", "• one   two", set()),
    ],
)
def test_normalise(source: str, expected: str, kinds: set[str]):
    result = normalise(source)
    assert result.text == expected
    assert set(result.dropped) == kinds


def test_tags_of_the_engine_stay():
    assert normalise("Oh [Sigh] [cough] <laugh>", ["[sigh]", "<laugh>"]).text == "Oh [Sigh]   <laugh>"
    batch = plan_batch("Oh [sigh] no [cough].", PlanCursor(), True, PlanOptions(120, 500, "en", tags=("[sigh]",)))
    assert batch.segments[0].spoken == "Oh [sigh] no."
    assert batch.warnings == ("not spoken: tags that the engine does not speak, such as [cough]",)


def test_where_brackets_are_text_no_tag_is_dropped():
    batch = plan_batch("Oh [sigh] no [cough].", PlanCursor(), True, PlanOptions(120, 500, "en", tags=None))
    assert batch.segments[0].spoken == "Oh sigh no cough."
    assert batch.warnings == ()


def test_each_kind_is_reported_once():
    batch = plan_batch("a😀 b🎉 \x00c\ud800", PlanCursor(), True, PlanOptions(120, 500, "en"))
    assert batch.warnings == (
        "not spoken: control characters, such as U+0000",
        "not spoken: emoji and pictographs, such as U+1F600",
        "not spoken: broken characters (lone surrogates), such as U+D800",
    )
    again = plan_batch("a😀", batch.cursor, True, PlanOptions(120, 500, "en"))
    assert again.warnings == ()


PARTS = ["a", "b", "😀", "\x00", "\r\n", "**", "\u200b", "\f", "[sigh]", "-\n", " ", "\u0301"]


@given(st.lists(st.sampled_from(PARTS)).map("".join))
def test_offsets_lead_back(source: str):
    result = normalise(source)
    for i, char in enumerate(result.text):
        start, end = result.start(i), result.end(i + 1)
        if char.isalnum():
            assert source[start:end] == char
            assert result.reach(start) <= i < result.reach(end)
    starts = [result.start(i) for i in range(len(result.text))]
    assert starts == sorted(starts)


@pytest.mark.parametrize(
    ("span", "expected"),
    [
        ("“Don’t,” he  said…", '"Don\'t," he said...'),
        ("ﬁne Ｈｅｌｌｏ　𝐖orld ⅳ ㎏", "fine Hello World iv kg"),
        ("e\u0301 Å", "é Å"),
        ("x² ½", "x² ½"),
        ("No!!! What?!?! Wait..... so", "No! What?!?! Wait... so"),
        ("a--b", "a — b"),
        ("| Bob | 42 |", "Bob, 42"),
        ("Are they good ? Yes .", "Are they good? Yes."),
        ("你好，世界！走。", "你好, 世界! 走."),
    ],
)
def test_polish(span: str, expected: str):
    assert polish(span) == expected


def test_east_asian_text_keeps_its_punctuation_and_loses_wraps():
    assert polish("你好，\n世 界！", "zh") == "你好，世界！"


def test_tidy():
    assert tidy("a [b] {c} * d|") == "a b c d"
    assert tidy("a [b], c [d].") == "a b, c d."
