"""Which language a text is in, by its letters and its commonest words. Rough, quick and offline; good enough for whole sentences."""

import re
from collections import Counter
from collections.abc import Mapping

_LOOKED_AT = 4_000
_LEAST = 2
"""Common words that a language must show."""
_SCRIPTS: Mapping[str, str] = {
    "ja": r"[\u3040-\u30ff]", "ko": r"[\uac00-\ud7af\u1100-\u11ff]", "zh": r"[\u4e00-\u9fff]", "th": r"[\u0e00-\u0e7f]",
    "he": r"[\u0590-\u05ff]", "ar": r"[\u0600-\u06ff]", "hi": r"[\u0900-\u097f]", "el": r"[\u0370-\u03ff]", "ka": r"[\u10a0-\u10ff]",
    "ru": r"[\u0400-\u04ff]", "ta": r"[\u0b80-\u0bff]", "te": r"[\u0c00-\u0c7f]", "ml": r"[\u0d00-\u0d7f]", "bn": r"[\u0980-\u09ff]",
}  # fmt: skip
"""One letter of each script, under the language that mostly uses it."""
_SAME_SCRIPT: Mapping[str, tuple[tuple[str, str], ...]] = {
    "ru": (("uk", "[іїєґ]"), ("bg", "ъ(?=[а-я])(?!е|ё|ю|я)"), ("sr", "[ђјљњћџ]")),
    "ar": (("fa", "[پچژگ]"), ("ur", "[ٹڈڑے]")),
}
"""Other languages of a script, by letters that only they have."""
_COMMON: Mapping[str, str] = {
    "en": "the and of to in is was that it he she you for with his her they are this have not but from had what which would there their",
    "de": "der die das und ist nicht er hat als seinem seiner ein eine zu den mit sich auf für von dem im auch wie es ich sie wir war aber noch",
    "fr": "le la les et des est une dans que qui pour pas sur au avec ne ce il elle vous nous je mais était sont cette plus du",
    "es": "el la los las y de que en un una es por con no para su se del al lo como más pero sus fue ha está muy yo",
    "it": "il di che e la un una per non in con sono è del della gli le da si come ma anche questo lo era più nel alla",
    "pt": "o a os as e de que um uma não em para com se do da no na por mais como mas foi ao ele ela são você eu",
    "nl": "de het een en van is dat niet in op te zijn met voor ook maar er aan hij zij naar dit die was als bij ik",
    "sv": "och att det som en är på för av inte den till med har jag ett om var men han hon så vi kan från eller",
    "da": "og at det en er til på for af ikke den med jeg der har et om var men han hun så vi kan fra eller",
    "no": "og at det en er til på for av ikke den med jeg som har et om var men han hun så vi kan fra eller etter",
    "fi": "ja on ei se että hän oli mutta kun ovat tämä niin kuin myös joka mitä olen minä sinä tai jos vain",
    "pl": "i w nie się na że to jest z do jak ale co tak za od po przez czy był jego już tylko ja dla",
    "cs": "a se na je že to v s z do jako ale by jsem co tak pro ve po od byl jeho už jen když",
    "hu": "a az és hogy nem is egy ez volt de van meg csak már ha mint el vagy még mert",
    "tr": "ve bir bu da de için ile çok ne daha olarak var gibi kadar ama değil olan ben o sen",
    "ro": "și în de la cu este un o nu pe care mai din pentru sunt că se ce dar a fost lui",
    "vi": "và của là không có một những được cho trong với các này đã người khi tôi ở đến như",
    "id": "yang dan di itu dengan untuk tidak ini dari dalam akan pada juga saya ke karena ada adalah",
}
_SETS = {code: frozenset(words.split()) for code, words in _COMMON.items()}
_WORD = re.compile(r"[^\W\d_]+")
_MARKUP = re.compile(r"<[^<>]{0,1000}>|\[[^\[\]\n]{0,120}\]")


def detect(text: str) -> str | None:
    """ISO 639 code of the language that the beginning of a text is in, or None when that cannot be told."""
    sample = _MARKUP.sub(" ", text[:_LOOKED_AT])
    letters = sum(map(len, _WORD.findall(sample)))
    if not letters:
        return None
    counts = {code: len(re.findall(pattern, sample)) for code, pattern in _SCRIPTS.items()}
    if counts["ja"] and counts["ja"] + counts["zh"] > letters // 3:
        return "ja"  # Chinese has no kana, Japanese has Chinese characters
    code, most = max(counts.items(), key=lambda pair: pair[1])
    if most > letters // 3:
        lowered = sample.lower()
        return next(
            (other for other, own in _SAME_SCRIPT.get(code, ()) if len(re.findall(own, lowered)) * 200 > most), code
        )
    found = Counter(word.lower() for word in _WORD.findall(sample))
    scores = {code: sum(found[word] for word in words) for code, words in _SETS.items()}
    best, score = max(scores.items(), key=lambda pair: pair[1])
    return best if score >= _LEAST else None
