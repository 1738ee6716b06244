"""Plain English prose of any length in which no sentence comes twice: the same text for the same number, on every machine."""

import random
from collections.abc import Iterator, Sequence

from rhapsode.model import Segment
from rhapsode.text.plan import PlanOptions, plan

PLAN = PlanOptions(chunk_size=120, max_chars=300, language="en")
"""As the server plans for Piper when a request says nothing."""

_WHO = (
    "the miller", "my grandmother", "a tired clerk", "the young doctor", "our neighbour", "the captain", "a stranger",
    "the gardener", "her brother", "the old teacher", "a travelling singer", "the carpenter", "the night watchman",
    "his cousin", "the librarian", "a quiet boy", "the baker", "the widow", "a lost tourist", "the surveyor",
)  # fmt: skip
_DID = (
    "carried", "forgot", "repaired", "hid", "sold", "painted", "described", "measured", "borrowed", "found", "washed",
    "counted", "buried", "opened", "admired", "returned", "dropped", "weighed", "followed", "sketched",
)  # fmt: skip
_WHAT = (
    "a brass lantern", "the yellow boat", "three wooden chairs", "a letter from the coast", "the heavy ledger",
    "a basket of pears", "the broken clock", "an iron key", "the map of the valley", "a pair of riding boots",
    "the smallest violin", "a bundle of dry reeds", "the red umbrella", "a sack of barley", "the silver spoons",
    "a box of old photographs", "the garden gate", "a jar of honey", "the blue curtain", "a stack of newspapers",
)  # fmt: skip
_WHERE = (
    "behind the stable", "near the harbour", "under the long bridge", "at the edge of the forest", "in the cellar",
    "beside the frozen lake", "on the upper landing", "outside the town hall", "along the canal", "by the stone well",
    "in the empty theatre", "on the northern road", "beneath the chestnut trees", "at the railway station",
    "inside the chapel", "across the meadow",
)  # fmt: skip
_WHEN = (
    "before breakfast", "late in the autumn", "on a windy evening", "after the market closed", "during the storm",
    "early one morning", "at the end of winter", "while the others slept", "when the rain had stopped", "that same night",
    "in the middle of June", "after a long silence", "as the lamps were lit", "once the guests had left",
)  # fmt: skip
_THEN = (
    "and nobody asked why", "but the dog never barked", "so the children laughed", "and the bells began to ring",
    "though it was almost dark", "because the road was closed", "and then walked home alone", "while the kettle sang",
    "but it was far too late", "and wrote nothing down", "since there was time to spare", "and the wind turned cold",
)  # fmt: skip


def sentences(number: int = 0) -> Iterator[str]:
    """Sentences of 45 to 120 characters without end, each different from all before it; other numbers give other texts."""
    chosen = random.Random(number)
    pick = chosen.choice
    seen: set[str] = set()
    while True:
        core = f"{pick(_WHO)} {pick(_DID)} {pick(_WHAT)}"
        sentence = pick((
            f"{pick(_WHEN)}, {core} {pick(_WHERE)}",
            f"{core} {pick(_WHERE)}, {pick(_THEN)}",
            f"{pick(_WHEN)}, {core}, {pick(_THEN)}",
            f"{pick(_WHERE)}, {core} {pick(_WHEN)}",
            f"{core} {pick(_WHEN)}",
        ))  # fmt: skip
        if sentence not in seen and len(sentence) < 119:
            seen.add(sentence)
            yield sentence[0].upper() + sentence[1:] + "."


def prose(chars: int, number: int = 0) -> str:
    """At least ``chars`` characters in paragraphs of five sentences."""
    paragraphs: list[str] = []
    size = 0
    source = sentences(number)
    while size < chars:
        paragraphs.append(" ".join(next(source) for _ in range(5)))
        size += len(paragraphs[-1]) + 2
    return "\n\n".join(paragraphs)


def planned(text: str) -> list[Segment]:
    """The segments that the server makes of ``text``."""
    return list(plan(text, PLAN))


def text_of_segments(count: int, number: int = 0) -> str:
    """Prose that is planned as exactly ``count`` segments."""
    text = prose(count * 125, number)
    return text[: planned(text)[count - 1].end]


def spoken(segments: Sequence[Segment]) -> list[str]:
    """What an engine gets for them."""
    return [segment.spoken for segment in segments]
