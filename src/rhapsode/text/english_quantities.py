"""Money, units, percentages, fractions and ranges, as English speakers say them."""

import re

from rhapsode.text.english_numbers import NUMBER, cardinal, number, ordinal, pairs
from rhapsode.text.rewrite import Rule, after, words

_N = rf"(?:{NUMBER}|\.\d{{1,12}}(?!\d))"
_MINUS = r"(?:(?<![\w)\]])[-−])?"
_TO = r"(?:-|[ ]-[ ]|[ ]?[–—][ ]?)"
_MAGNITUDES = {
    "k": "thousand",
    "m": "million",
    "mn": "million",
    "b": "billion",
    "bn": "billion",
    "t": "trillion",
    "tn": "trillion",
}

_CURRENCIES = {
    "$": ("dollar", "dollars", "cent"),
    "US$": ("US dollar", "US dollars", "cent"),
    **dict.fromkeys(("A$", "AU$"), ("Australian dollar", "Australian dollars", "cent")),
    **dict.fromkeys(("C$", "CA$"), ("Canadian dollar", "Canadian dollars", "cent")),
    "HK$": ("Hong Kong dollar", "Hong Kong dollars", "cent"),
    "NZ$": ("New Zealand dollar", "New Zealand dollars", "cent"),
    "S$": ("Singapore dollar", "Singapore dollars", "cent"),
    "NT$": ("Taiwan dollar", "Taiwan dollars", "cent"),
    "MX$": ("Mexican peso", "Mexican pesos", "centavo"),
    "R$": ("real", "reais", "centavo"),
    "CHF": ("Swiss franc", "Swiss francs", "centime"),
    "£": ("pound", "pounds", "penny"),
    "€": ("euro", "euros", "cent"),
    "¥": ("yen", "yen", ""),
    "₹": ("rupee", "rupees", "paisa"),
    "₩": ("won", "won", ""),
    "₽": ("ruble", "rubles", "kopek"),
    "₿": ("bitcoin", "bitcoins", ""),
}
_CODES = {
    "USD": "US$", "AUD": "A$", "CAD": "C$", "HKD": "HK$", "NZD": "NZ$", "SGD": "S$", "BRL": "R$",
    "GBP": "£", "EUR": "€", "JPY": "¥", "INR": "₹", "CHF": "CHF", "Rs": "₹", "Rs.": "₹",
}  # fmt: skip
_CENTS_PLURAL = {"penny": "pence", "paisa": "paise"}
_PER = {
    "mo": "month",
    "yr": "year",
    "h": "hour",
    "hr": "hour",
    "wk": "week",
    "kg": "kilogram",
    "lb": "pound",
    "gal": "gallon",
}


def _amount(written: str, one: str, many: str, cent: str) -> str:
    """An amount without a magnitude: "3.50" → "three dollars and fifty cents"."""
    units, point, fraction = written.replace(",", "").partition(".")
    if not point or not cent or len(fraction) != 2:
        return f"{number(written)} {one if units == '1' and not point else many}"
    cents = int(fraction)
    said_cents = f"{cardinal(cents)} {cent if cents == 1 else _CENTS_PLURAL.get(cent, cent + 's')}"
    said_units = f"{number(units or '0')} {one if units == '1' else many}"
    if not cents:
        return said_units
    return said_cents if not units.strip("0") else f"{said_units} and {said_cents}"


def _say_money(match: re.Match[str], currency: str) -> str:
    article, low, high, magnitude, per = match.group("a", "n", "hi", "mag", "per")
    minus = match["minus"] or match.groupdict().get("inner")  # "-$5" and "$-5"
    one, many, cent = _CURRENCIES[currency]
    if currency == "€":
        low = re.sub(r",(?=\d\d\Z)", ".", low)  # €5,99
    if article:
        many, cent = one, "" if "." not in low else cent  # "a five dollar bill"
    if magnitude:
        said = f"{number(low)} {_MAGNITUDES.get(magnitude.lower(), magnitude)} {many}"
        if high:
            said = f"{number(low)} to {number(high)} {_MAGNITUDES.get(magnitude.lower(), magnitude)} {many}"
    elif high:
        said = f"{number(low)} to {_amount(high, one, many, cent)}"
    else:
        said = _amount(low, one, many, cent)
    if per:
        said += f" per {_PER.get(per, per)}"
    return f"{article or ''}{'minus ' if minus else ''}{said}"


