"""What answers about segments and the timeline look like."""

from pydantic import BaseModel, ConfigDict, Field

from rhapsode.model import Boundary, SegmentStatus


class _Answer(BaseModel):
    """No more and no less than what is declared."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class SegmentAudio(_Answer):
    """Where a segment lies in the finished audio, seconds."""

    start_seconds: float | None = Field(description="Null until all segments before it are spoken.")
    end_seconds: float | None
    duration_seconds: float


class Word(_Answer):
    """A spoken word, seconds from the start of its segment's audio."""

    text: str = Field(description="As it was spoken: numbers and abbreviations in words.")
    start_seconds: float
    end_seconds: float


class SegmentInfo(_Answer):
    """A planned span of the text, and what became of it."""

    index: int
    status: SegmentStatus
    text: str
    start: int = Field(description="Offset of its first character in the text, in code points.")
    end: int = Field(description="Offset behind its last character.")
    chars: int
    boundary: Boundary = Field(description="What ends it in the text; decides the pause after it.")
    voice: str
    pause_before_seconds: float | None = Field(description="That the text asks for; null: as what ends the one before.")
    speed: float = Field(description="How much faster than the rest.")
    attempt: int
    failures: int
    variant: int = Field(description="How often it was made again with another seed.")
    error: str | None
    audio: SegmentAudio | None = Field(description="Null until it is spoken.")
    words: list[Word] = Field(default=[], description="Only with `words=true`; empty when the engine gives no timings.")
    links: dict[str, str]


class Segments(_Answer):
    """Some of a job's segments, in order."""

    segments: list[SegmentInfo]
    next_start: int | None = Field(description="`start` of the next answer; null when there are no more now.")
    total: int = Field(description="Planned so far.")
    plan_done: bool = Field(description="Whether `total` is final.")


class PeaksAnswer(_Answer):
    """A waveform: lowest and highest sample of each of many equal stretches."""

    points: int = Field(description="Length of `min` and `max`; no more than there are samples.")
    sample_rate: int = Field(description="Hz; 0 before the first sound.")
    duration_seconds: float
    min: list[float] = Field(description="-1 … 1, three digits.")
    max: list[float]
