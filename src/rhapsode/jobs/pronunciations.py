"""Pronunciations as callers send them: in the body of a request, or as the whole dictionary."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer, WithJsonSchema

from rhapsode.model import Pronunciation
from rhapsode.text.lexicon import MAX_JOB_ENTRIES, MAX_SAY, MAX_WORD, as_rows, checked


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


def _from_short(word: object, spoken: object) -> object:
    """An entry from the short form, word: respelling or /phonemes/."""
    if isinstance(spoken, str) and len(spoken) > 2 and spoken.startswith("/") and spoken.endswith("/"):
        return {"word": word, "ipa": spoken[1:-1]}
    return {"word": word, "say": spoken}


def _read(given: Any) -> tuple[Pronunciation, ...]:
    if given is None:
        return ()
    if isinstance(given, Mapping):
        given = [_from_short(word, spoken) for word, spoken in given.items()]
    if not isinstance(given, Sequence) or isinstance(given, str | bytes):
        raise ValueError('must be a list of {"word", "say" or "ipa"}, or an object {word: respelling or "/ipa/"}')
    if len(given) > MAX_JOB_ENTRIES:
        raise ValueError(f"has {len(given)} entries; at most {MAX_JOB_ENTRIES} are allowed, more in the dictionary")
    return entries_of(given)


def entries_of(given: Sequence[Any]) -> tuple[Pronunciation, ...]:
    """Entries, checked.

    Raises:
        ValueError: One of them is wrong; names it by its number.
    """
    found: list[Pronunciation] = []
    for number, one in enumerate(given):
        if isinstance(one, Pronunciation):
            found.append(one)
            continue
        try:
            found.append(checked(Entry.model_validate(one).value(), f"{number}"))
        except Exception as error:
            raise ValueError(_told(number, error)) from None
    return tuple(found)


def _told(number: int, error: Exception) -> str:
    errors = getattr(error, "errors", None)
    if errors is None:
        return f"entry {str(error)}"
    first = errors()[0]
    return f"entry {number}: {'.'.join(map(str, first['loc']))}: {first['msg']}"


JobPronunciations = Annotated[
    tuple[Pronunciation, ...],
    BeforeValidator(_read),
    PlainSerializer(lambda entries: as_rows(entries)),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "array", "maxItems": MAX_JOB_ENTRIES, "items": Entry.model_json_schema()},
                {"type": "object", "additionalProperties": {"type": "string"}},
                {"type": "null"},
            ]
        }
    ),
]
"""Field of a body."""