def _money(match: re.Match[str]) -> str:
    return _say_money(match, match["cur"])


def _money_code(match: re.Match[str]) -> str:
    return _say_money(match, _CODES.get(match["cur"], match["cur"]))


def _cents(match: re.Match[str]) -> str:
    return f"{number(match[1])} cent{'' if match[1] == '1' else 's'}"


_UNITS = {
    "km": "kilometer", "m": "meter", "cm": "centimeter", "mm": "millimeter", "µm": "micrometer", "μm": "micrometer", "nm": "nanometer",
    "mi": "mile", "yd": "yard", "yds": "yard", "ft": "foot", "in": "inch", "″": "inch", "′": "foot",
    "kg": "kilogram", "g": "gram", "mg": "milligram", "µg": "microgram", "μg": "microgram", "lb": "pound", "lbs": "pound", "oz": "ounce",
    "L": "liter", "l": "liter", "mL": "milliliter", "ml": "milliliter", "dL": "deciliter", "cl": "centiliter", "gal": "gallon",
    "h": "hour", "hr": "hour", "hrs": "hour", "min": "minute", "mins": "minute", "s": "second", "sec": "second", "secs": "second",
    "ms": "millisecond", "µs": "microsecond", "μs": "microsecond", "ns": "nanosecond", "yr": "year", "yrs": "year",
    "Hz": "hertz", "kHz": "kilohertz", "MHz": "megahertz", "GHz": "gigahertz",
    "KB": "kilobyte", "kB": "kilobyte", "MB": "megabyte", "GB": "gigabyte", "TB": "terabyte", "PB": "petabyte",
    "KiB": "kibibyte", "MiB": "mebibyte", "GiB": "gibibyte", "TiB": "tebibyte",
    "kbps": "kilobits per second", "Mbps": "megabits per second", "Gbps": "gigabits per second", "kbit": "kilobit", "Mbit": "megabit",
    "W": "watt", "kW": "kilowatt", "MW": "megawatt", "GW": "gigawatt", "Wh": "watt hour", "kWh": "kilowatt hour", "MWh": "megawatt hour",
    "V": "volt", "mV": "millivolt", "kV": "kilovolt", "mA": "milliamp", "mAh": "milliamp hour", "Ω": "ohm", "kΩ": "kilohm",
    "J": "joule", "kJ": "kilojoule", "kcal": "kilocalorie", "cal": "calorie", "N": "newton",
    "Pa": "pascal", "kPa": "kilopascal", "MPa": "megapascal", "hPa": "hectopascal", "psi": "P S I", "dB": "decibel", "K": "kelvin",
    "mph": "mile per hour", "kph": "kilometer per hour", "kmh": "kilometer per hour", "mpg": "mile per gallon", "rpm": "R P M",
    "fps": "frame per second", "dpi": "D P I", "px": "pixel", "hp": "horsepower", "bpm": "beat per minute",
    "mcg": "microgram", "tbsp": "tablespoon", "tsp": "teaspoon",
    "ppm": "part per million", "ha": "hectare",
    "°C": "degree Celsius", "° C": "degree Celsius", "℃": "degree Celsius",
    "°F": "degree Fahrenheit", "° F": "degree Fahrenheit", "℉": "degree Fahrenheit",
    "°": "degree", "%": "percent", "‰": "per mille", "percent": "percent",
}  # fmt: skip
_NO_PLURAL = frozenset(
    {
        "percent",
        "per mille",
        "hertz",
        "kilohertz",
        "megahertz",
        "gigahertz",
        "kelvin",
        "horsepower",
        "caliber",
        "P S I",
        "R P M",
        "D P I",
    }
)
_IRREGULAR = {"foot": "feet", "inch": "inches", "kilobits per second": "kilobits per second"}
_ONLY_SPACED = frozenset({"K", "N"})
_BEFORE_WORDS = {
    "N": re.compile(r"[ ][A-Z\d]"),
    "W": re.compile(r"[ ]\d{1,3}(?:st|nd|rd|th)\b"),
    "K": re.compile(
        r"[ -](?:runs?|races?|walks?|events?|runners?|screens?|monitors?|TVs?|videos?|displays?|resolution)\b"
    ),
}
"""What behind them says that they are no units but letters."""
_POWERS = {"²": "square ", "2": "square ", "^2": "square ", "³": "cubic ", "3": "cubic ", "^3": "cubic "}
_PER_UNITS = {
    **{short: _UNITS[short] for short in words("h s min L l mL ml dL kg g m km mi lb ft yr hr gal cm")},
    **{name: name for name in ("day", "week", "month", "year", "hour", "minute", "second", "person", "liter", "mile")},
}  # fmt: skip


