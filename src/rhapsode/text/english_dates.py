"""Dates, years, decades and times of day, as English speakers say them."""

import re
from functools import partial

from rhapsode.text.english_numbers import cardinal, ordinal, plural, year
from rhapsode.text.rewrite import Rule, after, before, full_stop, words

_MONTH_NAMES = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
]
_MONTHS = {name[:3].lower(): name for name in _MONTH_NAMES}
_MONTH = (
    r"(Jan(?:uary|\.)?|Feb(?:ruary|\.)?|Mar(?:ch|\.)?|Apr(?:il|\.)?|May|June?\.?|July?\.?|Aug(?:ust|\.)?|Sept(?:ember|\.)?|Sep\.?|"
    r"Oct(?:ober|\.)?|Nov(?:ember|\.)?|Dec(?:ember|\.)?)"
)
_WEEKDAYS = {
    name[:3].lower(): name for name in ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"]
}
_DAY = r"(3[01]|[12]\d|0?[1-9])(?:st|nd|rd|th)?"
_YEAR = r"([12]\d{3})(?![\d:]|,\d{3}|\.\d|[ ]?%)"
_NOT_A_NUMBER_PART = r"(?![\w:/]|[.,]\d|[ ]?%|[-–]\d)"

_YEARS = range(1100, 2100)
"""Bare four-digit numbers that are taken for years unless something is counted with them."""

_COUNTED = words(
    "people men women children miles feet meters metres km kilometers kilometres dollars pounds euros percent times hours minutes seconds "
    "of per million billion sheep fish fewer different"
)
_VERBS_WITH_S = words(
    "was is has his this its us as plus perhaps thus yes always besides unless whereas towards across less"
)
_COUNTING = re.compile(
    r"\b(?:than|over|least|most|nearly|almost|these|those|exactly|roughly|approximately|only|up to)[ ]\Z", re.IGNORECASE
)
_DATING = re.compile(
    r"\b(?:in|since|by|until|till|year|circa|before|after|from|early|late|mid|to|of|around|spring|summer|autumn|fall|winter|"
    r"copyright|between|during)[ ]\Z",
    re.IGNORECASE,
)


def is_counted(word: str) -> bool:
    """Whether ``word`` behind a number is what the number counts: "people", "houses", but not "was"."""
    return word in _COUNTED or (word.endswith("s") and not word.endswith("ss") and word not in _VERBS_WITH_S)


def _month(written: str) -> str:
    return _MONTHS[written[:3].lower()]


def date_words(day: int, month: int, of_year: str | None) -> str:
    """A date in words; what is 0 or None is not said. At least one of them is."""
    in_year = year(int(of_year)) if of_year else ""
    if not month:
        return in_year or f"the {ordinal(day)}"
    said = _MONTH_NAMES[month - 1] + (f" {ordinal(day)}" if day else "")
    return f"{said}{',' if day else ''} {in_year}" if of_year else said


def _iso_date(match: re.Match[str]) -> str:
    of_year, month, day, at_time = match.groups()
    if not (1 <= int(month) <= 12 and 1 <= int(day) <= 31):
        return match[0]
    return date_words(int(day), int(month), of_year) + (f", {at_time}" if at_time else "")


def _slash_date(day_first: bool, match: re.Match[str]) -> str:
    """5/17/2024 or 17/5/2024: the order that the language has, or the other one when only that is a date."""
    first, second, of_year = int(match[1]), int(match[3]), match[4]
    day, month = (first, second) if day_first else (second, first)
    if month > 12:
        day, month = month, day
    if not (1 <= month <= 12 and 1 <= day <= 31):
        return match[0]
    full_year = of_year if len(of_year) == 4 else ("19" if int(of_year) > 50 else "20") + of_year
    return date_words(day, month, full_year)


_DATE_WORD = re.compile(r"\b(?:on|until|since|before|after|due|dated?|\w{3,6}day,?)[ ]\Z", re.IGNORECASE)
_FRACTION_PARTS = frozenset({2, 3, 4, 5, 6, 7, 8, 9, 10, 12, 16, 32, 64, 100, 1000})


def _day_of_month(day_first: bool, match: re.Match[str]) -> str:
    """12/25: a date where a preposition says so, or where it cannot be a usual fraction."""
    first, second = int(match[1]), int(match[2])
    if (first, second) == (9, 11):
        return "nine eleven"
    day, month = (first, second) if day_first else (second, first)
    if not (1 <= month <= 12 and 1 <= day <= 31):
        return match[0]
    if (first, second) == (24, 7):
        return match[0]
    is_fraction = first < second and second in _FRACTION_PARTS
    told = bool(_DATE_WORD.search(before(match)))
    return date_words(day, month, None) if told or not (is_fraction or first >= second) else match[0]


