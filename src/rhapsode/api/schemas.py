"""What answers look like, for OpenAPI and for the tests that hold real answers against it. Requests stand with their routes."""

from typing import Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from rhapsode.model import JobStatus


class _Answer(BaseModel):
    """No more and no less than what is declared."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class FieldError(_Answer):
    """One thing that is wrong with a request."""

    pointer: str = Field(description="JSON pointer into the body, or the name of a parameter or header.")
    detail: str = Field(description="What is wrong, with its bounds.")


class ProblemDetails(BaseModel):
    """An error (RFC 9457)."""

    model_config = ConfigDict(extra="allow", frozen=True)

    type: str = Field(description="Stable URI of the kind of error; docs/errors.md lists them.")
    title: str
    status: int
    code: str = Field(description="Stable word for programs, the end of `type`.")
    detail: str = Field(description="One sentence for people.")
    request_id: str = Field(description="Also the header X-Request-Id, and in the server's log.")
    errors: list[FieldError] = Field(default=[], description="One entry per wrong field.")


class Eta(_Answer):
    """Seconds until the job is done."""

    p50: float = Field(description="Median.")
    p90: float = Field(description="Pessimistic.")


class SegmentCounts(_Answer):
    """Progress by segments."""

    done: int
    failed: int
    total: int = Field(description="Planned so far.")
    planned: bool = Field(description="Whether `total` is final.")


class CharCounts(_Answer):
    """Progress by characters."""

    done: int
    total: int


class Metrics(_Answer):
    """How it went."""

    queue_seconds: float
    synth_seconds: float = Field(description="Added up over all workers.")
    realtime_factor: float | None = Field(description="Synthesis seconds per second of audio; lower is better.")
    first_audio_seconds: float | None = Field(description="From submit to the first take.")


class Status(_Answer):
    """Where a job stands."""

    job_id: str
    status: JobStatus
    progress: float = Field(ge=0, le=100, description="Percent; at most 99 before the result is there.")
    current_chunk: int = Field(description="Finished segments.")
    total_chunks: int
    created_at: AwareDatetime
    started_at: AwareDatetime | None
    completed_at: AwareDatetime | None
    elapsed_sec: float | None
    error: str | None
    queue_position: int | None = Field(description="1 for the next; null once it runs.")
    eta_seconds: Eta | None
    run: int = Field(description="1, then one more per retry.")
    segments: SegmentCounts
    chars: CharCounts
    audio_seconds: float
    metrics: Metrics
    priority: Literal["interactive", "normal", "batch"]
    tags: list[str]
    seed: int
    engine: str
    voice: str
    output_format: str
    warnings: list[str]
    waiting_for: str | None = Field(description="Why nothing of it can run now.")
    expires_at: AwareDatetime | None
    kept: bool
    links: dict[str, str]


class Enqueued(_Answer):
    """A job was stored."""

    job_id: str
    status: JobStatus
    message: str
    status_url: str
    result_url: str
    seed: int
    warnings: list[str]
    links: dict[str, str]


class Message(_Answer):
    """What was done."""

    message: str
