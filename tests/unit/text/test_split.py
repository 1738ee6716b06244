"""Where sentences end, in the cases that splitters get wrong, and how paragraphs are read."""

import pytest

from rhapsode.model import Boundary
from rhapsode.text.plan import PlanOptions, plan
from rhapsode.text.split import cut, runs, sentences


def split(text: str, language: str = "en") -> list[str]:
    return [text[start:end] for start, end in sentences(text, language)]


ENGLISH = [
    "Dr. Smith met Mr. Jones at 5 p.m. on Jan. 5. | They left.",
    "J. R. R. Tolkien wrote it. | He was English.",
    "T. S. Eliot and W. H. Auden. | Poets.",
    "The U.S. Army arrived. | The U.S. is big. | I live in the U.S. | It is nice.",
    "Pi is 3.14159. | Version 2.0.1 is out. | See fig. 3 for details.",
    '"Stop!" he cried. | "Go away." | She left.',
    "“Stop!” he cried. | “Go away.” | She left.",
    "He said, “I am tired. | I want to sleep.” | Then he slept.",
    "Wait... what? | No... | Yes.",
    "Well… I know. | So what?!",
    "Visit example.com. | It is good. | Go to https://example.com/a.b?c=d. | Thanks.",
    "It cost $3.50. | Too much.",
    "Is that so? | Yes! | No.",
    "I have a Ph.D. in physics. | You don't.",
    "He works at Apple Inc. in California. | She left Acme Corp. | Then she rested.",
    "At 5 a.m. the bell rang. | It was 5 a.m. | The bell rang.",
    "No. 5 is alive.",
    "No. | I said no.",
    "(He was late.) | She was not. | (Really?) | Yes.",
    "The file is main.py. | Open it.",
    "See p. 55 and pp. 60-65. | Then vol. 3, ch. 2.",
    "St. Paul lived on Main St. in town. | He died.",
    'She turned to him, "This is great." | She held the book.',
    "hello. | how are you. | i am fine.",
    "What is this? | I don't know. | Maybe.",
    "Alice et al. found it. | J.K. Rowling agreed.",
    "He said 'no.' | Then left. | It's John's. | Don't.",
    "“What?” asked Tom. | ‘Nothing.’ | “Really?”",
    'Who said "Why?"? | I did.',
    "Yahoo! is a company. | OK?",
    "She said—“No!”—and left. | Then—nothing.",
    "1. Milk and eggs. | Not ham.",
    "a text without any punctuation at all goes on and on",
]
OTHERS = [
    ("de", "Am 3. Oktober war es z. B. kalt. | Dann warm."),
    ("fr", "M. Dupont est là. | Il a dit « Bonjour. » | Puis parti."),
    ("es", "El Sr. García llegó. | ¿Qué? | ¡Sí! | Vale."),
    ("ru", "Это г. Москва. | Он ушёл."),
    ("el", "Γεια σου. | Τι κάνεις; | Καλά."),
    ("cs", "Co je? | To nic. | Např. toto."),
    ("hi", "यह है। | वह गया। | ठीक?"),
    ("ja", "今日は晴れです。 | 「行こう。」と言った。 | はい！"),
    ("zh", "他说：“你好。 | 我走了。” | 然后走了。"),
    ("ko", "안녕하세요. | 반갑습니다. | 네!"),
    ("ar", "مرحبا. | كيف حالك؟ | أنا بخير."),
    ("he", "שלום. | מה נשמע? | טוב."),
    ("am", "ይህ ነው። | እሺ።"),
    ("hy", "Ես գնացի։ | Նա եկավ։"),
    ("my", "ဒါက။ | ဟုတ်။"),
    ("th", "ฉันไป เธอมา"),
    ("pt-BR", "O Sr. Silva chegou. | Tudo bem?"),
    ("", "One. | Two."),
    ("no-such-language", "One. | Two."),
]


@pytest.mark.parametrize("marked", ENGLISH)
def test_english_sentences(marked: str):
    assert split(marked.replace(" | ", " ")) == marked.split(" | ")


@pytest.mark.parametrize(("language", "marked"), OTHERS)
def test_sentences_of_other_languages(language: str, marked: str):
    assert split(marked.replace(" | ", " "), language) == marked.split(" | ")


@pytest.mark.parametrize("marked", ["你好。|再见！|走？", "「はい。|行こう。」"])
def test_full_stops_need_no_space_in_east_asian_text(marked: str):
    assert split(marked.replace("|", ""), "ja") == marked.split("|")


def test_a_paragraph_longer_than_a_slice_is_split_like_a_short_one():
    sentence = "Mr. Jones, who was 3.5 years older, said “No. Go.” and left."
    assert split(" ".join([sentence] * 200)) == split(sentence) * 200


def of(text: str, width: int = 0) -> list[tuple[str, str]]:
    return [(text[run.start : run.end].replace("\n", " "), run.boundary.value) for run in runs(text, width)]


