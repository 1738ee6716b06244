"""Written English to spoken English: numbers, money, dates, abbreviations and symbols as a person would read them.

The text passes through ordered groups of rules (:mod:`rhapsode.text.rewrite`). What a group has put into words holds no digits or marks
any more, so later groups leave it alone. Sentence marks stay as they are: engines pause at them.
"""

import re
import unicodedata

from rhapsode.text.english_dates import TIME_RULES, date_rules
from rhapsode.text.english_links import LINK_RULES, SERIAL_RULES
from rhapsode.text.english_names import NAME_RULES
from rhapsode.text.english_numbers import LONGEST, NUMBER, cardinal, digits, number, pairs, plural
from rhapsode.text.english_quantities import QUANTITY_RULES
from rhapsode.text.rewrite import Rule, rewrite


def spoken_form(text: str, language: str = "en") -> str:
    """What a person would say for ``text``.

    Linear in the length of ``text``; never raises; not blank when ``text`` has a letter or a digit. Line breaks are kept.

    Args:
        text: Any span, usually one sentence; sentences may be separated by line breaks.
        language: BCP 47 tag in any case, "_" or "-" between its parts. Rules exist for English ("en", "en-us", "en-gb" and
            other regions, where 5/6/2024 has the day first everywhere but in the US); text in any other language comes back unchanged.
    """
    tag = language.lower().replace("_", "-")
    if tag.split("-")[0] != "en":
        return text
    rules = _ENGLISH if tag in ("en", "en-us") else _ENGLISH_DAY_FIRST
    said = rewrite(text, _TIDY_BEFORE)
    said = rewrite(said, LINK_RULES) if _MAY_HOLD_LINKS.search(said) else said
    said = rewrite(said, NAME_RULES)
    if _HAS_NUMBER.search(said):
        said = rewrite(said, rules)
    if _HAS_MARKS.search(said):
        said = rewrite(said, _SYMBOL_RULES)
    if said != text:
        said = rewrite(said, _TIDY_AFTER).strip(" ")
    return said if said.strip() else text


_MAY_HOLD_LINKS = re.compile(r"[@#/]|\w\.\w")
_HAS_NUMBER = re.compile(r"[\d½⅓⅔¼¾⅕⅖⅗⅘⅙⅚⅐⅛⅜⅝⅞⅑⅒]")
_HAS_MARKS = re.compile(r"[^\w\s.,;:!?'\"()‘’“”…–—-]|_")


def _ascii_digit(match: re.Match[str]) -> str:
    return str(unicodedata.digit(match[0]))


def _mixed_token(match: re.Match[str]) -> str:
    """Letters and digits together: A4, R2-D2, COVID-19, 5-year-old, MP3."""
    said = ""
    for part in re.findall(r"\d{1,40}(?:\.\d{1,6})?|\D{1,40}", match[0]):
        is_joined = not said or said.endswith("-") or part.startswith("-")
        # espeak reads a lone "A" before a word as the article, in "A-four" as the letter
        said += "" if is_joined else "-" if _LONE_A.search(said) else " "
        said += part if not part[0].isdecimal() else number(part) if "." in part else pairs(part)
    return said


_LONE_A = re.compile(r"(?<![A-Za-z])A\Z")


def _plural_number(match: re.Match[str]) -> str:
    return plural(cardinal(int(match[1].replace(",", "")))).removeprefix("one ")


def _power(match: re.Match[str]) -> str:
    exponent = unicodedata.normalize("NFKC", match[0])
    return f" to the power of {'minus ' if exponent.startswith('−') else ''}{number(exponent.lstrip('−') or '0')} "


def _number(match: re.Match[str]) -> str:
    return number(match[0])


def _rest(match: re.Match[str]) -> str:
    text, start, end = match.string, match.start(), match.end()
    said = digits(match[0]) if len(match[0]) > LONGEST else number(match[0])
    left = " " if start and (text[start - 1].isalnum() or text[start - 1] in ",:;") else ""
    return left + said + (" " if end < len(text) and text[end].isalnum() else "")


_TIDY_BEFORE = (
    Rule(re.compile("[\u00a0\u2007\u2009\u200a\u202f]"), " "),
    Rule(re.compile(r"[^\D0-9]|[₀-₉]"), _ascii_digit),
)

_PLAIN_NUMBER_RULES = (
    Rule(re.compile(r"#[ ]?(?=\d)"), "number "),
    Rule(re.compile(r"№[ ]?(?=\d)"), "number "),
    Rule(re.compile(r"(?<![\w.,])(\d{1,3}(?:,\d{3}){1,4}|\d{1,6})['’]?s(?!\w)"), _plural_number),
    Rule(
        re.compile(
            r"(?<![\w.])(?=[\w-]{0,40}[A-Za-z])(?=[A-Za-z-]{0,40}\d)[A-Za-z0-9]{1,40}(?:\.\d{1,6})?(?:[-‑][A-Za-z0-9]{1,40}(?:\.\d{1,6})?){0,4}(?!\w|\.\d)"
        ),
        _mixed_token,
    ),
    Rule(re.compile("[⁻⁰¹⁴-⁹]{1,6}|(?<=\\d)[²³⁻⁰¹⁴-⁹]{2,6}"), _power),
    Rule(re.compile(rf"(?<![\w.,:]){NUMBER}"), _number),
    Rule(re.compile(r"(?<![\w.])\.\d{1,12}(?!\d)"), _number),
    Rule(re.compile(r"[0-9]{1,18}"), _rest),
)