def _month_day(match: re.Match[str]) -> str:
    month, day, to_day, of_year = match.groups()
    said = f"{_month(month)} {ordinal(int(day))}"
    if to_day:
        said += f" to {ordinal(int(to_day))}"
    return f"{said}, {year(int(of_year))}" if of_year else said


def _day_month(match: re.Match[str]) -> str:
    article, day, to_day, month, of_year = match.groups()
    said = f"{article or 'the '}{ordinal(int(day))}"
    if to_day:
        said += f" to the {ordinal(int(to_day))}"
    said += f" of {_month(month)}"
    return f"{said}, {year(int(of_year))}" if of_year else said


def _month_year(match: re.Match[str]) -> str:
    return f"{_month(match[1])}{match[2] or ''} {year(int(match[3]))}"


def _weekday(match: re.Match[str]) -> str:
    return _WEEKDAYS[match[1][:3].lower()] + ("," if "," in match[0] else "")


def _decade(match: re.Match[str]) -> str:
    value = int(match[1])
    return plural(cardinal(value) if value < 1100 else year(value)).removeprefix("one ")


def _era(match: re.Match[str]) -> str:
    era = match[2].replace(".", "")
    return f"{year(int(match[1]))} {'A-D' if era == 'AD' else era}" + (
        full_stop(match) if match[0].endswith(".") else ""
    )


def _year_range(match: re.Match[str]) -> str:
    start, between, end = int(match[1]), match[2], match[3]
    if between == "/" and (start + 1) % 10 ** len(end) != int(end):
        return match[0]
    if end == "00" and start % 100 == 99:
        end = str(start + 1)  # 1999/00
    if len(end) == 4 and not (start <= int(end) < 2200):
        return match[0]
    if len(end) == 2 and int(end) <= start % 100:
        return date_words(0, int(end), match[1]) if between == "-" and 1 <= int(end) <= 12 else match[0]
    return f"{year(start)} to {year(int(end)) if len(end) == 4 else cardinal(int(end))}"


def _bare_year(match: re.Match[str]) -> str:
    """A year, unless the next word or the one before says that something is counted: "1984" but "1,500", "2000 people", "over 1500"."""
    value = int(match[0])
    earlier = before(match, 16)
    if value >= 1900 and _DATING.search(earlier):
        return year(value)  # "In 2010 sales fell": whoever counts that many mostly writes 2,010
    if value not in _YEARS and not (1000 < value < 1100 and _DATING.search(earlier)):
        return match[0]
    following = re.match(r"[ -]([a-z]{1,20})(?!\w)", after(match))
    if following and is_counted(following[1]):
        return match[0]
    return match[0] if _COUNTING.search(earlier) else year(value)


def _half_of_day(written: str) -> str:
    return written[0].upper() + "M"


def _clock(match: re.Match[str]) -> str:
    hour, minute, second, half = match[1], match[2], match[3], match[4]
    if int(hour) > 24 or int(minute) > 59 or (second and int(second) > 59):
        return match[0]
    value = int(hour)
    if int(minute):
        said = f"{cardinal(value)} {'oh ' if int(minute) < 10 else ''}{cardinal(int(minute))}"
    elif half:
        said = cardinal(value)
    elif value in (0, 24):
        said = "midnight"
    else:
        said = f"{cardinal(value)} o'clock" if value <= 12 else f"{cardinal(value)} hundred"
    if second:
        said += f" and {cardinal(int(second))} second{'s' if int(second) != 1 else ''}"
    if not half:
        return said
    return f"{said} {_half_of_day(half)}" + (full_stop(match, before_capital=True) if half.endswith(".") else "")


def _hour(match: re.Match[str]) -> str:
    if int(match[1]) > 24:
        return match[0]
    stop = full_stop(match, before_capital=True) if match[2].endswith(".") else ""
    return f"{cardinal(int(match[1]))} {_half_of_day(match[2])}{stop}"


_HALF = r"([AaPp]\.[ ]?[Mm](?:\.|\b)|[AP]M\b|[ap]m\b)"

