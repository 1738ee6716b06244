"""Titles, abbreviations, initials and Roman numerals: what in English is written with letters and not read as it stands."""

import re

from rhapsode.text.english_numbers import cardinal, ordinal, roman
from rhapsode.text.rewrite import SENTENCE_STARTERS, Rule, after, before, full_stop, words

_TITLES = {
    "Dr": "Doctor",
    "Mr": "Mister",
    "Mrs": "Missus",
    "Ms": "Miz",
    "Messrs": "Messieurs",
    "Mx": "Mix",
    "Prof": "Professor",
    "Rev": "Reverend",
    "Hon": "Honorable",
    "Fr": "Father",
    "Gen": "General",
    "Col": "Colonel",
    "Maj": "Major",
    "Capt": "Captain",
    "Cpt": "Captain",
    "Lt": "Lieutenant",
    "Sgt": "Sergeant",
    "Cpl": "Corporal",
    "Pvt": "Private",
    "Adm": "Admiral",
    "Cmdr": "Commander",
    "Gov": "Governor",
    "Sen": "Senator",
    "Rep": "Representative",
    "Pres": "President",
    "Supt": "Superintendent",
    "Mt": "Mount",
    "Ft": "Fort",
}
"""Read so before a name."""

_ROADS = {
    "St": "Street",
    "Dr": "Drive",
    "Ave": "Avenue",
    "Blvd": "Boulevard",
    "Rd": "Road",
    "Ln": "Lane",
    "Hwy": "Highway",
    "Pkwy": "Parkway",
    "Sq": "Square",
}

_BEFORE_NUMBERS = {
    "no": "number",
    "nos": "numbers",
    "fig": "figure",
    "figs": "figures",
    "sec": "section",
    "ch": "chapter",
    "chap": "chapter",
    "vol": "volume",
    "vols": "volumes",
    "eq": "equation",
    "p": "page",
    "pp": "pages",
    "pg": "page",
    "pt": "part",
    "art": "article",
    "arts": "articles",
    "para": "paragraph",
    "paras": "paragraphs",
    "ed": "edition",
    "apt": "apartment",
    "ext": "extension",
    "ca": "circa",
    "c": "circa",
    "approx": "approximately",
    "tel": "telephone",
    "est": "established",
    "ver": "version",
    "rm": "room",
}

_BOOKS = {
    "Gen": "Genesis", "Ex": "Exodus", "Exod": "Exodus", "Lev": "Leviticus", "Num": "Numbers", "Deut": "Deuteronomy", "Josh": "Joshua",
    "Sam": "Samuel", "Chron": "Chronicles", "Ps": "Psalm", "Prov": "Proverbs", "Eccl": "Ecclesiastes", "Isa": "Isaiah", "Jer": "Jeremiah",
    "Lam": "Lamentations", "Ezek": "Ezekiel", "Dan": "Daniel", "Matt": "Matthew", "Rom": "Romans", "Cor": "Corinthians", "Gal": "Galatians",
    "Eph": "Ephesians", "Phil": "Philippians", "Col": "Colossians", "Thess": "Thessalonians", "Tim": "Timothy", "Heb": "Hebrews",
    "Pet": "Peter", "Rev": "Revelation",
    **{name: name for name in (
        "Judges", "Ruth", "Kings", "Ezra", "Nehemiah", "Esther", "Job", "Psalms", "Hosea", "Joel", "Amos", "Micah", "Zechariah", "Malachi",
        "Mark", "Luke", "John", "Acts", "Titus", "James", "Jude",
    )},
}  # fmt: skip
_BOOKS |= {name: name for name in _BOOKS.values()}
_NTH_BOOK = {"1": "First ", "2": "Second ", "3": "Third "}

_BEFORE_ROMAN = frozenset({"vol", "ch", "chap", "pt", "fig", "art", "sec"})

_ANYWHERE = {
    "etc": "et cetera",
    "vs": "versus",
    "approx": "approximately",
    "dept": "department",
    "univ": "university",
    "assn": "association",
    "govt": "government",
    "avg": "average",
    "esp": "especially",
    "incl": "including",
    "cf": "compare",
    "viz": "namely",
    "inc": "Incorporated",
    "ltd": "Limited",
    "corp": "Corporation",
    "co": "Company",
    "bros": "Brothers",
    "jr": "Junior",
    "sr": "Senior",
    "esq": "Esquire",
    "et al": "et al",
}
_ONLY_CAPITALISED = frozenset({"inc", "ltd", "corp", "co", "bros", "jr", "sr", "esq"})
_MAY_END_SENTENCE = frozenset({"etc", "et al"})

