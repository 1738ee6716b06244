"""What holds for every text, found by trying thousands of odd ones."""

import string
import unicodedata
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rhapsode.model import Boundary, Segment
from rhapsode.text.plan import WINDOW, PlanBatch, PlanCursor, PlanOptions, plan, plan_batch

ODDITIES = [
    "Dr. ", "e.g. ", "...", "…", "!!!", "?!", "“", "”", "‘", "’", '"', "'", "«", "»", "—", "–", "--", " - ", "\n", "\n\n", "\r\n", "\t",
    "3.14", "$1,234.50", "1984", "5 p.m. ", "http://a.b/c?d=e_f", "me@example.com", "CHAPTER IV\n", "# ", "- ", "1. ", "**", "__", "`",
    "| ", "[sigh]", "[the]", "<laugh>", "<b>", "[a](http://b)", "😀", "👩‍👩‍👧", "🇩🇪", "1️⃣", "\x00", "\x1b[31m", "\ud800", "\ue000", "\u200b", "\u202e",
    "\u00ad", "\ufeff", "e\u0301", "\u0301" * 9, "ﬁ", "Ａ", "ｶﾞ", "①", "½", "x²", "你好。", "再见", "「はい」", "नमस्ते।", "مرحبا؟", "ไทย", "한국어",
    "𝐇", "𠀀", "ﷺ", "\u2028", "\u2029", "\f", "\v", "\x85", "\xa0", "\u3000", "-\n", "a" * 130, "7" * 130, "word " * 30, "&", "%",
]  # fmt: skip

texts = st.one_of(
    st.text(max_size=400),
    st.text(alphabet=st.characters(), max_size=200),  # lone surrogates too
    st.lists(
        st.sampled_from([*ODDITIES, *string.ascii_letters, " ", ". ", ", ", "Yes. ", "The cat sat "]), max_size=120
    ).map("".join),
)
plain = st.lists(
    st.sampled_from(
        [
            *string.ascii_letters,
            *string.digits,
            *" .,;:!?\"'()\n—…",
            "é",
            "ß",
            "你",
            "。",
            "Да",
            "م",
            "\n\n",
            ". ",
            "Mr. ",
        ]
    ),
    max_size=600,
).map("".join)
options = st.builds(
    PlanOptions,
    chunk_size=st.integers(50, 500),
    max_chars=st.sampled_from([60, 100, 300, 2_000]),
    language=st.sampled_from(["en", "en-US", "de", "ja", "zh", "ar", "xx", ""]),
    split=st.booleans(),
    tags=st.sampled_from([(), ("[sigh]",), ("[sigh]", "<laugh>")]),
)
OPTIONS = PlanOptions(chunk_size=120, max_chars=500, language="en")


def batches(text: str, options: PlanOptions) -> list[PlanBatch]:
    """All batches, the cursor stored and read again between any two, as after a crash."""
    found: list[PlanBatch] = []
    stored = ""
    while not found or not found[-1].done:
        cursor = PlanCursor.loads(stored)
        window = text[cursor.offset : cursor.offset + WINDOW]
        batch = plan_batch(window, cursor, cursor.offset + WINDOW >= len(text), options)
        assert batch.done or batch.cursor.offset > cursor.offset, "no progress"
        stored = batch.cursor.dumps()
        found.append(batch)
    return found


def check(text: str, segments: list[Segment], options: PlanOptions) -> None:
    last = 0
    for i, segment in enumerate(segments):
        assert segment.index == i
        assert last <= segment.start < segment.end <= len(text)
        last = segment.end
        span = text[segment.start : segment.end]
        assert segment.text == "".join("\ufffd" if "\ud800" <= c <= "\udfff" else c for c in span)
        assert segment.text == segment.text.strip()
        assert len(segment.text) <= options.limit
        assert 0 < len(segment.spoken) <= options.max_chars
        for sentence in segment.spoken.split("\n"):
            assert any(c.isalnum() for c in sentence)
        segment.spoken.encode()


@settings(max_examples=250, deadline=None)
@given(texts, options)
def test_any_text_keeps_the_limits_and_order(text: str, options: PlanOptions):
    check(text, list(plan(text, options)), options)


@settings(max_examples=150, deadline=None)
@given(plain, options)
def test_every_letter_and_digit_is_in_a_segment(text: str, options: PlanOptions):
    segments = list(plan(text, options))
    covered = "".join(text[s.start : s.end] for s in segments)
    assert [c for c in covered if c.isalnum()] == [c for c in text if c.isalnum()]


