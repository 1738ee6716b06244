"""Addresses, file names, handles, telephone numbers, versions and serial numbers: what is spelled rather than read."""

import re

from rhapsode.text.english_dates import is_counted
from rhapsode.text.english_numbers import cardinal, digits, number, pairs
from rhapsode.text.rewrite import Rule, before, words

_SPOKEN_MARKS = {
    ".": " dot ",
    "/": " slash ",
    "-": " dash ",
    "_": " underscore ",
    "?": " question mark ",
    "=": " equals ",
    "&": " and ",
    "#": " hash ",
    "%": " percent ",
    "+": " plus ",
    ":": " colon ",
    "@": " at ",
    "~": " tilde ",
}
_TRAILING = ".,;:!?)]}>'\"”’…"
_TOP_DOMAINS = "com|org|net|edu|gov|io|ai|co|uk|dev|app|info|wiki|tv|eu|de|fr|ca|au|us"
_EXTENSIONS = {
    "py": "pie", "jpeg": "jay peg", "jpg": "jay peg", "zip": "zip", "exe": "E X E", "json": "jason", "yaml": "yammel", "bat": "bat", "bin": "bin",
    "doc": "doc", "docx": "doc X", "dat": "dat", "log": "log", "text": "text", "java": "java",
    "rar": "rar", "tar": "tar", "wav": "wave", "env": "env",
    "gif": "gif", "ini": "I N I", "toml": "tommel", "opus": "opus", "epub": "e pub", "iso": "I S O", "lock": "lock", "conf": "conf",
    "mp3": "M P three", "mp4": "M P four", "m4a": "M four A", "m4b": "M four B",
    **{plain: " ".join(plain.upper()) for plain in (
        "pdf", "txt", "csv", "md", "html", "htm", "css", "js", "ts", "png", "svg", "gz", "sh", "cfg", "xml", "php", "cpp", "sql", "xls", "xlsx",
        "ppt", "pptx", "rs", "rb", "flac", "ogg", "mkv", "avi", "yml", "db", "dll", "rtf", "odt",
    )},
}  # fmt: skip
_EXTENSIONS |= {"flac": "flack", "ogg": "og"}


def _spell(written: str) -> str:
    """An address with its marks in words: "example.com/docs" → "example dot com slash docs"."""
    return re.sub(r"[./\-_?=&#%+:@~]", lambda m: _SPOKEN_MARKS[m[0]], written)


def _web(match: re.Match[str]) -> str:
    address = match[1].rstrip(_TRAILING)
    stop = match[1][len(address) :]
    return (_spell(address.rstrip("/")) or address) + stop


def _email(match: re.Match[str]) -> str:
    return _spell(match[0])


def _handle(match: re.Match[str]) -> str:
    return "at " + match[1].replace("_", " underscore ")


def _hashtag(match: re.Match[str]) -> str:
    return "hashtag " + re.sub(r"(?<=[a-z0-9])(?=[A-Z])|_", " ", match[1])


def _file(match: re.Match[str]) -> str:
    return f"{_spell(match[1])} dot {_EXTENSIONS[match[2].lower()]}"


def _telephone(match: re.Match[str]) -> str:
    """Digit by digit, a comma between the groups: "+1 212 555 0199"."""
    groups = re.findall(r"\d{1,12}", match[0])
    said = [_TOLL_FREE[group] if group in _TOLL_FREE else digits(group) for group in groups]
    return ("plus " if match[0].startswith("+") else "") + ", ".join(said)


_TOLL_FREE = {"800": "eight hundred", "900": "nine hundred"}


def _network_address(match: re.Match[str]) -> str:
    port = f" colon {pairs(match[2])}" if match[2] else ""
    return " dot ".join(cardinal(0) if part == "0" else pairs(part) for part in match[1].split(".")) + port


def _version(match: re.Match[str]) -> str:
    prefix = "version " if match[1] else ""
    return prefix + " point ".join(number(part) for part in match[2].split("."))


def _software(match: re.Match[str]) -> str:
    return f"{match[1]} {number(match[2])} point {number(match[3])}"


