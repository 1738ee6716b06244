"""Markers in plain text: found, planned, never spoken."""

import contextlib
import string
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rhapsode.engines.base import Determinism, EngineInfo
from rhapsode.errors import InvalidInput
from rhapsode.jobs.runner import plan_options
from rhapsode.model import Boundary, Markup, Segment, SpeechRequest
from rhapsode.text.markup import MAX_PAUSE_MS, MAX_VOICES, parse_length, read_markers
from rhapsode.text.plan import WINDOW, PlanCursor, PlanOptions, plan, plan_batch

VOICES = {"amy": None, "bob": "bob", "Zoë (old)": "zoe"}
OPTIONS = PlanOptions(120, 300, "xx", markup=Markup.MARKERS, voices=VOICES)


def told(text: str, options: PlanOptions = OPTIONS) -> list[tuple[str, str | None, int | None]]:
    return [(segment.spoken, segment.voice, segment.lead_ms) for segment in plan(text, options)]


def test_voices_speak_until_the_next_marker() -> None:
    text = "Once. [voice:amy] Hello there.\n[voice: bob ]Hi! [VOICE:Zoë (old)] Well. [/voice] The end."
    assert told(text) == [
        ("Once.", None, None),
        ("Hello there.", None, None),
        ("Hi!", "bob", None),
        ("Well.", "zoe", None),
        ("The end.", None, None),
    ]


@pytest.mark.parametrize(
    ("written", "ms"),
    [
        ("[pause 1s]", 1_000), ("[pause 1.5s]", 1_500), ("[pause 500ms]", 500), ("[Pause: 2 seconds]", 2_000), ("[pause:.5 s]", 500),
        ("[ pause 0s ]", 0), ("[pause 10s]", 10_000), ("[pause 1s] [pause 250ms]", 1_250), ("[pause 9s]\n\n[pause 9s]", MAX_PAUSE_MS),
    ],
)  # fmt: skip
def test_a_pause_is_silence_before_what_follows(written: str, ms: int) -> None:
    assert told(f"One two {written} three.") == [("One two", None, None), ("three.", None, ms)]


def test_pauses_at_the_edges() -> None:
    assert told("[pause 2s] Hello.") == [("Hello.", None, 2_000)]
    assert told("Hello. [pause 2s]") == [("Hello.", None, None)]
    assert told("[pause 2s] ... [voice:bob]") == []


def test_what_a_marker_ends_keeps_its_place_in_the_text() -> None:
    text = "She said [voice:bob]no[voice:amy]. Then\n[pause 1s]\nshe left.\n\n[voice:bob]\n\nChapter two [voice:amy] begins"
    found = list(plan(text, OPTIONS))
    assert [segment.boundary for segment in found] == [
        Boundary.CLAUSE, Boundary.CLAUSE, Boundary.SENTENCE, Boundary.PARAGRAPH, Boundary.HEADING, Boundary.PARAGRAPH,
    ]  # fmt: skip
    assert [text[segment.start : segment.end] for segment in found] == [segment.text for segment in found]
    assert not any("[" in segment.text or "]" in segment.text for segment in found)


@pytest.mark.parametrize(
    "text", ["[the] man", "[1]", "a [pause] b", "[paused 1s]", "[voices:x]", "[pause for effect]", "voice:bob"]
)
def test_other_brackets_are_text(text: str) -> None:
    assert read_markers(text).voices == {}
    assert {(voice, lead) for _, voice, lead in told(text)} <= {(None, None)}


def test_plain_text_has_no_markers() -> None:
    plain = PlanOptions(120, 300, "xx", voices=VOICES)
    assert [spoken for spoken, _, _ in told("A [voice:bob] b [pause 1s] c", plain)] == ["A voice:bob b pause 1s c"]


@pytest.mark.parametrize(
    ("markup", "spoken"),
    [(Markup.MARKERS, "Oh [sigh] no."), (Markup.PLAIN, "Oh sigh no cough."), (Markup.SSML, "Oh sigh no cough.")],
)
def test_only_a_text_with_markers_has_tags(markup: Markup, spoken: str) -> None:
    engine = EngineInfo("x", "1", Determinism.EXACT, 300, False, tags=("[sigh]",))
    options = plan_options(SpeechRequest("x", "amy", markup=markup), engine)
    text = "Oh [sigh] no [cough]."
    assert told(f"<speak>{text}</speak>" if markup is Markup.SSML else text, options) == [(spoken, None, None)]


