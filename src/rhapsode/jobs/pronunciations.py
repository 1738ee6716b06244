"""Pronunciations as callers send them: in the body of a request, or as the whole dictionary."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer, ValidationError, WithJsonSchema

from rhapsode.errors import InvalidInput
from rhapsode.model import Pronunciation
from rhapsode.text.lexicon import MAX_JOB_ENTRIES, MAX_SAY, MAX_WORD, as_rows, checked, from_short
from rhapsode.text.pls import read_pls

_MOST_PLS = 200_000
"""Characters: it is read while a request is checked."""


class Entry(BaseModel):
    """How a word or phrase is spoken: ``say``, ``ipa``, or both (for engines that take phonemes, and those that do not)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    word: str = Field(min_length=1, max_length=MAX_WORD, description="As it is written; several words for a phrase.")
    say: str | None = Field(None, max_length=MAX_SAY, description="Respelling, such as sequel for SQL.")
    ipa: str | None = Field(None, max_length=MAX_SAY, description="Phonemes in IPA, such as dʒɪf for GIF.")
    language: str | None = Field(None, max_length=35, description="Only in texts of this language; null: in all.")
    match_case: bool | None = Field(
        None, description="Whether capitals must be the same; null: only when the word is written with some here."
    )

    def value(self) -> Pronunciation:
        """As the model has it."""
        return Pronunciation(self.word, self.say, self.ipa, self.language, self.match_case)


def _read(given: Any) -> tuple[Pronunciation, ...]:
    if given is None:
        return ()
    if isinstance(given, str) and given.lstrip("\ufeff").lstrip().startswith("<"):
        given = _from_pls(given)
    if isinstance(given, Mapping):
        given = [
            as_rows([from_short(word, spoken)])[0]
            if isinstance(word, str) and isinstance(spoken, str)
            else {"word": word, "say": spoken}
            for word, spoken in given.items()
        ]
    if not isinstance(given, Sequence) or isinstance(given, str | bytes):
        raise ValueError(
            'must be a list of {"word", "say" or "ipa"}, an object {word: respelling or "/ipa/"}, or a lexicon (PLS) as text'
        )
    if len(given) > MAX_JOB_ENTRIES:
        raise ValueError(f"has {len(given)} entries; at most {MAX_JOB_ENTRIES} are allowed, more in the dictionary")
    return tuple(_checked(number, one) for number, one in enumerate(given))


def _from_pls(document: str) -> Sequence[Pronunciation]:
    if len(document) > _MOST_PLS:
        raise ValueError(
            f"is a lexicon of {len(document):,} characters; at most {_MOST_PLS:,} are allowed, more in the dictionary"
        )
    try:
        return read_pls(document, "the lexicon")[0]
    except InvalidInput as error:
        raise ValueError(str(error)) from None


def _checked(number: int, given: Any) -> Pronunciation:
    if isinstance(given, Pronunciation):
        return given
    try:
        return checked(Entry.model_validate(given).value(), f"entry {number}")
    except ValidationError as error:
        first = error.errors()[0]
        raise ValueError(f"entry {number}: {'.'.join(map(str, first['loc']))}: {first['msg']}") from None
    except InvalidInput as error:
        raise ValueError(str(error)) from None


JobPronunciations = Annotated[
    tuple[Pronunciation, ...],
    BeforeValidator(_read),
    PlainSerializer(as_rows),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "array", "maxItems": MAX_JOB_ENTRIES, "items": Entry.model_json_schema()},
                {"type": "object", "additionalProperties": {"type": "string"}},
                {"type": "string", "description": "A W3C lexicon (PLS, XML)."},
                {"type": "null"},
            ]
        }
    ),
]
"""Field of a body."""
