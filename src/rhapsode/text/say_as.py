"""What SSML's ``say-as`` makes of a piece of text, in English. Other languages leave it to the engine's own reader."""

import re
from collections.abc import Mapping

from rhapsode.text.english_dates import date_words
from rhapsode.text.english_numbers import digits, number, to_ordinal, whole
from rhapsode.text.spoken import spoken_form

KINDS: Mapping[str, str] = {
    "cardinal": "cardinal", "number": "cardinal", "ordinal": "ordinal", "characters": "characters", "spell-out": "characters",
    "verbatim": "characters", "digits": "digits", "date": "date", "time": "time", "telephone": "telephone", "currency": "text",
    "unit": "text", "fraction": "text", "address": "text", "name": "text",
}  # fmt: skip
"""What may be asked for, and what is done; "text": read as any text of that kind is."""

_NUMBER = re.compile(r"([-−+]?)(\d[\d,]{0,30}(?:\.\d{1,12})?|\.\d{1,12})")
_DATE_PART = re.compile(r"\d{1,4}")
_ORDERS = ("mdy", "dmy", "ymd", "md", "dm", "ym", "my", "y", "m", "d")
_CLOCK = re.compile(r"(\d{1,2})[:.h](\d{2})(?:[:.](\d{2}))?\s*([AaPp])?\.?[Mm]?\.?")
_SYMBOLS: Mapping[str, str] = {
    ".": "dot", ",": "comma", "-": "dash", "_": "underscore", "/": "slash", "\\": "backslash", "@": "at", "#": "hash", "+": "plus",
    "*": "star", "&": "and", "%": "percent", "$": "dollar", "€": "euro", "£": "pound", "=": "equals", ":": "colon", ";": "semicolon",
    "!": "exclamation mark", "?": "question mark", "'": "apostrophe", '"': "quote", "(": "open parenthesis", ")": "close parenthesis",
    "<": "less than", ">": "greater than", "[": "open bracket", "]": "close bracket", "~": "tilde", "^": "caret", "|": "bar",
}  # fmt: skip


def say_as(kind: str, order: str, written: str, language: str) -> str | None:
    """The words for ``written``, or None when there are none and it is read as any text.

    Args:
        kind: A key of :data:`KINDS`.
        order: For dates the order of their parts, such as "dmy"; else of no meaning.
        written: One line.
        language: BCP 47 tag.
    """
    does = KINDS[kind]
    if language.lower().replace("_", "-").split("-")[0] != "en":
        return _letters(written) if does == "characters" else None
    match does:
        case "cardinal":
            return _cardinal(written)
        case "ordinal":
            plain = re.sub(r"(?i)(?<=\d)(?:st|nd|rd|th)$|[,\s]", "", written)
            return to_ordinal(whole(plain)) if plain.isdecimal() and plain.isascii() and len(plain) <= 18 else None
        case "characters":
            return _letters(written)
        case "digits":
            return digits(written) or None
        case "telephone":
            return _telephone(written)
        case "date":
            return _date(written, order.lower(), language)
        case "time":
            return _time(written, language)
        case _:
            return None


def _cardinal(written: str) -> str | None:
    match = _NUMBER.fullmatch(written.strip())
    if match is None:
        return None
    return ("minus " if match[1] in "-−" and match[1] else "") + number(match[2])


def _letters(written: str) -> str:
    """One by one, with commas between, so that no engine makes a word of them."""
    return ", ".join(_SYMBOLS.get(char) or _character(char) for char in written if not char.isspace())


def _character(char: str) -> str:
    return digits(char) if char.isascii() and char.isdecimal() else char.upper() if len(char.upper()) == 1 else char


def _telephone(written: str) -> str | None:
    """Digit by digit, with a rest between the groups."""
    said = [
        ("plus " if group.startswith("+") else "extension " if group.startswith("x") else "") + digits(group)
        for group in re.findall(r"[+x]?\d{1,40}", re.sub(r"(?i)\bext\.? ?|x ?(?=\d)", "x", written))
    ]
    return ", ".join(said) or None


def _date(written: str, order: str, language: str) -> str | None:
    order = re.sub(r"(.)\1+", r"\1", re.sub("[^dmy]", "", order))  # "dd.mm.yyyy" is "dmy"
    if order not in _ORDERS:
        return spoken_form(written, language)
    parts = _DATE_PART.findall(written)
    if len(parts) != len(order):
        return None
    by = dict(zip(order, parts, strict=True))
    year = by.get("y")
    if year and len(year) == 2:
        year = ("19" if int(year) > 50 else "20") + year
    month, day = int(by.get("m", 0)), int(by.get("d", 0))
    if ("m" in by and not 1 <= month <= 12) or ("d" in by and not 1 <= day <= 31):
        return None
    return date_words(day, month, year)


def _time(written: str, language: str) -> str | None:
    match = _CLOCK.fullmatch(written.strip())
    if match is None:
        return None
    hour, minute, half = match[1], match[2], (match[4] or "").lower()
    clock = f"{int(hour)}:{minute}" + (f" {half.upper()}M" if half else "")
    said = spoken_form(clock, language)
    return f"{said} and {number(str(int(match[3])))} seconds" if match[3] and int(match[3]) else said