def _digits(match: re.Match[str]) -> str:
    return digits(match[0])


def _letters_and_digits(written: str) -> str:
    return " ".join(digits(char) if char.isdecimal() else char.upper() for char in written)


def _after_word(match: re.Match[str]) -> str:
    return match[1] + digits(match[2])


def _after_noun(match: re.Match[str]) -> str:
    """A name: "order 12345 ships"; but not "we order 5000 units", "in case 10000 people come"."""
    following = _NEXT_WORD.match(match.string, match.end())
    counts = following and is_counted(following[1]) and match[2].endswith("00")
    return match[0] if counts or _NO_NOUN.search(before(match) + match[1]) else _after_word(match)


_NO_NOUN = re.compile(
    r"(?:\b(?:I|we|you|they|can|may|must|not|will|would|should|could)[ ](?:order|pin|phone|code|ticket|reference|card|invoice)|"
    r"\bin[ ]case|tracking)[ ]\Z",
    re.IGNORECASE,
)
_NEXT_WORD = re.compile(r"[ ]([a-z]{1,20})(?!\w)")


def _after_verb(match: re.Match[str]) -> str:
    """What is dialled: "call 911"; but not "call 200 new customers"."""
    following = _NEXT_WORD.match(match.string, match.end())
    if following and following[1] not in _BEHIND_CALL and not _SHORT_CALL.fullmatch(match[2]):
        return match[0]
    return _after_word(match)


_SHORT_CALL = re.compile(r"[2-9]11|112|999|988|000")
_BEHIND_CALL = words(
    "for at if when now and or to from in on as with before after right immediately first today instead"
)


def _thousands(match: re.Match[str]) -> str:
    return re.sub(r"[ .]", "", match[0])


_SOFTWARE = (
    "Python|Java|Node|PHP|Ruby|Rust|Go|Perl|Lua|iOS|iPadOS|macOS|Android|Windows|Ubuntu|Debian|Fedora|Linux|Kernel|kernel|Chrome|Firefox|"
    "Django|Rails|CUDA|PyTorch|TensorFlow|PostgreSQL|Postgres|MySQL|SQLite|HTTP|TLS|USB|Bluetooth|[Vv]ersion|[Rr]elease|GPT|Llama|OpenSSL"
)
_SERIAL = (
    "(?i:account|serial|tracking|order|reference|ref|invoice|case|pin|passcode|code|zip|phone|card|ticket|ISBN|ID|badge|extension|"
    "zip code|confirmation)"
)
_STATE = (
    "A[LKZR]|C[AOT]|D[CE]|FL|GA|HI|I[ADLN]|K[SY]|LA|M[ADEINOST]|N[CDEHJMVY]|O[HKR]|PA|RI|S[CD]|T[NX]|UT|V[AT]|W[AIVY]"
)
_SEP = r"[ .\-‑–]"

LINK_RULES: tuple[Rule, ...] = (
    Rule(re.compile(r"(?<![\w.+-])[\w.+-]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63}){1,6}"), _email),
    Rule(re.compile(r"(?<!\w)(?:https?|ftp|file)://(?:www\.(?=\S))?([^\s<>\"]{1,2000})", re.IGNORECASE), _web),
    Rule(re.compile(r"(?<![\w.@-])www\.([^\s<>\"]{1,2000})", re.IGNORECASE), _web),
    Rule(
        re.compile(
            rf"(?<![\w.@/-])((?:[A-Za-z0-9][A-Za-z0-9-]{{0,62}}\.){{1,4}}(?:{_TOP_DOMAINS})(?![\w-])(?::\d{{1,5}})?(?:[/?#][^\s<>\"]{{0,2000}})?)"
        ),
        _web,
    ),
    Rule(re.compile(r"(?<![\w.@])@(\w{1,64})"), _handle),
    Rule(re.compile(r"(?<![\w&])#([^\W\d]\w{0,139})"), _hashtag),
    Rule(
        re.compile(
            rf"(?<![\w.-])([\w-]{{1,64}}(?:\.[\w-]{{1,16}}){{0,3}})\.({'|'.join(_EXTENSIONS)})(?![\w-]|\.\w)",
            re.IGNORECASE,
        ),
        _file,
    ),
)
"""Addresses and names; before everything else, so that no other rule takes them apart."""

