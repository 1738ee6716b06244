"""SSML: read as a whole, planned by windows."""

import time
from itertools import pairwise
from xml.etree import ElementTree as ET
from xml.sax.saxutils import escape, quoteattr

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rhapsode.errors import InvalidInput
from rhapsode.model import Boundary, Markup, Segment
from rhapsode.text.plan import WINDOW, PlanCursor, PlanOptions, plan, plan_batch
from rhapsode.text.say_as import say_as
from rhapsode.text.ssml import is_ssml, parse_rate, read_ssml

VOICES = {"amy": None, "bob": "bob"}
OPTIONS = PlanOptions(120, 300, "en", markup=Markup.SSML, voices=VOICES)


def spoken(inner: str, **changes: object) -> list[str]:
    document = f"<speak>{inner}</speak>"
    read_ssml(document)
    given: dict[str, object] = {"markup": Markup.SSML, "voices": VOICES} | changes
    return [segment.spoken for segment in plan(document, PlanOptions(120, 300, "en", **given))]  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "is_one"),
    [
        ("<speak>a</speak>", True),
        ("\ufeff \n<speak version='1'>", True),
        ("<?xml version='1.0'?><speak/>", True),
        ("<speaker>", False),
        ("a <speak>", False),
        ("", False),
        ("<speak/>", True),
    ],
)
def test_what_looks_like_ssml(text: str, is_one: bool) -> None:
    assert is_ssml(text) is is_one


@pytest.mark.parametrize(
    ("inner", "said"),
    [
        ("Tom &amp; Ann&#233; &lt;3", ["Tom and Anné is less than three"]),
        ('The <sub alias="World Wide Web Consortium">W3C</sub> says.', ["The World Wide Web Consortium says."]),
        ('<sub alias="Dr. Who, no. 2">x</sub>', ["Doctor Who, number two"]),
        ("Hel<!-- a comment -->lo", ["Hello"]),
        (
            'It is <say-as interpret-as="date" format="dmy">05/03/2024</say-as>.',
            ["It is March fifth, twenty twenty-four."],
        ),
        ('<say-as interpret-as="characters">SQL 2</say-as>', ["S, Q, L, two"]),
        ('<say-as interpret-as="ordinal">21st</say-as> time', ["twenty-first time"]),
        (
            '<say-as interpret-as="cardinal">-1,234.50</say-as>',
            ["minus one thousand two hundred thirty-four point five zero"],
        ),
        ('<say-as interpret-as="telephone">+44 20 7946</say-as>', ["plus four four, two zero, seven nine four six"]),
        ('<say-as interpret-as="time">14:30</say-as>', ["fourteen thirty"]),
        ('<say-as interpret-as="currency">$3.50</say-as>', ["three dollars and fifty cents"]),
        ("<p>One.</p><p>Two.</p>", ["One.", "Two."]),
        ("<s>One</s><s>two</s>", ["One", "two"]),
        ("a [pause 1s] b", ["a pause one second b"]),
        ("<lang xml:lang='de'>Guten Tag</lang>", ["Guten Tag"]),
        ("", []),
        ("<p/><s></s><break/>", []),
        ("...", []),
    ],
)
def test_what_is_spoken(inner: str, said: list[str]) -> None:
    assert spoken(inner) == said


def test_phonemes_reach_engines_that_take_them() -> None:
    inner = 'A <phoneme alphabet="ipa" ph="təˈmɑːtəʊ">tomato</phoneme>, please.'
    assert spoken(inner, takes_ipa=True) == ["A [[təˈmɑːtəʊ]], please."]
    document = f"<speak>{inner}</speak>"
    batch = plan_batch(document, PlanCursor(), True, OPTIONS)
    assert [segment.spoken for segment in batch.segments] == ["A tomato, please."]
    assert batch.warnings == (
        "phonemes in IPA are not for this engine; spoken as written or respelled, such as tomato",
    )
    assert plan_batch(document, batch.cursor, True, OPTIONS).warnings == (), "it is said once"


def test_people_see_what_is_written() -> None:
    document = '<speak>It is <say-as interpret-as="date" format="ymd">2024-03-05</say-as> &amp; <sub alias="noon">12</sub>.</speak>'
    (segment,) = plan(document, OPTIONS)
    assert segment.text == "It is 2024-03-05 & 12."
    assert document[segment.start : segment.end].startswith("It is <say-as")
    assert document[segment.start : segment.end].endswith("</sub>.")