WRAPPED = """It was a dark and stormy night and the rain fell in torrents except
at occasional intervals when it was checked by a violent gust of wind
which swept up the streets. It is in London that our scene lies."""


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("One.\n\nTwo.", [("One.", "paragraph"), ("Two.", "paragraph")]),
        ("One.\n \t\n\nTwo.".replace("\t", " "), [("One.", "paragraph"), ("Two.", "paragraph")]),
        (WRAPPED, [(WRAPPED.replace("\n", " "), "paragraph")]),
        ("CHAPTER I\n\nIt was.", [("CHAPTER I", "heading"), ("It was.", "paragraph")]),
        ("CHAPTER I.\nDown the Rabbit-Hole\n\nAlice was.",
         [("CHAPTER I.", "heading"), ("Down the Rabbit-Hole", "heading"), ("Alice was.", "paragraph")]),
        ("Chapter Twelve: The End\nIt was over.", [("Chapter Twelve: The End", "heading"), ("It was over.", "paragraph")]),
        ("第一章\n从前有座山。", [("第一章", "heading"), ("从前有座山。", "paragraph")]),
        ("Part of it was true.\n\nYes.", [("Part of it was true.", "paragraph"), ("Yes.", "paragraph")]),
        ("# Title\nText goes here.", [("Title", "heading"), ("Text goes here.", "paragraph")]),
        ("A Short Title\n\nText.", [("A Short Title", "heading"), ("Text.", "paragraph")]),
        ("Title\n=====\nText.", [("Title", "heading"), ("Text.", "paragraph")]),
        ("Just some words", [("Just some words", "paragraph")]),
        ("“Is it done?”\n\n“It is.”", [("“Is it done?”", "paragraph"), ("“It is.”", "paragraph")]),
        ("One.\n\n* * *\n\nTwo.", [("One.", "paragraph"), ("Two.", "paragraph")]),
        ("Buy:\n- milk\n- eggs and\n  ham\n* jam",
         [("Buy:", "sentence"), ("milk", "sentence"), ("eggs and   ham", "sentence"), ("jam", "paragraph")]),
        ("1. One\n2. Two\n(a) Three", [("1. One", "sentence"), ("2. Two", "sentence"), ("(a) Three", "paragraph")]),
        ("Roses are red\nViolets are blue", [("Roses are red", "sentence"), ("Violets are blue", "paragraph")]),
        ("Long ago,\nfar away", [("Long ago, far away", "paragraph")]),
        ("Ann: Hello.\nBob: Hi.", [("Ann: Hello.", "sentence"), ("Bob: Hi.", "paragraph")]),
        ("x" * 110 + ".\nNext.", [("x" * 110 + ".", "paragraph"), ("Next.", "paragraph")]),
        ("| A | B |\n|---|---|\n| 1 | 2 |", [("| A | B |", "paragraph"), ("| 1 | 2 |", "paragraph")]),
    ],
)  # fmt: skip
def test_runs(text: str, expected: list[tuple[str, str]]):
    assert of(text) == expected


def test_the_rest_of_a_paragraph_is_no_heading_and_no_list():
    assert of("Of the Story\n\nNext.", width=70) == [("Of the Story", "paragraph"), ("Next.", "paragraph")]
    assert of("- milk", width=70) == [("- milk", "paragraph")]


@pytest.mark.parametrize(
    ("text", "limit", "pieces", "boundary"),
    [
        ("When it rained, they stayed in the house all day long", 40, "When it rained,", Boundary.CLAUSE),
        ("He came; he saw, and then he went home again at last", 40, "He came; he saw,", Boundary.CLAUSE),
        ("they walked along the road and they talked about it", 40, "they walked along the road", Boundary.CLAUSE),
        ("one two three four five six seven eight", 20, "one two three four", Boundary.NONE),
        ("pay 1,000,000 dollars right now to the old man", 24, "pay 1,000,000 dollars", Boundary.NONE),
        ("https://example.com/first/second/third", 30, "https://example.com/first/", Boundary.NONE),
        ("e\u0301" * 20, 15, "e\u0301" * 7, Boundary.NONE),
        ("我们去北京，看看长城怎么样好不好呢", 12, "我们去北京，", Boundary.CLAUSE),
    ],
)
def test_cut(text: str, limit: int, pieces: str, boundary: Boundary):
    place, kind = cut(text, 0, len(text), limit)
    assert (text[:place].rstrip(), kind) == (pieces, boundary)


def test_the_first_segment_is_the_first_sentence_alone():
    options = PlanOptions(chunk_size=300, max_chars=900, language="xx")
    assert [s.text for s in plan("Hi. Yes. No.", options)] == ["Hi.", "Yes. No."]
    long = "The first clause is not short at all, " * 5 + "and here it ends. Then more."
    first, *rest = plan(long, options)
    assert first.text == ", ".join(["The first clause is not short at all"] * 3) + ","
    assert first.boundary is Boundary.CLAUSE
    assert " ".join([first.text, *(s.text for s in rest)]) == long


def test_packing_stops_at_paragraphs_unless_splitting_is_off():
    text = "Hi.\n\nYes. No.\n\nTitle\n\nMore."
    split = [(s.spoken, s.boundary.value) for s in plan(text, PlanOptions(300, 900, "xx"))]
    assert split == [("Hi.", "paragraph"), ("Yes.\nNo.", "paragraph"), ("Title", "heading"), ("More.", "paragraph")]
    whole = [(s.spoken, s.boundary.value) for s in plan(text, PlanOptions(300, 900, "xx", split=False))]
    assert whole == [("Hi.\nYes.\nNo.\nTitle\nMore.", "paragraph")]
