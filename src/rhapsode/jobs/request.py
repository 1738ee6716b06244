"""What a caller may ask for, and how it becomes a fully resolved :class:`SpeechRequest`."""

import hashlib
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, field_validator

from rhapsode.engines.base import Control, parse_blend
from rhapsode.errors import InvalidInput, NotFound, TooLarge, Unavailable
from rhapsode.fleet.base import EngineDescription
from rhapsode.jobs.dictionary import EMPTY, Frozen
from rhapsode.jobs.pronunciations import JobPronunciations
from rhapsode.jobs.safe_address import Policy, check_url
from rhapsode.jobs.script import InputType
from rhapsode.model import NO_LIMITS, AudioFormat, Limits, Part, Pauses, Priority, SpeechRequest, Voice, VoiceMode
from rhapsode.settings import Settings
from rhapsode.text.language import detect
from rhapsode.text.markup import Script
from rhapsode.text.split import code_of

PRIORITIES: Mapping[str, Priority] = {
    "interactive": Priority.INTERACTIVE,
    "high": Priority.INTERACTIVE,
    "normal": Priority.NORMAL,
    "batch": Priority.BATCH,
    "low": Priority.BATCH,
}
"""What callers may call the classes."""
_FILE_FORMATS = ("wav", "opus", "mp3", "flac")
_CONTROLS = ("temperature", "exaggeration", "cfg_weight", "speed_factor")
_SHOWN_NAMES = 20
AUTO = "auto"
"""The language that is told from the text."""

Tag = Annotated[str, Field(min_length=1, max_length=64)]


def known_priority(value: str | None) -> str | None:
    """A class by one of its names, in lower case; "" is None. For validators of bodies."""
    if value is not None and value.lower() not in PRIORITIES:
        raise ValueError(f"must be one of {', '.join(PRIORITIES)}")
    return value.lower() if value else None


class SpeechBody(BaseModel):
    """Body of ``POST /tts`` and ``POST /tts/enqueue``. Unknown fields are ignored, numeric strings are coerced."""

    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False)

    text: str = Field(description="What to speak.")
    engine: str | None = Field(None, description="One of `GET /engines`; null: the active one.")
    voice_mode: VoiceMode = VoiceMode.PREDEFINED
    predefined_voice_id: str | None = Field(None, description="Name of a predefined voice, with or without extension.")
    reference_audio_filename: str | None = Field(None, description="Reference recording for voice_mode clone.")
    output_format: str | None = Field("wav", description="wav, opus, mp3 or flac; null: as configured.")
    split_text: bool | None = True
    chunk_size: int | None = Field(120, ge=50, le=500, description="Longest segment, in characters.")
    temperature: float | None = Field(None, ge=0, le=1.5)
    exaggeration: float | None = Field(None, ge=0, le=2)
    cfg_weight: float | None = Field(None, ge=0, le=2)
    speed_factor: float | None = Field(None, ge=0.25, le=4)
    seed: int | None = Field(None, ge=-1, le=2**32 - 1, description="0 and -1: drawn at submit.")
    language: str | None = Field(None, description="Such as en; auto: as the text looks.")
    stream: bool | None = False
    priority: str | None = Field(None, description="interactive, normal or batch.")
    tags: list[Tag] = Field(default_factory=list, max_length=32)
    webhook_url: str | None = Field(None, description="Told of the job's end; http or https.")
    input_type: InputType | None = Field(
        InputType.AUTO,
        description="ssml; text: with markers such as [pause 1s]; plain: brackets and tags mean nothing; "
        "auto: ssml when it begins with <speak>, else text.",
    )
    pronunciations: JobPronunciations = Field(
        default_factory=tuple, description="How words of this text are spoken; they win over the dictionary."
    )

    @field_validator("text")
    @classmethod
    def _not_blank(cls, value: str) -> str:
        if not value or value.isspace():
            raise ValueError("must not be blank")
        return value

    @field_validator("output_format")
    @classmethod
    def _known_format(cls, value: str | None) -> str | None:
        if value is not None and value.lower() not in _FILE_FORMATS:
            raise ValueError(f"must be one of {', '.join(_FILE_FORMATS)}, or null")
        return value.lower() if value else None

    @field_validator("priority")
    @classmethod
    def _known_priority(cls, value: str | None) -> str | None:
        return known_priority(value)

    def fingerprint(self) -> str:
        """Hash of the validated body before the seed is drawn; equal bodies have equal fingerprints."""
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Resolved:
    """A body with every default looked up."""

    request: SpeechRequest
    priority: Priority
    warnings: tuple[str, ...]
    dictionary: Frozen = EMPTY


