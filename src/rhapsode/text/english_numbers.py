"""Numbers in English words. American habit: "one hundred one", without an "and"."""

import re

_ONES = [
    "zero",
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
    "twelve",
    "thirteen",
    "fourteen",
    "fifteen",
    "sixteen",
    "seventeen",
    "eighteen",
    "nineteen",
]
_TENS = ("", "", "twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
_SCALES = ("", "thousand", "million", "billion", "trillion", "quadrillion")
_ORDINALS = {
    "one": "first",
    "two": "second",
    "three": "third",
    "five": "fifth",
    "eight": "eighth",
    "nine": "ninth",
    "twelve": "twelfth",
}

LONGEST = 18
"""Digits of the longest number that has a name here; longer ones are read digit by digit."""

NUMBER = rf"(?:\d{{1,3}}(?:,\d{{3}}){{1,5}}(?!,?\d)|\d{{1,2}}(?:,\d{{2}}){{1,3}},\d{{3}}(?!,?\d)|\d{{1,{LONGEST}}})(?:\.\d{{1,12}}(?!\d))?(?!\d)"
"""Pattern of a written number: 1,234.5, 1,00,000, 1234567. Put a look-behind before it that refuses digits."""


def cardinal(value: int) -> str:
    """``value`` (0 ≤ value < 10¹⁸) in words: 1234 → "one thousand two hundred thirty-four"."""
    if value < 20:
        return _ONES[value]
    if value < 100:
        return _TENS[value // 10] + (f"-{_ONES[value % 10]}" if value % 10 else "")
    if value < 1000:
        return f"{_ONES[value // 100]} hundred" + (f" {cardinal(value % 100)}" if value % 100 else "")
    groups: list[str] = []
    for scale in _SCALES:
        value, group = divmod(value, 1000)
        if group:
            groups.append(f"{cardinal(group)} {scale}".rstrip())
    return " ".join(reversed(groups))


def to_ordinal(words: str) -> str:
    """The ordinal of a cardinal in words: "twenty-two" → "twenty-second"."""
    head, last = re.fullmatch(r"(.*?)([a-z]*)", words, re.DOTALL).groups()  # type: ignore[union-attr]  # it matches anything
    if last in _ORDINALS:
        return head + _ORDINALS[last]
    return head + (last[:-1] + "ieth" if last.endswith("y") else last + "th")


def ordinal(value: int) -> str:
    """``value`` as an ordinal: 101 → "one hundred first"."""
    return to_ordinal(cardinal(value))


def plural(words: str) -> str:
    """The plural of a number in words: "nineteen ninety" → "nineteen nineties", "six" → "sixes"."""
    if words.endswith("y"):
        return words[:-1] + "ies"
    return words + ("es" if words.endswith("x") else "s")


def digits(written: str) -> str:
    """Digit by digit: "0199" → "zero one nine nine". Anything else in ``written`` is left out."""
    return " ".join(_ONES[int(digit)] for digit in written if digit.isdecimal())


def year(value: int) -> str:
    """``value`` (0 … 9999) as a year: 1984 → "nineteen eighty-four", 1905 → "nineteen oh five", 2007 → "two thousand seven"."""
    century, rest = divmod(value, 100)
    if century < 10 or (century % 10 == 0 and rest < 10):
        return cardinal(value)
    if rest == 0:
        return f"{cardinal(century)} hundred"
    return f"{cardinal(century)} {'oh ' if rest < 10 else ''}{cardinal(rest)}"


def pairs(written: str) -> str:
    """Digits as people read them in a name: "52" → "fifty-two", "747" → "seven forty-seven", "8004" → "eighty oh four", "05" → "zero five"."""
    value = int(written)
    if written.startswith("0") or len(written) > 4:
        return digits(written)
    if len(written) < 3 or value % 100 == 0:
        return year(value) if len(written) == 4 else cardinal(value)
    if len(written) == 4 and value // 100 % 10 == 0 and value % 100 < 10:
        return cardinal(value)
    return f"{cardinal(value // 100)} {'oh ' if value % 100 < 10 else ''}{cardinal(value % 100)}"


def whole(written: str) -> str:
    """An unsigned whole number as written; leading zeros and more than 18 digits are read digit by digit."""
    plain = re.sub(r"[^\d]", "", written)
    if len(plain) > LONGEST or (len(plain) > 1 and plain.startswith("0")):
        return digits(plain)
    return cardinal(int(plain))


def number(written: str) -> str:
    """An unsigned number as written: "1,234.50" → "one thousand two hundred thirty-four point five zero"; ".5" → "point five"."""
    head, point, fraction = written.partition(".")
    if not point:
        return whole(head)
    said = "zero" if head == "0" else whole(head) if head else ""
    return f"{said} point {digits(fraction)}".lstrip()


_ROMAN = re.compile(r"M{0,3}(?:CM|CD|D?C{0,3})(?:XC|XL|L?X{0,3})(?:IX|IV|V?I{0,3})")
_ROMAN_VALUES = {"I": 1, "V": 5, "X": 10, "L": 50, "C": 100, "D": 500, "M": 1000}


def roman(letters: str) -> int | None:
    """The value of a Roman numeral in capitals, or None when it is none."""
    if not letters or not _ROMAN.fullmatch(letters):
        return None
    values = [_ROMAN_VALUES[letter] for letter in letters]
    return sum(-v if v < following else v for v, following in zip(values, [*values[1:], 0], strict=True))