TIME_RULES: tuple[Rule, ...] = (
    Rule(
        re.compile(rf"(?<!\w)(\d{{1,2}}(?::\d\d)?[ ]?{_HALF}?)[ ]?[-–—][ ]?(?=\d{{1,2}}(?::\d\d)?[ ]?{_HALF})"),
        lambda m: f"{m[1]} to ",
    ),
    Rule(re.compile(r"(?<![\d:])(\d{1,2}:\d\d)[ ]?[-–—][ ]?(?=\d{1,2}:\d\d(?![\d:]))"), lambda m: f"{m[1]} to "),
    Rule(re.compile(rf"(?<![\w:.,])(\d{{1,2}}):(\d\d)(?::(\d\d))?(?![\d:])(?:[.,]\d{{1,6}})?(?:[ ]?{_HALF})?"), _clock),
    Rule(re.compile(rf"(?<![\w:.,])(\d{{1,2}})[.](\d\d)()[ ]?{_HALF}"), _clock),
    Rule(re.compile(rf"(?<![\w:.,])(\d{{1,2}})[ ]?{_HALF}"), _hour),
)
"""Times of day. After the dates."""


def date_rules(day_first: bool) -> tuple[Rule, ...]:
    """The rules for dates and years, in order; ``day_first`` reads 5/6/2024 as the fifth of June."""
    end = _NOT_A_NUMBER_PART
    return (
        Rule(
            re.compile(
                r"(?<![\w-])([12]\d{3})-(\d\d)-(\d\d)(?:T(\d\d:\d\d(?::\d\d)?)(?:\.\d{1,9})?(?:Z|[+-]\d\d:?\d\d)?)?(?![\w-])"
            ),
            _iso_date,
        ),
        Rule(re.compile(r"(?<![\w/.])([12]\d{3})/(\d{1,2})/(\d{1,2})()(?![\w/])"), _iso_date),
        Rule(re.compile(r"(?<![\w-])(\d{1,2})(-)(\d{1,2})-([12]\d{3})(?![\w-])"), partial(_slash_date, day_first)),
        Rule(re.compile(r"(?<![\w/.])(\d{1,2})([/])(\d{1,2})/(\d{4}|\d{2})(?![\w/])"), partial(_slash_date, day_first)),
        Rule(re.compile(r"(?<![\w/.])(\d{1,2})(\.)(\d{1,2})\.(\d{4})(?![\w/]|\.\d)"), partial(_slash_date, True)),
        Rule(re.compile(r"(?<![\w/.,$])(\d{1,2})/(\d{1,2})(?![\w/]|\.\d)"), partial(_day_of_month, day_first)),
        Rule(
            re.compile(rf"(?<!\w)(Mon|Tues?|Wed|Thu(?:rs?)?|Fri|Sat|Sun)(?:\.,?|,)(?=[ ](?:\d|{_MONTH}[ ]))"),
            _weekday,
        ),
        Rule(re.compile(rf"(?<!\w){_MONTH}[ ]{_DAY}(?:[ ]?[-–][ ]?{_DAY})?{end}(?:,?[ ]{_YEAR})?"), _month_day),
        Rule(
            re.compile(
                rf"(?<![\w.,:$/-])([Tt]he[ ])?{_DAY}(?:[ ]?[-–][ ]?{_DAY})?[ ](?:of[ ])?{_MONTH}(?![\w-])(?:,?[ ]{_YEAR})?"
            ),
            _day_month,
        ),
        Rule(re.compile(rf"(?<!\w){_MONTH}(,?)[ ]{_YEAR}(?!\w|-\d)"), _month_year),
        Rule(re.compile(r"(?<![\w.,$£€])['’]?([2-9]0|[12]\d{2}0)['’]?s(?!\w)"), _decade),
        Rule(
            re.compile(r"(?<!\w)['’](\d\d)(?![\w'’])"), lambda m: ("oh " if m[1] < "10" else "") + cardinal(int(m[1]))
        ),
        Rule(re.compile(r"(?<![\w.,$])(\d{1,4})[ ]?(BCE?|CE|AD|B\.C\.(?:E\.)?|A\.D\.)(?!\w)"), _era),
        Rule(re.compile(r"(?<![\w.])A\.?D\.?(?=[ ]\d{1,4}(?![\d,]))"), "A-D"),
        Rule(re.compile(r"(?<![\w.,:$£€/-])([12]\d{3})([-–—/])([12]\d{3}|\d\d)(?![\w%/-]|[.,]\d)"), _year_range),
        Rule(
            re.compile(
                r"(?<![\w.,:$£€¥/+#])(?:(?<!-)|(?<=[A-Za-z]-))(?:1[0-9]|20)\d\d(?![\w:/%]|[.,]\d|[ ]?[-–+×*=<>÷°%][ ]?\d|['’]\d|[ ]?[°%])"
            ),
            _bare_year,
        ),
    )