def _plural(unit: str) -> str:
    if unit in _NO_PLURAL or unit.endswith("s per second"):
        return unit
    first, space, rest = unit.partition(" ")
    if rest and not rest.startswith(("per ", "Celsius", "Fahrenheit")):
        return f"{first} {rest}s"
    return _IRREGULAR.get(first, first + "s") + space + rest


def _per_unit(unit: str, power: str | None) -> str:
    if power and unit == "second":
        return "second squared" if power == "²" else "second cubed"
    return (_POWERS[power] if power else "") + unit


def _unit(match: re.Match[str]) -> str:
    article, minus, low, high, gap, short, power, per, per_power = match.group(
        "a", "minus", "n", "hi", "gap", "unit", "power", "per", "pp"
    )
    attached, dotted = not gap, match[0].endswith(".")
    if (short in _ONLY_SPACED and attached) or (short == "in" and not (attached or dotted or power)):
        return match[0]  # a 4K screen; 5 in the morning
    if short in _BEFORE_WORDS and _BEFORE_WORDS[short].match(after(match)):
        return match[0]  # 123 N Main; a 10 K run
    if short == "s" and attached and (("." not in low and len(low) > 2) or after(match).startswith(" of")):
        return match[0]  # two 747s, 1,000s, 10s of
    unit = "caliber" if short == "cal" and low.startswith(".") else _UNITS[short]
    is_one = article or gap == "-" or (low == "1" and not high)
    said_unit = (_POWERS[power] if power else "") + (unit if is_one else _plural(unit))
    if per:
        said_unit += f" per {_per_unit(_PER_UNITS[per], per_power)}"
    said = number(low) + (f" to {'minus ' if match['minus2'] else ''}{number(high)}" if high else "")
    return f"{article or ''}{'minus ' if minus else ''}{said} {said_unit}"


def _feet_inches(match: re.Match[str]) -> str:
    return f"{number(match[1])} foot {number(match[2])}"


_VULGAR = {
    "½": (1, 2), "⅓": (1, 3), "⅔": (2, 3), "¼": (1, 4), "¾": (3, 4), "⅕": (1, 5), "⅖": (2, 5), "⅗": (3, 5), "⅘": (4, 5),
    "⅙": (1, 6), "⅚": (5, 6), "⅐": (1, 7), "⅛": (1, 8), "⅜": (3, 8), "⅝": (5, 8), "⅞": (7, 8), "⅑": (1, 9), "⅒": (1, 10),
}  # fmt: skip


def _fraction_words(upper: int, lower: int) -> str:
    part = {2: "half", 4: "quarter"}.get(lower) or ordinal(lower)
    if upper == 1:
        return f"one {part}"
    return f"{cardinal(upper)} {'halves' if lower == 2 else part + 's'}"


def _mixed(whole: str | None, upper: int, lower: int, unit: str | None) -> str:
    said = _fraction_words(upper, lower)
    if whole:
        article = "a " + said[4:] if upper == 1 else said  # two and a half
        said = f"{number(whole)} and {article}"
    if not unit:
        return said
    if not whole and (upper, lower) == (1, 2):
        return f"half a {_UNITS[unit]}"
    return f"{said} {_plural(_UNITS[unit]) if whole else 'of a ' + _UNITS[unit]}"


def _vulgar(match: re.Match[str]) -> str:
    upper, lower = _VULGAR[match[2]]
    return _mixed(match[1], upper, lower, match[3])


def _fraction(match: re.Match[str]) -> str:
    """3/4 → three quarters, 2 1/2 → two and a half, 8/10 → eight out of ten, 24/7 → twenty-four seven, 120/80 → one hundred twenty over eighty."""
    upper, lower = int(match[2]), int(match[3])
    whole = match[1]
    if (upper, lower) in ((24, 7), (50, 50)):
        return f"{cardinal(upper)} {cardinal(lower)}"
    if not whole and lower in (10, 100) and upper > 1:
        return f"{cardinal(upper)} out of {cardinal(lower)}"
    if 0 < upper < lower <= 100 and lower > 1:
        return _mixed(whole, upper, lower, match[4])
    tail = f" {match[4]}" if match[4] else ""
    return f"{whole + ' ' if whole else ''}{cardinal(upper)} over {cardinal(lower)}{tail}"