@dataclass(frozen=True, slots=True)
class Reading:
    """What was read beside the body when it came."""

    script: Script
    """What the text asks for by its markup."""
    dictionary: Frozen = EMPTY
    trouble: str | None = None
    """What is wrong with the dictionary."""


def check_size(body: SpeechBody, settings: Settings) -> None:
    """Refuse a text that is too long.

    Raises:
        TooLarge: It is over ``limits.max_text_chars``.
    """
    limit = settings.limits.max_text_chars
    if len(body.text) > limit:
        raise TooLarge(
            f"text has {len(body.text):,} characters; the limit is {limit:,} (limits.max_text_chars)", "text"
        )


def resolve(
    body: SpeechBody,
    settings: Settings,
    described: EngineDescription,
    references: Sequence[str],
    cloning: Sequence[str],
    default: Priority,
    reading: Reading,
    limits: Limits = NO_LIMITS,
) -> Resolved:
    """Look up everything the body leaves open, once, so that nothing changes between submit and speech.

    Args:
        body: The validated body.
        settings: Where defaults come from.
        described: The engine that will speak.
        references: Names of the reference recordings, when one is wanted.
        cloning: The engines that clone, for an error that names them.
        default: Priority class when the body names none.
        reading: What was read beside the body.
        limits: What the caller is granted.

    Raises:
        NotFound: An explicit voice, a voice that the text calls or reference that does not exist; names those there are.
        InvalidInput: Clone mode without a reference, or with an engine that cannot clone (status 400).
        Unavailable: The engine has no voice at all.
    """
    if body.webhook_url is not None:
        check_url(body.webhook_url, Policy(settings.webhooks.allow_private, settings.webhooks.hosts), "webhook_url")
    warnings = [*reading.script.warnings, *([reading.trouble] if reading.trouble else [])]
    clone = body.voice_mode is VoiceMode.CLONE
    language = _wanted_language(body, settings)
    voice = _voice(body, settings, described, language if body.language else None, warnings)
    name = _reference(body, described, references, cloning) if clone else voice.id
    output = settings.audio_output
    seed = settings.generation_defaults.seed if body.seed is None else body.seed
    language = _language(body, language, voice, warnings)
    cast = _cast(reading.script, described, language)
    request = SpeechRequest(
        engine=described.info.name,
        voice=name,
        voice_mode=body.voice_mode,
        language=language,
        output_format=AudioFormat(body.output_format or output.format),
        split_text=body.split_text is not False,
        chunk_size=body.chunk_size or 120,
        controls=_controls(body, settings, described, warnings),
        seed=seed if seed > 0 else 1 + secrets.randbelow(2**32 - 1),
        pauses=Pauses(
            output.pause_clause_sec, output.pause_sentence_sec, output.pause_paragraph_sec, output.pause_heading_sec
        ),
        gain_db=0.0 if clone else voice.gain_db,
        loudness_lufs=output.loudness_lufs,
        markup=reading.script.markup,
        cast=cast,
        rate=_common_rate(described.info.sample_rate if clone else voice.sample_rate, cast, described.voices),
        pronunciations=body.pronunciations,
        lexicon=reading.dictionary.digest,
    )
    priority = granted(PRIORITIES[body.priority], limits, warnings) if body.priority else max(default, limits.priority)
    return Resolved(request, priority, tuple(warnings), reading.dictionary)


def granted(asked: Priority, limits: Limits, warnings: list[str]) -> Priority:
    """The class that was asked for, or the highest that the caller may have, with a warning."""
    if asked >= limits.priority:
        return asked
    warnings.append(
        f"priority {asked.name.lower()} is more than this key is granted; taken as {limits.priority.name.lower()}"
    )
    return limits.priority


def named_voice(described: EngineDescription, name: str) -> Voice:
    """The voice of an engine that a request names.

    Raises:
        NotFound: It has none of that name; names those it has.
        InvalidInput: It is a blend that cannot be.
    """
    voice = described.voice(name)
    if voice is not None:
        return voice
    if described.info.mixes_voices:
        try:
            parse_blend(name)
        except ValueError as error:
            raise InvalidInput(f"predefined_voice_id: {error}", "predefined_voice_id") from None
    raise NotFound(
        f"predefined_voice_id: there is no voice {name[:100]!r}; there are {_listed([v.id for v in described.voices])}",
        "predefined_voice_id",
    )