_GOES_ON = frozenset({"vs", "approx", "avg", "esp", "incl", "cf", "viz"})

_DOTTED = {
    "eg": "for example",
    "ie": "that is",
    "aka": "also known as",
    "am": "AM",
    "pm": "PM",
    "rsvp": "RSVP",
}
_SPELLED_ANYWAY = frozenset({"US", "UK", "USA", "UN", "EU", "DC", "BC", "PS", "NY", "TV", "PhD", "MD", "RIP"})
"""Acronyms that every engine spells by itself; others get hyphens."""

_BEFORE_INITIALS = words(
    "by with from to for of when as said that told asked met but or at and author president senator judge"
)

_REGNAL = words(
    "Henry Edward George William Charles James Richard Louis Elizabeth Mary Victoria Paul John Benedict Pius Leo Gregory Alexander "
    "Catherine Peter Nicholas Philip Frederick Ferdinand Napoleon Otto Wilhelm Innocent Clement Urban Ramses Ramesses Ptolemy Darius "
    "Xerxes Constantine Robert David Margrethe Juan Carlos Felipe Francis Joseph Leopold Albert Alfonso Ivan Thutmose Amenhotep Boniface "
    "Julius Adrian Stephen Harold Malcolm Christian Gustav Haakon Olav Baudouin Thomas Michael Theodore Walter Arthur Isabella Anne"
)
_RULERS = words("King Queen Pope Emperor Empress Tsar Czar Prince Princess Kaiser Sultan Pharaoh Saint")
_NUMBERED = (
    "Chapter|Part|Volume|Book|Act|Scene|Section|Article|Phase|Type|War|Bowl|Appendix|Figure|Table|Title|Level|Stage|Class|Episode|Season|"
    "Canto|Unit|Lesson|Vol|Mark|Apollo|Rocky|Amendment|Schedule|Annex|Grade|Symphony|Sonata|Form|Step|Verse|Psalm|Division|Tier|Round"
)


def _title(match: re.Match[str]) -> str:
    short = match[1]
    # "Elm Dr. Springfield" is a road, "Meet Dr. Jones" is not: a road has a house number or "on" before its name.
    if short in _ROADS and _ROAD_NAME.search(before(match)):
        return _ROADS[short] + full_stop(match)
    return _TITLES[short]


_NO_DATE = (
    r"(?!(?:January|February|March|April|May|June|July|August|September|October|November|December|[A-Z]\w{2,5}day)[ ])"
)
_ROAD_NAME = re.compile(
    rf"(?:\d{{1,6}}[A-Za-z]?[ ](?:[NSEW]\.?[ ])?{_NO_DATE}(?:(?:[A-Z][a-z]\w{{0,20}}|\d{{1,3}}(?:st|nd|rd|th))[ ]){{1,4}}|"
    rf"\b(?:on|along|off|down)[ ](?:\w{{1,20}}[ ])?{_NO_DATE}[A-Z]\w{{1,20}}[ ])\Z"
)
_NUMBERED_ROAD = re.compile(r"\d(?:st|nd|rd|th)[ ]\Z")
_BEFORE_SAINT = re.compile(r"\b(?:Mount|Mt|Fort|Ft|Port|Lake|Sault)\.?[ ]\Z")


def _saint_or_street(match: re.Match[str]) -> str:
    following, earlier = re.match(r"[ ]([A-Z]\w{0,30})", after(match)), before(match)
    if following and following[1] not in SENTENCE_STARTERS:
        is_road = _ROAD_NAME.search(earlier) or _NUMBERED_ROAD.search(earlier)
        if not is_road or _BEFORE_SAINT.search(earlier):
            return "Saint"
    return "Street" + full_stop(match)


_ROAD_WORD = re.compile(r"\b((?!(?:Dear|Hello|Hey|Hi|Please|Thanks)[ ])[A-Z]\w{0,30}|\d{1,4}(?:st|nd|rd|th))[ ]\Z")


def _doctor_or_drive(match: re.Match[str]) -> str:
    """Behind its name and not before one: "Elm Dr. is"; but "the Dr. is"."""
    name = _ROAD_WORD.search(before(match))
    return ("Drive" if name and name[1] not in SENTENCE_STARTERS else "Doctor") + full_stop(match)


def _road(match: re.Match[str]) -> str:
    return match[1] + _ROADS[match[2]] + full_stop(match)


_COMPASS = {"N": "North", "S": "South", "E": "East", "W": "West"}