def _range(match: re.Match[str]) -> str:
    """Ranges, scores and odds alike: "to" between the numbers."""
    if match[1] == match[2] == "50":
        return "fifty-fifty"
    return f"{number(match[1])} to {number(match[2])}"


def _dimensions(match: re.Match[str]) -> str:
    """3x4, 1920×1080: by. 3 × 4: times."""
    is_product = ("×" in match[2] and " " in match[2]) or bool(re.match(r"[ ]?=|10[\^⁻⁰¹²³⁴-⁹]", after(match)))
    if match[3] and not is_product:  # 1920×1080
        return f"{pairs(match[1]) if len(match[1]) == 4 else number(match[1])} by {pairs(match[3])}"
    return f"{number(match[1])} {'times' if is_product else 'by'} {match[3] or ''}"


def _scientific(match: re.Match[str]) -> str:
    """2.5e10: two point five times ten to the power of ten."""
    return f"{number(match[1])} times ten to the power of {'minus ' if match[2] == '-' else ''}{number(match[3])}"


def _verses(match: re.Match[str]) -> str:
    """Matthew 5:3-12: five three to twelve."""
    return f"{number(match[1])} {number(match[2])} to {number(match[3])}"


def _minus_between(match: re.Match[str]) -> str:
    return f"{match[1]} minus "


def _ordinal(match: re.Match[str]) -> str:
    return ordinal(int(match[1].replace(",", "")))


def _magnitude(match: re.Match[str]) -> str:
    return f"{number(match[1])} {_MAGNITUDES[match[2].lower()]}"


_ANY_UNIT = "|".join(re.escape(unit) for unit in sorted(_UNITS, key=len, reverse=True))
_ANY_PER = "|".join(sorted(_PER_UNITS, key=len, reverse=True))
_ARTICLE = r"(?P<a>\b[Aa]n?[ ])?"
_START = r"(?<![\w.,/:])"
_MAGNITUDE = r"(?:[ -]?(?P<mag>thousand|million|billion|trillion|bn|mn|tn|[kKmMbBtT])(?!\w))?"
_PER_WHAT = (
    r"(?:/(?P<per>month|mo|year|yr|hour|hr|h|day|week|wk|kg|lb|gal|unit|person|seat|user|ton|night|barrel)(?!\w))?"
)
_SYMBOLS = r"(?:US|AU?|CA?|HK|NZ|S|NT|MX|R)\$|[$£€¥₹₩₽₿]"
_ANY_CODE = "|".join(re.escape(code) for code in sorted(_CODES, key=len, reverse=True))

