"""Cues: what is shown, how it is cut, and when."""

import re
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rhapsode.deliver.subtitles import LINE_CHARS, Cue, cues, srt_cue, vtt_cue
from rhapsode.model import WordTiming

RATE = 1_000


def spaced(words: list[str], step: int = 100, gap: int = 20) -> list[WordTiming]:
    """Each word ``step`` samples long, the last ``gap`` of which are silent."""
    return [WordTiming(word, i * step, (i + 1) * step - gap) for i, word in enumerate(words)]


def test_a_short_sentence_is_one_cue_for_as_long_as_its_take() -> None:
    assert list(cues("Hello  there\nworld.", "en", 500, 2_000, RATE)) == [Cue(0.5, 2.5, ("Hello there world.",))]


def test_a_cue_ends_with_its_sentence_and_its_last_word() -> None:
    words = spaced(["One", "two.", "Three", "four."])
    first, second = cues("One two. Three four.", "en", 1_000, 400, RATE, words)
    assert first == Cue(1.0, 1.18, ("One two.",))
    assert second == Cue(1.2, 1.4, ("Three four.",))


def test_an_abbreviation_does_not_end_a_cue() -> None:
    assert len(list(cues("Dr. Smith met Mrs. Jones.", "en", 0, 100, RATE))) == 1


def test_a_long_sentence_is_cut_between_words_at_their_times() -> None:
    text = " ".join(f"word{i:02}" for i in range(30))
    found = list(cues(text, "en", 0, 3_000, RATE, spaced(text.split())))
    assert len(found) == 3
    shown = 0
    for cue in found[:-1]:
        begin, shown = shown, shown + len(" ".join(cue.lines).split())
        assert (cue.start_s, cue.end_s) == (begin * 100 / RATE, (shown * 100 - 20) / RATE)
    assert max(len(" ".join(cue.lines)) for cue in found) - min(len(" ".join(cue.lines)) for cue in found) <= 7


def test_words_that_are_spoken_otherwise_are_matched_by_how_far_they_stand() -> None:
    text = "It cost $20. Nobody paid."
    words = spaced(["It", "cost", "twenty", "dollars.", "Nobody", "paid."])
    first, second = cues(text, "en", 0, 600, RATE, words)
    assert (first.lines, second.lines) == (("It cost $20.",), ("Nobody paid.",))
    assert first.end_s < second.start_s
    assert {first.end_s, second.start_s} <= {word.end / RATE for word in words} | {word.start / RATE for word in words}


def test_without_words_time_is_shared_by_characters() -> None:
    first, second = cues("Aaaa bbbb. Cc d.", "en", 0, 1_300, RATE)
    assert first.end_s == second.start_s == 0.9
    assert second.end_s == 1.3


@pytest.mark.parametrize("text", ["", " \n ", "\u2028"])
def test_nothing_to_show_is_no_cue(text: str) -> None:
    assert list(cues(text, "en", 0, 100, RATE)) == []


def test_right_to_left_text_is_left_as_it_is() -> None:
    text = "مرحبا بالعالم، كيف حالك؟"
    assert [cue.lines for cue in cues(text, "ar", 0, 100, RATE)] == [(text,)]


def test_a_letter_keeps_its_marks() -> None:
    text = "e\u0301" * 60
    lines = [line for cue in cues(text, "en", 0, 100, RATE) for line in cue.lines]
    assert "".join(lines).replace(" ", "") == text
    assert not any(line.startswith("\u0301") for line in lines)


@given(
    st.text(st.sampled_from("abc de.?!,\n  &<>é今"), max_size=600),
    st.integers(1, 100_000),
    st.lists(st.text("xyz", min_size=1, max_size=9), max_size=60),
)
def test_everything_is_shown_in_order_within_its_time(text: str, samples: int, spoken: list[str]) -> None:
    step = max(1, samples // max(1, len(spoken)))
    words = [WordTiming(word, i * step, (i + 1) * step) for i, word in enumerate(spoken)]
    found = list(cues(text, "en", 7, samples, RATE, words))
    assert "".join("".join(cue.lines) for cue in found).replace(" ", "") == "".join(text.split())
    for cue in found:
        assert 1 <= len(cue.lines) <= 2
        assert all(0 < len(line) <= LINE_CHARS for line in cue.lines)
        assert 7 / RATE <= cue.start_s <= cue.end_s <= (7 + samples) / RATE
    assert all(before.end_s <= behind.start_s for before, behind in pairwise(found))


def test_webvtt_escapes_what_it_would_read_as_its_own() -> None:
    written = vtt_cue(3, Cue(3_599.9996, 3_600.0, ("a & b <i> --> c",)))
    assert written == "3\n01:00:00.000 --> 01:00:00.001\na &amp; b &lt;i&gt; --&gt; c\n\n"


def test_subrip_has_commas_and_only_one_arrow() -> None:
    written = srt_cue(1, Cue(0.0, 1.5, ("a --> b", "c")))
    assert written.startswith("1\n00:00:00,000 --> 00:00:01,500\n")
    assert len(re.findall("-->", written)) == 1
    assert vtt_cue(1, Cue(360_000.0, 360_001.0, ("long",))).startswith("1\n100:00:00.000 --> 100:00:01.000\n")