def _before_number(match: re.Match[str]) -> str:
    key = match[1].lower()
    if key not in _BEFORE_ROMAN and not re.match(r"[#(]?\d", after(match)):
        return match[0]  # "He said no. I left."
    if match[1] in ("C", "P") and not _OPENS.search(before(match)):
        return match[0]  # "vitamin C. 20 people"
    said = _BEFORE_NUMBERS[key]
    return (said.capitalize() if match[1][0].isupper() else said) + " "


_OPENS = re.compile(r"(?:\A|[\n(]|[.!?:][ ])\Z")


def _anywhere(match: re.Match[str]) -> str:
    key = match[1].lower()
    if key in _ONLY_CAPITALISED and not match[1][0].isupper():
        return match[0]
    if key in _GOES_ON and after(match, 1) == " ":
        return _ANYWHERE[key]
    return _ANYWHERE[key] + full_stop(match, before_capital=key in _MAY_END_SENTENCE)


def _initials(letters: str) -> str:
    """Initials before a name, without dots, which espeak takes for the end of a sentence; a lone "A" would sound like the article."""
    return "".join("A-" if letter == "A" else f"{letter} " for letter in letters)


def _dotted(match: re.Match[str]) -> str:
    """U.S. → US, e.g. → for example, J.R.R. Tolkien → J R R Tolkien."""
    letters = match[0].replace(".", "")
    if said := _DOTTED.get(letters.lower()):
        return said + full_stop(match, before_capital=letters.lower() in ("am", "pm"))
    following = re.match(r"[ ]?([A-Z]\w{1,30})", after(match))
    if following and following[1] not in SENTENCE_STARTERS and letters.isupper() and letters not in _SPELLED_ANYWAY:
        return _initials(letters)[: -1 if following[0].startswith(" ") else None]
    # with hyphens engines spell it; only a last "A" they would read as the article
    said = letters if letters in _SPELLED_ANYWAY or letters[-1] in "Aa" else "-".join(letters.upper())
    return said + full_stop(match)


def _initial(match: re.Match[str]) -> str:
    """An initial loses its dot: "George W. Bush", but not "plan B. Then"."""
    previous, following = match[1] or "", match[3]
    if previous[:1].islower() and (previous.strip() not in _BEFORE_INITIALS or match[2] == "I"):
        return match[0]
    if following in SENTENCE_STARTERS:
        return match[0]
    return previous + _initials(match[2])


def _regnal_or_number(match: re.Match[str]) -> str:
    name, numeral = match[1], match[2]
    value = roman(numeral)
    if value is None:
        return match[0]
    earlier = before(match, 20).split()
    is_ruler = name in _REGNAL or bool(earlier and (earlier[-1] in _RULERS or earlier[-1] in _REGNAL))
    if len(numeral) == 1:
        # "Malcolm X", "Then I", "Mary I know": one letter is a numeral only where nothing else makes sense.
        certain = is_ruler and numeral in "IVX" and name != "Malcolm" and _AFTER_NUMERAL.match(after(match))
        certain = certain or (is_ruler and numeral == "V")
        return f"{name} the {ordinal(value)}" if certain else match[0]
    if is_ruler:
        return f"{name} the {ordinal(value)}"
    return f"{name} {cardinal(value)}" if set(numeral) <= set("IVX") else match[0]


_AFTER_NUMERAL = re.compile(
    r"['’]s\b|[ ]of\b|[,.;:)!?]|\Z|\n|[ ](?:was|ruled|reigned|became|died|abdicated|succeeded|and)\b"
)


def _numbered(match: re.Match[str]) -> str:
    value = roman(match[2])
    if value is None or not set(match[2]) & set("IVX"):
        return match[0]  # "Appendix C", "Class CD"
    follows = _AFTER_PART_ONE if match[1].islower() else _AFTER_TITLE_ONE
    if match[2] == "I" and match[1] != "War" and not follows.match(after(match)):
        return match[0]  # "the Part I like", "the part I was dreading"
    return f"{match[1]} {cardinal(value)}"


_AFTER_TITLE_ONE = re.compile(
    r"[^ ]|\Z|[ ](?:[A-Z(]|of|is|was|to|and|or|the|in|ends|begins|clinical|trials?|errors?|diabetes|cancer|trauma)\b"
)
_AFTER_PART_ONE = re.compile(
    r"[^ ]|\Z|[ ](?:\(|of|is|(?:and|or|to)[ ](?:the[ ])?(?:[IVX]|chapter|part|volume|section))"
)


def _verse(match: re.Match[str]) -> str:
    """1 Cor. 13:4-7: First Corinthians thirteen four to seven."""
    nth, book, chapter, verse, last = match.groups()
    said = f"{_NTH_BOOK.get(nth, '')}{_BOOKS[book]} {cardinal(int(chapter))} {cardinal(int(verse))}"
    return f"{said} to {cardinal(int(last))}" if last else said