_ENGLISH = (*date_rules(day_first=False), *TIME_RULES, *SERIAL_RULES, *QUANTITY_RULES, *_PLAIN_NUMBER_RULES)
_ENGLISH_DAY_FIRST = (*date_rules(day_first=True), *TIME_RULES, *SERIAL_RULES, *QUANTITY_RULES, *_PLAIN_NUMBER_RULES)

_BETWEEN = {
    "!=": "is not equal to", "≠": "is not equal to", "==": "equals", "=": "equals", "<=": "is less than or equal to",
    "≤": "is less than or equal to", ">=": "is greater than or equal to", "≥": "is greater than or equal to", "≈": "is about",
    "&&": "and", "||": "or",
    "->": "to", "=>": "to", "→": "to", "⇒": "to", "+": "plus", "±": "plus or minus", "×": "times", "÷": "divided by", "&": "and", "−": "minus",
}  # fmt: skip
_ALONE = {
    "@": "at", "#": "number", "%": "percent", "°": "degrees", "©": "copyright", "§": "section", "²": "squared", "³": "cubed", "€": "euros",
    "£": "pounds", "$": "dollars", "¥": "yen", "¢": "cents", "∞": "infinity", "√": "square root of", "µ": "micro",
}  # fmt: skip
_ANY_BETWEEN = "|".join(re.escape(mark) for mark in sorted(_BETWEEN, key=len, reverse=True))

_SYMBOL_RULES = (
    Rule(re.compile(r"([=*_~#+<>/\\|^&%$-])\1{2,}+"), " "),
    Rule(re.compile(r"§§[ ]?"), "sections "),
    Rule(re.compile(r"\bAT&(?=T\b)"), "A-T and "),
    Rule(re.compile(r"\bA\+(?!\w)"), "A-plus"),
    Rule(re.compile(r"\bA&(?=\w)"), "A-and "),
    Rule(re.compile(r"\b([Hh]e|[Hh]is|[Hh]im|[Ss]he|[Hh]er)/(he|his|him|she|hers?)\b"), r"\1 or \2"),
    Rule(re.compile(r"(?i)\bw/o(?!\w)"), "without"),
    Rule(re.compile(r"(?i)(?<!\w)w/[ ]?(?=\w)"), "with "),
    Rule(re.compile(r"\b([Aa]nd)/([Oo]r)\b"), r"\1 \2"),
    Rule(re.compile(r"(?i)(?<![\w/])n/a(?![\w/])"), "not applicable"),
    Rule(re.compile(r"(?<![A-Za-z])([CF])#"), r"\1 sharp"),
    Rule(re.compile(r"(?<=\w)\+\+"), " plus plus "),
    Rule(re.compile(r"(?<=\w)[ ]?/[ ]?(?=\w)"), " slash "),
    Rule(re.compile(r"(?<=\w)\*(?=\w)|(?<=\w)[ ]\*[ ](?=\w)"), " times "),
    Rule(re.compile(r"(?<=\w)\^(?=[\w(-])"), " to the power of "),
    Rule(re.compile(r"(?<=[\w)])[ ]?<[ ]?(?=[\w(-])(?![A-Za-z]{1,10}>)"), " is less than "),
    Rule(re.compile(r"(?<=[\w)])[ ]>[ ](?=[\w(-])"), " is greater than "),
    Rule(re.compile(r"<[ ]?(?=\w)(?![A-Za-z]{1,10}>)"), "less than "),
    Rule(
        re.compile(
            r">[ ]?(?=(?:minus )?(?:zero|one|two|three|four|five|six|seven|eight|nine|ten|eleven|t[hw]|f|s|e|n)\w{0,12})(?<=[ (]>)"
        ),
        "more than ",
    ),
    Rule(re.compile(r"~(?=[\w$])"), "about "),
    Rule(re.compile(r"[™®℠]"), ""),
    Rule(re.compile(_ANY_BETWEEN), lambda m: f" {_BETWEEN[m[0]]} "),
    Rule(re.compile(f"[{''.join(_ALONE)}]"), lambda m: f" {_ALONE[m[0]]} "),
    Rule(re.compile(r"[*_~`|^<>\\{}•†‡]"), " "),
)

_TIDY_AFTER = (
    Rule(re.compile(r"[ \t]{2,}+"), " "),
    Rule(re.compile(r"[ ](?=[,;:!?.)](?:[\s,;:!?.)\"'”’]|\Z))"), ""),
    Rule(re.compile(r"(?<=[(\n])[ ]|[ ](?=\n)"), ""),
)