def _voice(
    body: SpeechBody, settings: Settings, described: EngineDescription, language: str | None, warnings: list[str]
) -> Voice:
    voices = described.voices
    if not voices:
        raise Unavailable(
            f"engine {described.info.name} has no voice; put one into {settings.tts_engine.predefined_voices_path}, "
            "or fetch some with: rhapsode voices install"
        )
    wanted = body.predefined_voice_id
    if wanted and body.voice_mode is VoiceMode.PREDEFINED:
        return named_voice(described, wanted)
    speaks = [v for v in voices if code_of(v.language) == code_of(language)] if language else []
    default = settings.tts_engine.default_voice_id
    if body.language and body.language.lower() == AUTO and speaks:
        return next((v for v in speaks if default and v == described.voice(default)), speaks[0])
    if default:
        voice = described.voice(default)
        if voice:
            return voice
        if described.info.name == settings.engine.name:
            warnings.append(f"the default voice {default!r} is not available; speaking with {voices[0].id!r}")
    return voices[0]


def _reference(
    body: SpeechBody,
    described: EngineDescription,
    references: Sequence[str],
    cloning: Sequence[str],
) -> str:
    field = "reference_audio_filename"
    name = body.reference_audio_filename
    if not name:
        raise InvalidInput(f"{field} is required when voice_mode is 'clone'", field, 400)
    if not described.info.can_clone:
        raise InvalidInput(
            f"voice_mode: engine {described.info.name!r} cannot clone a voice; these can: {_listed(cloning)}",
            "voice_mode",
            400,
        )
    if name not in references:
        raise NotFound(f"{field}: there is no recording {name[:100]!r}; there are {_listed(references)}", field)
    return name


def _wanted_language(body: SpeechBody, settings: Settings) -> str:
    """What the body asks for, what the text looks like, or what is configured."""
    if body.language and body.language.lower() == AUTO:
        return detect(body.text) or settings.generation_defaults.language
    return body.language or settings.generation_defaults.language


def _language(body: SpeechBody, wanted: str, voice: Voice, warnings: list[str]) -> str:
    if code_of(wanted) != code_of(voice.language):
        if body.language:
            warnings.append(f"voice {voice.id!r} speaks {voice.language!r}, not {wanted[:40]!r}")
        return voice.language
    return wanted


def _cast(script: Script, described: EngineDescription, language: str) -> tuple[Part, ...]:
    """The voices that a text calls; one that does not speak the job's language speaks its own."""
    parts: list[Part] = []
    for name, (line, column) in script.voices.items():
        folded = (v for v in described.voices if v.id.casefold() == name.casefold())
        voice = described.voice(name) or next(folded, None)
        if voice is None:
            raise NotFound(
                f"text: line {line}, column {column}: there is no voice {name[:100]!r}; there are "
                f"{_listed([v.id for v in described.voices])}; input_type plain reads brackets and tags as text",
                "text",
                (line, column),
            )
        own = voice.language if code_of(voice.language) != code_of(language) else language
        parts.append(Part(name, voice.id, own, voice.gain_db))
    return tuple(parts)


def _common_rate(own: int, cast: Sequence[Part], voices: Sequence[Voice]) -> int:
    """The highest sample rate of the voices of a text when they differ, else 0. ``own`` is that of the job's voice, 0 if unknown."""
    called = {part.voice for part in cast}
    rates = {own, *(voice.sample_rate for voice in voices if voice.id in called)}
    return max(rates) if len(rates) > 1 else 0


def _controls(
    body: SpeechBody, settings: Settings, described: EngineDescription, warnings: list[str]
) -> Mapping[str, float]:
    given: Mapping[str, Any] = {name: getattr(body, name) for name in _CONTROLS}
    controls: dict[str, float] = {}
    for name in _CONTROLS:
        control = described.info.control(name)
        if control is None:
            if given[name] is not None:
                warnings.append(f"engine {described.info.name!r} has no {name}; it is left out")
            continue
        value = getattr(settings.generation_defaults, name) if given[name] is None else given[name]
        controls[name] = _within(control, value, warnings)
    return controls


def _within(control: Control, value: float, warnings: list[str]) -> float:
    inside = min(max(value, control.minimum), control.maximum)
    if inside != value:
        warnings.append(
            f"{control.name} {value:g} is outside {control.minimum:g}–{control.maximum:g}; taken as {inside:g}"
        )
    return inside


def _listed(names: Sequence[str]) -> str:
    if not names:
        return "none"
    rest = len(names) - _SHOWN_NAMES
    return ", ".join(names[:_SHOWN_NAMES]) + (f" and {rest} more" if rest > 0 else "")
