"""Read the markup of a text that is being submitted."""

import asyncio
from enum import StrEnum

from rhapsode.model import Markup
from rhapsode.text.markup import Script, read_markers
from rhapsode.text.ssml import is_ssml, read_ssml

_THREAD_CHARS = 20_000
"""Longer texts are read in a thread, so that the event loop goes on."""


class InputType(StrEnum):
    """What the text of a request is."""

    AUTO = "auto"  # SSML when it begins with <speak>, else text
    TEXT = "text"  # text with markers
    SSML = "ssml"
    PLAIN = "plain"  # text whose brackets and tags mean nothing


async def read_script(text: str, input_type: InputType) -> Script:
    """Read the markup of a whole text.

    Raises:
        InvalidInput: It is wrong; names line and column.
    """
    if len(text) > _THREAD_CHARS:
        return await asyncio.to_thread(_read, text, input_type)
    return _read(text, input_type)


def _read(text: str, input_type: InputType) -> Script:
    if input_type is InputType.PLAIN:
        return Script(Markup.PLAIN)
    if input_type is InputType.SSML or (input_type is InputType.AUTO and is_ssml(text)):
        return read_ssml(text)
    return read_markers(text)