def test_voices_speeds_and_pauses_nest() -> None:
    document = (
        '<speak>One <voice name="bob">two <prosody rate="slow">three <voice name="amy">four</voice> five</prosody> six</voice>'
        ' <break time="700ms"/> seven <prosody rate="200%"><prosody rate="fast">eight</prosody></prosody><break strength="none"/> nine</speak>'
    )
    assert read_ssml(document).voices == {"bob": (1, 12), "amy": (1, 61)}
    found = [(segment.spoken, segment.voice, segment.speed, segment.lead_ms) for segment in plan(document, OPTIONS)]
    assert found == [
        ("One", None, 1.0, None),
        ("two", "bob", 1.0, None),
        ("three", "bob", 0.75, None),
        ("four", None, 0.75, None),
        ("five", "bob", 0.75, None),
        ("six", "bob", 1.0, None),
        ("seven", None, 1.0, 700),
        ("eight", None, 2.5, None),
        ("nine", None, 1.0, 0),
    ]


def test_paragraphs_and_sentences_end_segments() -> None:
    found = list(plan("<speak><p><s>One.</s> <s>Two.</s></p>\n<p>Three.</p></speak>", OPTIONS))
    assert [segment.boundary for segment in found] == [Boundary.SENTENCE, Boundary.PARAGRAPH, Boundary.PARAGRAPH]