@settings(max_examples=100, deadline=None)
@given(st.lists(st.text(alphabet=string.ascii_letters, min_size=1, max_size=8), max_size=200), st.booleans())
def test_every_word_is_spoken_once_and_in_order(words: list[str], split: bool):
    options = PlanOptions(chunk_size=60, max_chars=400, language="xx", split=split)  # no English reader between
    spoken = " ".join(s.spoken for s in plan(" ".join(words), options))
    assert spoken.split() == words


@settings(max_examples=40, deadline=None)
@given(st.lists(texts, min_size=1, max_size=6), st.integers(20, 200), options)
def test_long_texts_go_on_where_the_stored_cursor_says(parts: list[str], times: int, options: PlanOptions):
    text = ("".join(parts) * times)[: 4 * WINDOW]
    found = batches(text, options)
    segments = [segment for batch in found for segment in batch.segments]
    assert segments == list(plan(text, options))
    check(text, segments, options)
    warnings = [warning for batch in found for warning in batch.warnings]
    assert len({w.split(",")[0] for w in warnings}) == len(warnings)


@pytest.mark.parametrize(
    "unit",
    ["x", "7", '"', "“", "'", "\n", " ", "a.", "Dr. ", "😀", "\u0301", "[", "[sigh]", "我", "我。", "\x00", "<a ", "*a", "Aa\n", "-\n", "("],
)  # fmt: skip
@pytest.mark.parametrize("split", [True, False])
def test_a_flood_of_anything_is_planned(unit: str, split: bool):
    text = (unit * 3 * WINDOW)[: 3 * WINDOW]
    options = PlanOptions(chunk_size=120, max_chars=500, language="en", split=split)
    found = batches(text, options)
    segments = [segment for batch in found for segment in batch.segments]
    check(text, segments, options)
    if unit.isalnum():
        assert sum(len(s.text) for s in segments) == len(text)


@pytest.mark.parametrize("gap", [WINDOW - 10, WINDOW, 3 * WINDOW])
def test_a_gap_longer_than_a_window_loses_nothing(gap: int):
    for filler in (" ", "\n", "!", "😀"):
        text = "Begin here. " + filler * gap + " End here."
        assert (
            " ".join(s.spoken for s in plan(text, OPTIONS)).replace("!", ".").replace("..", ".")
            == "Begin here. End here."
        )


def test_the_plan_starts_as_fast_for_a_long_text():
    text = "The cat sat on the mat. " * 200_000
    first = plan_batch(text[:WINDOW], PlanCursor(), False, OPTIONS)
    assert first.segments[0].text == "The cat sat on the mat."
    assert len(first.segments) < 40, "the first call plans little, somebody is waiting"


def test_what_is_longer_when_spoken_is_cut_smaller_and_loses_nothing():
    blessing = "\ufdfa"  # one character, eighteen when spoken
    spoken = [s.spoken for s in plan(blessing * 50, PlanOptions(120, 60, "xx"))]
    assert max(map(len, spoken)) <= 60
    assert "".join(spoken).replace(" ", "") == unicodedata.normalize("NFKC", blessing * 50).replace(" ", "")


@pytest.mark.parametrize("missing", range(1, 6))
def test_a_tag_across_a_window_border_is_still_a_tag(missing: int):
    text = "Hi. " + "!" * (WINDOW - 10 + missing) + "[sigh] Bye."
    assert text[WINDOW - 1 : WINDOW + 1] in "[sigh]"
    assert [s.spoken.strip("!") for s in plan(text, OPTIONS)][-1] == "Bye."


def test_words_across_window_borders_stay_whole():
    text = " ".join(f"Sentence number w{i} is here." for i in range(2_000))
    segments = list(plan(text, PlanOptions(120, 500, "xx")))
    assert all(s.boundary is Boundary.SENTENCE for s in segments[:-1])
    for one, two in pairwise(segments[1:]):
        assert len(one.text) + 1 + len(two.spoken.split("\n")[0]) > 120, "another sentence would have fitted"
    assert "\n".join(s.spoken for s in segments).split("\n") == [f"Sentence number w{i} is here." for i in range(2_000)]


@pytest.mark.parametrize(
    "text",
    ["", " ", "\n\n", "...", "!!!", "—", "“”", "😀", "[sigh]", "***", "\u0301", "\x00", "\ud800", "ʼ", "* * *\n---"],
)
def test_nothing_speakable_gives_no_segment(text: str):
    assert list(plan(text, OPTIONS)) == []


def test_a_cursor_survives_storage():
    cursor = PlanCursor(5, 2, 70, ("emoji", "tag"))
    assert PlanCursor.loads(cursor.dumps()) == cursor
    assert PlanCursor.loads("") == PlanCursor()
    with pytest.raises(ValueError):
        PlanCursor.loads("nonsense")
