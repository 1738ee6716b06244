"""The header ``Idempotency-Key``."""

from fastapi import Request

from rhapsode.errors import InvalidInput

_NAME = "Idempotency-Key"
_LONGEST = 255
REPLAYED = {"Idempotent-Replayed": "true"}
"""Header of an answer about something that was asked for before."""


def idempotency_key(request: Request) -> str | None:
    """The key, or None when none was sent.

    Raises:
        InvalidInput: It is empty, too long, sent twice, or has other characters than visible ASCII.
    """
    sent = request.headers.getlist(_NAME)
    if not sent:
        return None
    key = sent[0].strip()
    if len(sent) > 1 or not 0 < len(key) <= _LONGEST or not all("!" <= letter <= "~" for letter in key):
        raise InvalidInput(f"{_NAME} must be one word of 1 to {_LONGEST} visible ASCII characters", _NAME)
    return key
