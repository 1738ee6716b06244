"""What answers look like, for OpenAPI and for the tests that hold real answers against it. Requests stand with their routes."""

from typing import Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from rhapsode.model import Boundary, JobStatus


class _Answer(BaseModel):
    """No more and no less than what is declared."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class FieldError(_Answer):
    """One thing that is wrong with a request."""

    pointer: str = Field(description="JSON pointer into the body, or the name of a parameter or header.")
    detail: str = Field(description="What is wrong, with its bounds.")
    line: int | None = Field(None, description="Of a text with markup: where, counted from 1.")
    column: int | None = None


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


class ResultInfo(_Answer):
    """The finished file."""

    bytes: int
    audio_seconds: float = Field(
        description="Its length, pauses included; 0 for a file that is not ours (a callback's)."
    )
    revision: int = Field(description="1, then one more for each segment made again.")


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
    voices: list[str] = Field(description="It, and those that the text calls.")
    output_format: str
    warnings: list[str]
    waiting_for: str | None = Field(description="Why nothing of it can run now.")
    expires_at: AwareDatetime | None
    kept: bool
    result: ResultInfo | None = Field(description="Null until it is completed.")
    links: dict[str, str]


class Listed(Status):
    """A job in a list."""

    text_excerpt: str = Field(description="How the text begins, in one line.")
    batch_id: str | None
    custom_id: str | None = Field(description="What its batch calls it.")


class Resource(Listed):
    """A job, with what was asked for."""

    request: dict[str, str | int | float | bool | list[str] | list[dict[str, str | bool]] | None] = Field(
        description="The body that asks for the same again, without its text."
    )


class JobList(_Answer):
    """Jobs, newest first."""

    jobs: list[Listed]
    next_cursor: str | None


class PlannedSegment(_Answer):
    """A span of the text that would be spoken in one go."""

    index: int
    start: int = Field(description="Offset in the text.")
    end: int
    text: str
    chars: int
    boundary: Boundary
    voice: str
    pause_before_seconds: float | None = Field(description="That the text asks for; null: as what ends the one before.")
    speed: float = Field(description="How much faster than the rest.")


class PlanTotals(_Answer):
    """Of the whole text."""

    segments: int
    chars: int
    spoken_chars: int = Field(description="Characters that the engine would get: numbers written out, and so on.")


class Plan(_Answer):
    """What would happen."""

    segments: list[PlannedSegment] = Field(description="The first thousand.")
    segments_truncated: bool
    totals: PlanTotals
    engine: str
    voice: str
    priority: Literal["interactive", "normal", "batch"]
    output_format: str
    audio_seconds: float | None = Field(description="As this voice spoke lately; null before its first segment.")
    eta_seconds: Eta | None = Field(description="Until it would be done, behind all that waits.")
    disk_bytes: int | None = Field(description="Of segments and file together.")
    warnings: list[str]


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


class RedoInfo(_Answer):
    """A job that makes a segment of another one again."""

    job_id: str
    segment: int
    status: JobStatus
    links: dict[str, str]


class RedoAccepted(Status):
    """A completed job, a segment of which is made again."""

    redo: RedoInfo


class RequestCounts(_Answer):
    """How many requests of a batch have come to what."""

    total: int
    queued: int
    running: int
    completed: int
    failed: int
    cancelled: int
    refused: int = Field(description="They never became jobs; see `errors`.")
    deleted: int


class RefusedRequest(_Answer):
    """A request of a batch that was not taken."""

    index: int
    custom_id: str | None
    status: int = Field(description="The HTTP status it would have got alone.")
    code: str
    detail: str
    errors: list[FieldError]


class BatchStatus(_Answer):
    """Where a batch stands."""

    batch_id: str
    status: Literal["running", "completed"] = Field(description="completed: all its jobs have ended, however.")
    progress: float = Field(ge=0, le=100, description="Percent of the characters.")
    request_counts: RequestCounts
    errors: list[RefusedRequest]
    created_at: AwareDatetime
    ended_at: AwareDatetime | None
    links: dict[str, str]


class BatchJob(_Answer):
    """A job that was made for a request of a batch."""

    index: int
    custom_id: str | None
    job_id: str


class BatchAccepted(BatchStatus):
    """A batch was stored."""

    jobs: list[BatchJob]


class BatchList(_Answer):
    """Batches, newest first."""

    batches: list[BatchStatus]
    next_cursor: str | None


class IndexedJob(Listed):
    """A job of a batch."""

    index: int = Field(description="Place of its request in the batch.")


class BatchJobs(_Answer):
    """Jobs of a batch, in order."""

    jobs: list[IndexedJob]
    next_start: int | None


class BatchCancelled(_Answer):
    """What was done."""

    message: str
    cancelled: int = Field(description="Jobs that were unfinished.")


class Message(_Answer):
    """What was done."""

    message: str
