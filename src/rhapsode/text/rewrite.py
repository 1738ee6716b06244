"""Rewriting rules: a pattern and what is said instead. Every pattern is bounded, so that no text takes more than linear time."""

import re
from collections.abc import Callable, Iterable
from typing import NamedTuple

Say = Callable[[re.Match[str]], str]


class Rule(NamedTuple):
    """One rule: ``say`` gives the words for each match; it may look around in ``match.string`` but only a few characters far.

    The repetitions in ``pattern`` have an upper limit or are possessive: backtracking stays bounded.
    """

    pattern: re.Pattern[str]
    say: Say | str


def rewrite(text: str, rules: Iterable[Rule]) -> str:
    """``text`` after all ``rules``, in order; each sees what the ones before it made."""
    for rule in rules:
        text = rule.pattern.sub(rule.say, text)
    return text


def words(listed: str) -> frozenset[str]:
    """The words of a list that is written as one string."""
    return frozenset(listed.split())


def before(match: re.Match[str], length: int = 40) -> str:
    """Up to ``length`` characters before the match."""
    return match.string[max(0, match.start() - length) : match.start()]


def after(match: re.Match[str], length: int = 40) -> str:
    """Up to ``length`` characters behind the match."""
    return match.string[match.end() : match.end() + length]


_ENDS = re.compile(r"[)\]\"'”’]{0,3}(?:\n|\Z)")
_NEXT_WORD = re.compile(r"[)\]\"'”’]{0,3}[ ]([A-Z][a-z]{0,10})(?!\w)")
_ENDS_OR_GOES_ON = re.compile(r"[)\]\"'”’]{0,3}(?:\n|\Z|[ ][\"'“‘(]{0,2}[A-Z])")


SENTENCE_STARTERS = words(
    "The This That These Those There Then They It He She We You I In On At But And Or So If When While What Who Why How A An No Yes My His Her "
    "Our Your Their As For From To With After Before Now Not Mister Missus Miz Doctor"
)
"""Capitalised words that more often begin a sentence than continue a name."""


def full_stop(match: re.Match[str], before_capital: bool = False) -> str:
    """The full stop that an abbreviation swallowed, when it also ended the sentence; otherwise "".

    Args:
        match: Its end lies behind the abbreviation's own dot.
        before_capital: A capital letter next means a new sentence ("etc. The"), not a name ("Inc. Magazine").
    """
    ends = _ENDS_OR_GOES_ON if before_capital else _ENDS
    following = _NEXT_WORD.match(match.string, match.end())
    starts = following is not None and following[1] in SENTENCE_STARTERS
    return "." if starts or ends.match(match.string, match.end()) else ""