QUANTITY_RULES: tuple[Rule, ...] = (
    Rule(
        re.compile(
            rf"{_ARTICLE}(?P<minus>{_MINUS})(?<!\w)(?P<cur>{_SYMBOLS})[ ]?(?P<inner>[-−])?(?P<n>\d{{1,9}},\d\d(?!,?\d)|{_N})"
            rf"(?:{_TO}(?:{_SYMBOLS})?(?P<hi>{_N}))?{_MAGNITUDE}{_PER_WHAT}"
        ),
        _money,
    ),
    Rule(
        re.compile(
            rf"(?P<a>)(?P<minus>)(?<!\w)(?P<cur>{_ANY_CODE})[ ]?(?P<n>{_N})(?:{_TO}(?P<hi>{_N}))?{_MAGNITUDE}{_PER_WHAT}(?!\w)"
        ),
        _money_code,
    ),
    Rule(
        re.compile(
            rf"{_ARTICLE}(?P<minus>{_MINUS}){_START}(?P<n>\d{{1,9}},\d\d(?!,?\d)|{_N})(?:{_TO}(?P<hi>{_N}))?{_MAGNITUDE}"
            rf"[ ]?(?P<cur>[€£]|(?:{_ANY_CODE})(?!\w)){_PER_WHAT}"
        ),
        _money_code,
    ),
    Rule(re.compile(rf"{_START}({_N})[ ]?¢"), _cents),
    Rule(re.compile(r"(?<![\w.])(\d{1,3})['’](?=[ ](?:tall|high|long|wide|deep)\b)"), lambda m: f"{number(m[1])} feet"),
    Rule(
        re.compile(r"(?<![\w.])(\d{1,3})[ ]?ft\.?[ ](\d{1,2})[ ]?in(?:\.(?=[ ][a-z]|,)|(?!\w))"),
        lambda m: f"{number(m[1])} feet {number(m[2])} inches",
    ),
    Rule(re.compile(rf"{_START}({_N})[eE]([+-]?)(\d{{1,3}})(?!\w)"), _scientific),
    Rule(re.compile(r"(?<![\w.,/:])(\d{1,3}):(\d{1,3})[-–](\d{1,3})(?![\w:-])"), _verses),
    Rule(re.compile(r"(?<![\w.])(\d{1,2})['’′][ ]?(\d{1,2})(?:[\"”″]|''|’’)"), _feet_inches),
    Rule(re.compile(r"(?<![\w.])([3-8])['’′](\d|1[01])(?![\w'’″”\"]|\.\d)"), _feet_inches),
    Rule(
        re.compile(r"(?<=\d)[ ]?(sq|cu)\.?[ ](ft|in|yd|mi|m|km|cm)(?!\w)(?:\.(?=[ ][a-z]|,))?"),
        lambda m: f" {m[2]}{'²' if m[1] == 'sq' else '³'}",
    ),
    Rule(
        re.compile(r"(?<![\w.,:])(\d{1,3})[ ]?h[ ]?(\d{1,2})[ ]?m(?:in)?(?!\w)"),
        lambda m: f"{number(m[1])} hour{'s' * (m[1] != '1')} {number(m[2])} minute{'s' * (m[2] != '1')}",
    ),
    Rule(re.compile(rf"(?<![\w.,/])(?:(\d{{1,6}})[ ]?)?([{''.join(_VULGAR)}])(?:[ -]?({_ANY_UNIT})(?!\w))?"), _vulgar),
    Rule(
        re.compile(
            rf"(?<![\w.,/$-])(?:(\d{{1,4}})[ -])?(\d{{1,4}})[/⁄](\d{{1,4}})(?![\w/]|[.,]\d)(?:[ -]({_ANY_UNIT})(?![\w]))?"
        ),
        _fraction,
    ),
    Rule(
        re.compile(
            rf"{_ARTICLE}(?P<minus>{_MINUS}){_START}(?P<n>{_N})(?:(?:[ ]?[%°])?(?:{_TO}|[ ]to[ ])(?P<minus2>[-−]?)(?P<hi>{_N}))?"
            rf"(?P<gap>[ -]?)(?P<unit>{_ANY_UNIT})(?P<power>[²³]|\^[23]|(?<=m)[23]|(?<=ft)[23])?(?:/(?P<per>{_ANY_PER})(?P<pp>[²³])?)?(?![^\W_]|/\w)"
            rf"(?:(?<=[a-z])\.(?=[ ][a-z]|,))?"
        ),
        _unit,
    ),
    Rule(re.compile(rf"{_START}({_N})[ ]?([x×][ ]?|[ ][x×][ ])(?:(\d{{4}})(?![\d.,x×])|(?=\d))"), _dimensions),
    Rule(re.compile(rf"{_START}({_N})x(?!\w)"), lambda m: f"{number(m[1])} times"),
    Rule(re.compile(r"(?<![\w.])(\d{1,3}(?:,\d{3}){1,4}|\d{1,12})(?:st|nd|rd|th|ST|ND|RD|TH)(?!\w)"), _ordinal),
    Rule(re.compile(rf"{_START}({_N})(M|bn|mn|(?<=\.\d)[kKB])(?!\w)"), _magnitude),
    Rule(re.compile(r"(\d)[ ][-−][ ](?=\d[^=\n]{0,30}=)"), _minus_between),
    Rule(re.compile(rf"(?<![\w.,/:-])({_N}){_TO}({_N})(?![\w/-]|[.,]\d)"), _range),
    Rule(re.compile(rf"(?<![\w.,/:-])({_N}):({_N})(?![\w/:-]|[.,]\d)"), _range),
    Rule(re.compile(r"(?:(?<![^\s(\[\"“'‘=<>~:,/^])-|−)(?=\.?\d)"), "minus "),
)
"""In order. After dates and times, which would otherwise be taken for fractions, ranges and ratios."""
