"""What answers about voices and engines look like."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class _Answer(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class VoiceInfo(_Answer):
    """Something to speak with."""

    id: str = Field(description="Stable name; of a recording `reference:` and its file name.")
    kind: Literal["predefined", "reference"]
    name: str = Field(description="For people.")
    filename: str = Field(description="What requests call it: `predefined_voice_id` or `reference_audio_filename`.")
    engine: str | None = Field(description="Which speaks it; null for a recording.")
    language: str | None
    language_name: str | None
    sample_rate: int | None = Field(description="Hz.")
    bytes: int | None = Field(description="Size of a recording.")
    consent: Literal["given", "unknown"] | None = Field(
        description="Of a recording: whether it was said that its speaker agreed to being cloned, when it was sent."
    )
    consent_statement: str | None = Field(description="In words, if words were sent.")
    consent_at: str | None = Field(description="When that was, UTC.")
    default: bool = Field(description="Whether requests that name no voice get this one.")
    editable: bool = Field(description="Whether it can be renamed and deleted.")
    links: dict[str, str]


class VoiceList(_Answer):
    """All voices, predefined ones first."""

    voices: list[VoiceInfo]


class ControlInfo(_Answer):
    """One knob of an engine."""

    name: str
    minimum: float
    maximum: float
    default: float = Field(description="As configured in generation_defaults.")
    help: str


class EngineDetails(_Answer):
    """What an engine is and can do."""

    name: str
    active: bool = Field(description="Whether it speaks when a request names none.")
    offered: bool = Field(description="Whether requests can name it.")
    loaded: bool = Field(description="Whether it is in memory; others are loaded when they are named.")
    state: str = Field(description="`ready`, what it waits for, or why it is not offered.")
    revision: str | None
    determinism: Literal["exact", "seeded", "none"] | None
    device: str | None
    max_chars: int | None = Field(description="Longest segment.")
    can_clone: bool | None
    mixes_voices: bool | None = Field(description="Whether a voice may be a blend, as `af_heart:0.6+bf_emma:0.4`.")
    reads_numbers: bool | None = Field(description="Numbers and abbreviations are left to it.")
    reads_digits: bool | None = Field(description="Numbers in languages other than English are left to it.")
    takes_ipa: bool | None = Field(description="Pronunciations in IPA reach it.")
    controls: list[ControlInfo]
    tags: list[str] = Field(description="Such as `[sigh]`.")
    languages: dict[str, str] = Field(description="Of its voices: code and name.")
    voices: int | None
    realtime_factor: float | None = Field(
        description="Seconds of one worker per second of audio, as measured lately; null before the first segment."
    )


class EngineList(_Answer):
    """The engines that are installed."""

    engines: list[EngineDetails]