@pytest.mark.parametrize(
    ("document", "place", "says"),
    [
        ("<speak>\n a & b</speak>", (2, 5), "write & as &amp;"),
        ("<speak><p>x</speak>", (1, 14), "end tag"),
        ("<speak>\n<p>x", (2, 5), "before all elements are closed"),
        ("hello", (1, 1), "no XML"),
        ("<p>x</p>", (1, 1), "begins with <speak>"),
        ("<speak><speak/></speak>", (1, 8), "one <speak>"),
        ("<speak>é<foo/></speak>", (1, 9), "<foo> is not known"),
        ("<speak><audio src='http://x/'/></speak>", (1, 8), "<audio> is not known"),
        ("<speak><break time='11s'/></speak>", (1, 8), "at most 10 s"),
        ("<speak><break strength='huge'/></speak>", (1, 8), "x-strong"),
        ("<speak><sub>x</sub></speak>", (1, 8), "needs the attribute alias"),
        ("<speak><sub alias='x'> </sub></speak>", (1, 24), "is empty"),
        ("<speak><sub alias='x'>a<p/></sub></speak>", (1, 24), "holds text alone"),
        ("<speak><sub alias='" + "x" * 201 + "'>a</sub></speak>", (1, 8), "at most 200"),
        ("<speak><sub alias='x'>" + "a" * 201 + "</sub></speak>", (1, 224), "at most 200"),
        ("<speak><sub alias='a > b'>x</sub></speak>", (1, 8), "write &gt;"),
        ("<speak><say-as interpret-as='magic'>x</say-as></speak>", (1, 8), "cardinal"),
        ("<speak><phoneme alphabet='x-sampa' ph='x'>x</phoneme></speak>", (1, 8), "only ipa"),
        ("<speak><phoneme ph='[[x]]'>x</phoneme></speak>", (1, 8), "without brackets"),
        ("<speak><prosody rate='9'>x</prosody></speak>", (1, 8), "0.25 to 4 times"),
        ("<speak><voice gender='male'>x</voice></speak>", (1, 8), "needs the attribute name"),
        ("<!DOCTYPE speak [<!ENTITY a 'b'>]><speak>&a;</speak>", (1, 17), "document type"),
        ("<!DOCTYPE speak SYSTEM 'file:///etc/passwd'><speak/>", None, "document type"),
        ("<speak>&nbsp;</speak>", (1, 8), "no such entity"),
        ("<speak><![CDATA[x]]></speak>", (1, 8), "CDATA"),
        ("<speak><?php x?></speak>", (1, 8), "processing instructions"),
        ("<speak>\ud800</speak>", (1, 8), "surrogate"),
        ("<speak>&#" + "0" * 5_000 + "65;</speak>", (1, 8), "too long"),
        ("<speak><!--" + "x" * 1_001 + "--></speak>", (1, 8), "comment is longer"),
        ("<speak><p" + " " * 1_001 + ">x</p></speak>", (1, 8), "longer than 1,000"),
        ("<speak>" + "<p>" * 100, (1, 101), "nested deeper than 32"),
        ("<speak>" + "<s/>" * 200_001 + "</speak>", None, "more than 200,000 elements"),
        ("<speak>" + "".join(f"<voice name='v{n}'/>" for n in range(33)) + "</speak>", None, "more than the 32"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(document: str, place: tuple[int, int] | None, says: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        read_ssml(document)
    assert says in str(caught.value)
    assert (caught.value.field, caught.value.status) == ("text", 422)
    assert caught.value.place is not None
    if place:
        assert caught.value.place == place
        assert f"line {place[0]}, column {place[1]}" in str(caught.value)


def test_what_is_not_heeded_is_said() -> None:
    script = read_ssml(
        "<speak><emphasis>a</emphasis><prosody pitch='high' volume='loud'>b</prosody><emphasis>c</emphasis></speak>"
    )
    assert script.warnings == (
        "<emphasis> is not heeded; what it holds is spoken",
        "prosody: pitch is not heeded, only rate is",
        "prosody: volume is not heeded, only rate is",
    )


@pytest.mark.parametrize(
    ("written", "factor"),
    [
        ("slow", 0.75),
        ("MEDIUM", 1.0),
        ("80%", 0.8),
        ("+20%", 1.2),
        ("-25%", 0.75),
        ("1.5", 1.5),
        ("fastest", None),
        ("", None),
        ("1e1", None),
    ],
)
def test_rates(written: str, factor: float | None) -> None:
    assert parse_rate(written) == (None if factor is None else pytest.approx(factor))


@pytest.mark.parametrize(
    ("kind", "order", "written", "said"),
    [
        ("cardinal", "", "twelve", None),
        ("ordinal", "", "3", "third"),
        ("ordinal", "", "x", None),
        ("digits", "", "007", "zero zero seven"),
        ("date", "mdy", "12/25/99", "December twenty-fifth, nineteen ninety-nine"),
        ("date", "yyyymmdd", "2024 1 2", "January second, twenty twenty-four"),
        ("date", "md", "5-17", "May seventeenth"),
        ("date", "my", "3/2024", "March twenty twenty-four"),
        ("date", "d", "4", "the fourth"),
        ("date", "dmy", "99/99/2024", None),
        ("date", "dmy", "1/2", None),
        ("date", "", "1/2/2024", "January second, twenty twenty-four"),
        ("time", "", "2:05pm", "two oh five PM"),
        ("telephone", "", "555-1234 ext. 9", "five five five, one two three four, extension nine"),
        ("spell-out", "", "a@b", "A, at, B"),
        ("unit", "", "5 km", None),
    ],
)
def test_say_as_in_english(kind: str, order: str, written: str, said: str | None) -> None:
    found = say_as(kind, order, written, "en-US")
    assert found == said


def test_other_languages_leave_say_as_to_the_engine() -> None:
    document = "<speak><say-as interpret-as='ordinal'>3</say-as></speak>"
    batch = plan_batch(document, PlanCursor(), True, PlanOptions(120, 300, "de", markup=Markup.SSML))
    assert [segment.spoken for segment in batch.segments] == ["3"]
    assert batch.warnings == ("say-as does not fit what it holds; read like any text, such as 3",)


# --- any document ------------------------------------------------------------------------------------------------------

words = st.text(alphabet="abcdefghijk", min_size=1, max_size=9)


def element(children: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    inner = st.lists(children, max_size=5).map(" ".join)
    return st.one_of(
        inner.map(lambda x: f"<p>{x}</p>"),
        inner.map(lambda x: f"<s >{x}</s >"),
        st.tuples(st.sampled_from(list(VOICES)), inner).map(lambda x: f'<voice name="{x[0]}">{x[1]}</voice>'),
        inner.map(lambda x: f"<prosody rate='50%'>{x}</prosody>"),
        st.tuples(words, words).map(lambda x: f"<sub alias={quoteattr(x[0])}>{escape(x[1])}</sub>"),
        st.sampled_from(
            ["<break/>", "<break time='20ms' />", "<!-- a <b> & c -->", "\n\n", "<s/>", "<voice name='bob'/>"]
        ),
    )


inners = st.recursive(words, element, max_leaves=25)


def expected(inner: str) -> list[tuple[str, str | None, float]]:
    """Each word with its voice and speed, found by another way: a walk through the parsed tree."""
    found: list[tuple[str, str | None, float]] = []

    def walk(node: ET.Element, voice: str | None, speed: float) -> None:
        if node.tag == "voice":
            voice = VOICES[node.attrib["name"]]
        if node.tag == "prosody":
            speed *= 0.5
        if node.tag == "sub":
            found.append((node.attrib["alias"], voice, speed))
        else:
            found.extend((word, voice, speed) for word in (node.text or "").split())
        for child in node:
            walk(child, voice, speed)
            found.extend((word, voice, speed) for word in (child.tail or "").split())

    walk(ET.fromstring(f"<speak>{inner}</speak>"), None, 1.0)
    return found


@settings(max_examples=80, deadline=None)
@given(st.lists(inners, min_size=1, max_size=6), st.sampled_from([1, 1, 60]))
def test_every_word_is_spoken_once_as_its_elements_say(parts: list[str], times: int) -> None:
    inner = " ".join(parts * times)
    document = f"<speak>{inner}</speak>"
    read_ssml(document)
    options = PlanOptions(80, 300, "xx", markup=Markup.SSML, voices=VOICES)
    cursor, segments, done = PlanCursor(), list[Segment](), False
    while not done:
        cursor = PlanCursor.loads(cursor.dumps())
        window = document[cursor.offset : cursor.offset + WINDOW]
        batch = plan_batch(window, cursor, cursor.offset + WINDOW >= len(document), options)
        assert batch.done or batch.cursor.offset > cursor.offset
        segments += batch.segments
        cursor, done = batch.cursor, batch.done
    assert [(word, s.voice, s.speed) for s in segments for word in s.spoken.split()] == expected(inner)
    assert all(0 <= a.start < a.end <= b.start for a, b in pairwise(segments))
    assert all("<" not in s.text and s.text == s.text.strip() for s in segments)


FRAGMENTS = [
    "<speak>",
    "</speak>",
    "<p>",
    "</p>",
    "<s>",
    "</s>",
    "<break/>",
    "<break time='1s'/>",
    "<voice name='bob'>",
    "</voice>",
    "<sub alias='x'>",
    "</sub>",
    "<say-as interpret-as='date'>",
    "</say-as>",
    "<phoneme ph='x'>",
    "</phoneme>",
    "<prosody rate='slow'>",
    "</prosody>",
    "&amp;",
    "&",
    "&#65;",
    "&#xe000;",
    "\ue000",
    "\uf000",
    "<",
    ">",
    "<!--",
    "-->",
    "<![CDATA[",
    "]]>",
    "<?x?>",
    "<!DOCTYPE a>",
    "word ",
    "Hi. ",
    "\n\n",
    "[",
    "]]",
    "😀",
    "<p x='>'>",
    "<a:b/>",
    "\x00",
    "\ud800",
]


@settings(max_examples=150, deadline=None)
@given(st.lists(st.sampled_from(FRAGMENTS), max_size=40), st.booleans())
def test_anything_is_refused_or_planned(parts: list[str], wrapped: bool) -> None:
    document = "".join(["<speak>", *parts, "</speak>"] if wrapped else parts)
    fits = True
    try:
        read_ssml(document)
    except InvalidInput:
        fits = False
    last = 0
    for segment in plan(document, OPTIONS):  # what was refused is never planned, but even that would end
        assert last <= segment.start <= segment.end <= len(document)
        last = segment.end
        assert 0 < len(segment.spoken) <= OPTIONS.max_chars
        assert not any("\ue000" <= char <= "\uf8ff" for char in segment.spoken + segment.text)
        if fits:
            assert "<" not in segment.spoken


@pytest.mark.parametrize(
    "inner",
    [
        "<s/>" * 100_000,
        "<s>a</s> " * 50_000,
        "<sub alias='b'>c</sub> " * 50_000,
        "&amp;" * 400_000,
        "<!-- x -->y" * 50_000,
    ],
)
def test_megabytes_are_read_in_seconds_and_planned_bit_by_bit(inner: str) -> None:
    document = f"<speak>{inner}</speak>"
    started = time.process_time()
    read_ssml(document)
    assert time.process_time() - started < 20
    cursor = PlanCursor()
    for _ in range(3):
        started = time.process_time()
        cursor = plan_batch(document[cursor.offset : cursor.offset + WINDOW], cursor, False, OPTIONS).cursor
        assert time.process_time() - started < 2
    assert cursor.offset > 300