def _century(match: re.Match[str]) -> str:
    value = roman(match[1])
    return match[0] if value is None else ordinal(value)


def _any_of(words: dict[str, str]) -> str:
    return "|".join(re.escape(word) for word in sorted(words, key=len, reverse=True))


_DRIP = (
    "access|antibiotic|bag|bolus|catheter|dose|drip|drug|fluid|infusion|iron|line|medication|needle|pole|pump|push|saline|site|"
    "therapy|treatment"
)
_ROMAN = r"([IVXLCDM]{1,12})(?![\w'’]|\.\w)"

NAME_RULES: tuple[Rule, ...] = (
    Rule(
        re.compile(
            rf"(?<![\w.])(?:([1-3])[ ])?({_any_of(_BOOKS)})\.?[ ](\d{{1,3}}):(\d{{1,3}})(?:[-–](\d{{1,3}}))?"
            r"(?![\w:-]|\.\d|[ ]?[AaPp]\.?[Mm])"
        ),
        _verse,
    ),
    Rule(re.compile(r"(?<=\w[ ])v\.(?=[ ][A-Z])"), "versus"),
    Rule(re.compile(r"(?<![\w.])Hwy\.(?=[ ]\d)"), "Highway"),
    Rule(re.compile(r"(?<![\w.])Rte\.(?=[ ]\d)"), "Route"),
    Rule(re.compile(r"(?<![\w.])Ph\.[ ]?D\."), lambda m: "PhD" + full_stop(m)),
    Rule(
        re.compile(
            rf"(?<=\d[ ])([NSEW])\.?(?=[ ](?:[A-Z\d]\w{{0,20}}[ ]){{1,3}}(?:{_any_of(_ROADS)}|{'|'.join(_ROADS.values())})\b)"
        ),
        lambda m: _COMPASS[m[1]],
    ),
    Rule(
        re.compile(
            rf"(?<![\w.])({_any_of(_TITLES)})\.(?=[ ](?:[A-Z]|(?:and|von|van|de|der|del|la|al|el|bin)[ ][A-Z]))"
        ),
        _title,
    ),
    Rule(re.compile(r"(?<![\w.])St\."), _saint_or_street),
    Rule(re.compile(r"(?<![\w.])Dr\.(?!\w)"), _doctor_or_drive),
    Rule(re.compile(rf"(\w[ ])({_any_of(_ROADS)})\."), _road),
    Rule(
        re.compile(
            rf"(?<![\w.])({_any_of(_BEFORE_NUMBERS)})\.[ ]?(?=[#(]?\d|(?-i:[IVX]{{1,6}})(?![\w.]))", re.IGNORECASE
        ),
        _before_number,
    ),
    Rule(re.compile(rf"(?<![\w.])({_any_of(_ANYWHERE)})\.(?!\w)", re.IGNORECASE), _anywhere),
    Rule(re.compile(r"(?<![\w.])(?:[A-Za-z]\.){1,8}[A-Za-z](?!\w)\.?"), _dotted),
    Rule(re.compile(r"(?<![\w.'’])(?:[A-Z]\.[ ]){2,6}(?=[A-Z][a-z])"), lambda m: _initials(re.sub(r"[. ]", "", m[0]))),
    Rule(re.compile(r"(\b\w{1,30},?[ ])?(?<![\w.'’])([A-Z])\.[ ](?=([A-Z]\w{0,30}))"), _initial),
    Rule(re.compile(rf"\b((?:{_NUMBERED})|(?:{_NUMBERED.upper()})|chapter|part|volume|section)[ ]{_ROMAN}"), _numbered),
    Rule(re.compile(rf"(?<!\w){_ROMAN}(?=[ ][Cc]entur)"), _century),
    # intravenous, which espeak would call "Roman four"
    Rule(
        re.compile(
            rf"IV(?!\w)(?:(?<=\bIV)(?=[ ](?:{_DRIP})s?\b)|(?:(?<=\b[Aa]n[ ]IV)|(?<=\b(?:[Tt]he|[Hh]is|[Hh]er)[ ]IV))(?![ ][A-Z]))"
        ),
        "I-V",
    ),
    Rule(re.compile(r"\b([A-Z][a-zé]{1,20})[ ]([IVX]{1,7}(?![\w]|['’](?!s\b)|\.\w))"), _regnal_or_number),
)
"""In order. Run before the rules for numbers, which need "No. 5" and "Jan. 5" without a dot that ends a sentence."""
