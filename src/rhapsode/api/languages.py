"""Names of languages for people, by ISO 639-1 code."""

_NAMES = (
    "ar:Arabic bg:Bulgarian ca:Catalan cs:Czech cy:Welsh da:Danish de:German el:Greek en:English es:Spanish et:Estonian fa:Persian "
    "fi:Finnish fr:French he:Hebrew hi:Hindi hr:Croatian hu:Hungarian id:Indonesian is:Icelandic it:Italian ja:Japanese ka:Georgian "
    "kk:Kazakh ko:Korean lb:Luxembourgish lv:Latvian ml:Malayalam ms:Malay ne:Nepali nl:Dutch no:Norwegian pl:Polish pt:Portuguese "
    "ro:Romanian ru:Russian sk:Slovak sl:Slovenian sr:Serbian sv:Swedish sw:Swahili te:Telugu tr:Turkish uk:Ukrainian ur:Urdu "
    "vi:Vietnamese zh:Chinese"
)
LANGUAGES = dict(pair.split(":") for pair in _NAMES.split())


def language_name(code: str) -> str:
    """The English name of a language; the code itself when it is not known."""
    return LANGUAGES.get(code.lower().replace("_", "-").partition("-")[0], code)