SERIAL_RULES: tuple[Rule, ...] = (
    Rule(re.compile(r"(?<![\w.])(\d{1,3}(?:\.\d{1,3}){3})(?![\w]|\.\d)(?::(\d{1,5})(?!\d))?"), _network_address),
    Rule(
        re.compile(rf"(?<![\w.+])\+\d{{1,3}}(?:{_SEP}?\(\d{{1,4}}\)|{_SEP}\d{{1,5}})(?:{_SEP}\d{{2,5}}){{1,5}}(?!\d)"),
        _telephone,
    ),
    Rule(
        re.compile(rf"(?<![\w.+-])(?:1{_SEP})?(?:\(\d{{3}}\)[ -]?|\d{{3}}{_SEP})\d{{3}}{_SEP}\d{{4}}(?![\w-])"),
        _telephone,
    ),
    Rule(re.compile(r"(?<![\w.,$£€-])\d{3}[-‑]\d{4}(?![\w%-]|[.,]\d)"), _telephone),
    Rule(re.compile(rf"(?<![\w.,+-])0\d{{2,4}}{_SEP}\d{{3,4}}{_SEP}\d{{3,4}}(?![\w-])"), _telephone),
    Rule(re.compile(r"(?<![\w.])\+\d{7,15}(?!\w)"), lambda m: "plus " + digits(m[0])),
    Rule(re.compile(r"(?<![\w.,-])\d{1,5}(?:-\d{1,7}){2,5}(?![\w-])"), _telephone),
    Rule(re.compile(r"(?<![\w.,])\d{1,3}(?:\.\d{3}){2,4}(?!\w|\.\d)"), _thousands),
    Rule(re.compile(r"(?<![\w.,])(v|V|ver\.?[ ]?)?(?<![\w.]\d)(\d{1,4}(?:\.\d{1,6}){2,40})(?![\d.]\d)"), _version),
    Rule(re.compile(r"(?<!\w)(v(?=\d)|V(?=\d{1,4}\.))(\d{1,4}(?:\.\d{1,4})?)(?!\w|\.\d)"), _version),
    Rule(re.compile(rf"\b({_SOFTWARE})[ ](\d{{1,4}})\.(\d{{1,4}})(?!\w|\.\d)"), _software),
    Rule(re.compile(r"(?<![\w.,])\d{1,3}(?:[ ]\d{3}){1,5}(?![\d]|[ ]?\d)(?!,\d)"), _thousands),
    Rule(re.compile(r"(?<!\w)0[xX]([0-9A-Fa-f]{1,16})(?!\w)"), lambda m: "zero x " + _letters_and_digits(m[1])),
    Rule(re.compile(r"(?<![\w.,])007(?![\w.,])"), lambda _: "double oh seven"),
    Rule(
        re.compile(
            rf"\b((?:{_SERIAL})(?:[ ](?:number|no|code|is|was|#)){{0,2}}[ :#]{{1,2}})(\d{{4,16}})(?![\w]|[.,]\d)"
        ),
        _after_noun,
    ),
    Rule(re.compile(rf"\b((?:{_STATE})[ ])(\d{{5}})(?![\w]|[.,]\d)"), _after_word),
    Rule(re.compile(r"\b((?:[Cc]all|[Dd]ial|[Dd]ialed|[Dd]ialled)[ ])(\d{3})(?![\w-]|[.,]\d)"), _after_verb),
    Rule(re.compile(r"(?<![\w.,$£€/-])911(?![\w%/-]|[.,]\d)"), _digits),
    Rule(re.compile(r"(?<![\d.,])\d{10,}+(?!\.\d|,\d)"), _digits),
    Rule(re.compile(r"\d{19,}+"), _digits),
)
"""Numbers that are names. A run of ten digits or more is a name too, unless it has separators."""
