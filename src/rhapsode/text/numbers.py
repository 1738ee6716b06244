"""Numbers in words for engines that cannot read digits, in languages other than English, which has rules of its own (spoken.py).

Words are those of Unicode's CLDR. Plain numbers, decimals, percent, a few currencies, times of day; what is declined or stands in an
unusual order (dates, units) is left to the words around it.
"""

import re
from collections.abc import Mapping
from functools import lru_cache

from unicode_rbnf import FormatPurpose, RbnfEngine

_POINT: Mapping[str, str] = {
    "ar": "فاصل", "cs": "čárka", "da": "komma", "de": "Komma", "el": "κόμμα", "es": "coma", "fi": "pilkku", "fr": "virgule", "he": "נקודה",
    "hi": "दशमलव", "hu": "egész", "it": "virgola", "ja": "点", "ko": "점", "ms": "perpuluhan", "nl": "komma", "no": "komma", "pl": "przecinek",
    "pt": "vírgula", "ro": "virgulă", "ru": "запятая", "sv": "komma", "sw": "nukta", "tr": "virgül", "uk": "кома", "zh": "点",
}  # fmt: skip
"""Languages that this knows, and what they call the sign before decimals."""
_DOT_DECIMALS = frozenset({"he", "hi", "ja", "ko", "ms", "sw", "zh"})
"""3.5 and 1,000, not 3,5 and 1.000."""
_YEARS = frozenset({"da", "de", "nl", "no", "sv"})
"""Nineteen hundred eighty-four, not one thousand."""
_AFTER: Mapping[str, Mapping[str, str]] = {
    "%": {
        "da": "procent", "de": "Prozent", "el": "τοις εκατό", "es": "por ciento", "fi": "prosenttia", "fr": "pour cent", "hu": "százalék",
        "it": "per cento", "ja": "パーセント", "ko": "퍼센트", "nl": "procent", "no": "prosent", "pl": "procent", "pt": "por cento",
        "ro": "la sută", "ru": "процентов", "sv": "procent", "uk": "відсотків",
    },
    "€": {"de": "Euro", "es": "euros", "fr": "euros", "it": "euro", "nl": "euro", "pt": "euros"},
    "$": {"de": "Dollar", "es": "dólares", "fr": "dollars", "it": "dollari", "nl": "dollar", "pt": "dólares"},
    "£": {"de": "Pfund", "es": "libras", "fr": "livres", "it": "sterline", "nl": "pond", "pt": "libras"},
}  # fmt: skip
_CURRENCIES = "€$£"
_LONGEST = 15
"""Digits; more are read one by one."""

_WEST = r"(?P<whole>\d{1,3}(?:(?P<group>[. ])\d{3}(?:(?P=group)\d{3}){0,3})|\d{1,15})(?:,(?P<decimals>\d{1,9})|\.(?P<dotted>\d{1,2}))?"
_EAST = r"(?P<whole>\d{1,3}(?P<group>,)\d{3}(?:,\d{3}){0,3}|\d{1,15})(?:\.(?P<decimals>\d{1,9}))?(?P<dotted>(?!))?"
_NUMBER, _NUMBER_EAST = (
    re.compile(
        rf"(?<![\w.,:])(?P<before>[{_CURRENCIES}] ?)?(?P<minus>[-−])?{pattern}(?P<after> ?[%{_CURRENCIES}])?(?!\w|[.,:]\d)"
    )
    for pattern in (_WEST, _EAST)
)
_CLOCK = re.compile(r"(?<![\w.,:])(\d{1,2}):(\d{2})(?![\w:])")
_GERMAN_DATE = re.compile(
    r"(?<![\w.,])(\d{1,2})\.(?= ?(?:Januar|Jänner|Februar|März|April|Mai|Juni|Juli|August|September|Oktober|November|Dezember)\b)"
)
_BETWEEN = re.compile(r"(?<=\d)[./:](?=\d)")
"""In what is no plain number, such as an address of a computer."""
_DIGITS = re.compile(r"[0-9]+")


def knows_numbers(code: str) -> bool:
    """Whether numbers can be written out in a language (its code without a region)."""
    return code in _POINT


def numbers_in_words(text: str, code: str) -> str:
    """The text with its numbers in words. Linear; never raises.

    Args:
        text: One line.
        code: A language for which :func:`knows_numbers` holds.
    """
    if not _DIGITS.search(text):
        return text
    text = _CLOCK.sub(lambda m: f"{m[1]} {m[2]}" if int(m[2]) else m[1], text)
    pattern = _NUMBER_EAST if code in _DOT_DECIMALS else _NUMBER
    if code == "de":
        text = _GERMAN_DATE.sub(
            lambda m: f"{_engine('de').format_number(int(m[1]), FormatPurpose.ORDINAL).text}n", text
        )
    text = _BETWEEN.sub(" ", pattern.sub(lambda match: _number(match, code), text))
    return _DIGITS.sub(lambda match: _rest(match, code), text)


def _number(match: re.Match[str], code: str) -> str:
    whole = re.sub("[., ]", "", match["whole"])
    symbol = (match["before"] or match["after"] or "").strip()
    decimals = match["decimals"] or match["dotted"] or ""
    name = _AFTER[symbol].get(code) if symbol else None
    said = (
        _one_by_one(whole, code)
        if len(whole) > 1 and whole[0] == "0"
        else _words(whole, code, not match["group"] and not decimals)
    )
    if match["minus"]:
        said = f"{_minus(code)} {said}"
    if name and symbol in _CURRENCIES and len(decimals) == 2:
        said = f"{said} {name}" + (f" {_words(decimals, code)}" if int(decimals) else "")
    else:
        said += f" {_POINT[code]} {_one_by_one(decimals, code)}" if decimals else ""
        said += f" {name or symbol}" if symbol else ""
    return said


def _rest(match: re.Match[str], code: str) -> str:
    """Digits beside letters and in long rows."""
    text, (start, end) = match.string, match.span()
    found = match[0]
    alone = len(found) > _LONGEST or (len(found) > 1 and found[0] == "0")
    said = _one_by_one(found, code) if alone else _words(found, code)
    left = " " if start and text[start - 1].isalnum() else ""
    return left + said + (" " if end < len(text) and text[end].isalnum() else "")


def _one_by_one(digits: str, code: str) -> str:
    return " ".join(_words(digit, code) for digit in digits)


@lru_cache(maxsize=4096)
def _words(digits: str, code: str, may_be_year: bool = False) -> str:
    number = int(digits)
    is_year = may_be_year and code in _YEARS and 1_100 <= number <= 1_999
    said = _engine(code).format_number(number, FormatPurpose.YEAR if is_year else FormatPurpose.CARDINAL)
    return said.text.replace("\u00ad", "")


def _minus(code: str) -> str:
    engine = _engine(code)
    return engine.format_number(-1).text.removesuffix(engine.format_number(1).text).strip()


@lru_cache(maxsize=8)
def _engine(code: str) -> RbnfEngine:
    return RbnfEngine.for_language(code)