@pytest.mark.parametrize(
    ("text", "place", "says"),
    [
        ("x\n  [pause 11s]", (2, 3), "at most 10 s"),
        ("é [pause 5 parsecs]", (1, 3), "no length of time"),
        ("[pause -1s]", (1, 1), "no length of time"),
        ("[pause 1]", (1, 1), "no length of time"),
        ("\n\n [voice: ]", (3, 2), "names no voice"),
        ("".join(f"[voice:v{n}]\n" for n in range(MAX_VOICES + 1)), (MAX_VOICES + 1, 1), "more than the 32"),
        ("[pause 1s]" * 100_001, (1, 1_000_001), "more than 100,000 marks"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(text: str, place: tuple[int, int], says: str) -> None:
    with pytest.raises(InvalidInput, match=says) as caught:
        read_markers(text)
    assert (caught.value.field, caught.value.status, caught.value.place) == ("text", 422, place)
    assert f"line {place[0]}, column {place[1]}" in str(caught.value)


def test_names_come_with_their_first_place() -> None:
    assert read_markers("a\nb [voice:bob] [voice:amy] [voice:bob]").voices == {"bob": (2, 3), "amy": (2, 15)}


@pytest.mark.parametrize("written", ["", "s", "1", "1 s s", "1e3s", "١s", "1h", "-1s", "nan s", "1" * 40 + "s"])
def test_what_is_no_length_of_time(written: str) -> None:
    assert parse_length(written) is None


def test_a_cursor_keeps_voice_and_pause() -> None:
    text = "[voice:bob] " + "One two three. " * 600 + "[pause 300ms]"
    cursor, segments, done = PlanCursor(), list[Segment](), False
    while not done:
        cursor = PlanCursor.loads(cursor.dumps())
        window = (text + "[voice:amy]End.")[cursor.offset : cursor.offset + WINDOW]
        batch = plan_batch(window, cursor, cursor.offset + WINDOW >= len(text) + 15, OPTIONS)
        assert batch.done or batch.cursor.offset > cursor.offset
        cursor, done = batch.cursor, batch.done
        segments += batch.segments
    assert {segment.voice for segment in segments[:-1]} == {"bob"}
    assert (segments[-1].spoken, segments[-1].voice, segments[-1].lead_ms) == ("End.", None, 300)


pieces = st.lists(
    st.one_of(
        st.text(alphabet=string.ascii_letters, min_size=1, max_size=9),
        st.sampled_from(["\n", "\n\n", ". ", ", "]),
        st.sampled_from([f"[voice:{name}]" for name in VOICES]),
        st.sampled_from(["[pause 1s]", "[pause 20ms]", "[/voice]", " ", "   "]),
    ),
    max_size=60,
)


@settings(max_examples=80, deadline=None)
@given(pieces, st.sampled_from([1, 40]))
def test_every_word_is_spoken_once_by_its_voice_and_pauses_add_up(parts: list[str], times: int) -> None:
    parts = parts * times
    text = " ".join(parts)
    expected: list[tuple[str, str | None]] = []
    voice: str | None = None
    for part in parts:
        if part.startswith("[voice:"):
            voice = VOICES[part[7:-1]]
        elif part == "[/voice]":
            voice = None
        elif part.strip(" .,\n") and not part.startswith("[pause"):
            expected.append((part, voice))
    found = list(plan(text, OPTIONS))
    spoken = [(word.strip(".,"), segment.voice) for segment in found for word in segment.spoken.split()]
    assert [pair for pair in spoken if pair[0]] == expected
    assert [segment.index for segment in found] == list(range(len(found)))
    assert all(0 < (segment.lead_ms or 1) <= MAX_PAUSE_MS for segment in found)
    asked = text.count("[pause 1s]") + text.count("[pause 20ms]")
    assert sum(segment.lead_ms is not None for segment in found) <= asked
    if expected and not asked:
        assert all(segment.lead_ms is None for segment in found)


brackets = st.text(alphabet=st.sampled_from("[]/ :.0123456789abceiopsuvm\n"), max_size=300)


@settings(max_examples=150, deadline=None)
@given(
    st.lists(
        st.one_of(brackets, st.sampled_from(["[pause 1s]", "[voice:bob]", "[voice:", "[pause ", "]"])), max_size=30
    )
)
def test_any_brackets_can_be_read_and_planned(parts: list[str]) -> None:
    text = "".join(parts)
    try:
        read_markers(text)
    except InvalidInput:
        return
    last = 0
    for segment in plan(text, OPTIONS):
        assert last <= segment.start < segment.end <= len(text)
        assert segment.text == text[segment.start : segment.end]
        last = segment.end


@pytest.mark.parametrize("part", ["[", "[voice:", "[pause ", "[pause 1s", "[voice:a[", "x [voice:amy] "])
def test_megabytes_of_brackets_are_read_in_moments(part: str) -> None:
    text = part * (1_000_000 // len(part))
    started = time.process_time()
    with contextlib.suppress(InvalidInput):
        read_markers(text)
    list(plan(text[:40_000], OPTIONS))
    assert time.process_time() - started < 10
