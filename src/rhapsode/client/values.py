"""What a server says, as frozen values. What it says beyond that is ignored, so that older clients read newer servers."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from rhapsode.model import JobStatus, SegmentStatus


@dataclass(frozen=True, slots=True)
class SegmentCounts:
    """Segments of a job."""

    done: int = 0
    failed: int = 0
    total: int = 0
    planned: bool = False
    """Whether ``total`` is final: long texts are still being planned while the first segments speak."""


@dataclass(frozen=True, slots=True)
class CharCounts:
    """Characters of a job's text."""

    done: int = 0
    total: int = 0


@dataclass(frozen=True, slots=True)
class Metrics:
    """What a job took."""

    queue_seconds: float = 0.0
    synth_seconds: float = 0.0
    realtime_factor: float | None = None
    """Synthesis seconds per second of audio."""
    first_audio_seconds: float | None = None
    """From submit to the first stored take."""


@dataclass(frozen=True, slots=True)
class Eta:
    """Seconds until a job is done: the median, and what nine of ten keep."""

    p50: float
    p90: float


@dataclass(frozen=True, slots=True)
class ResultInfo:
    """The finished file."""

    bytes: int
    audio_seconds: float
    revision: int
    """1, then one more for each segment made again."""


@dataclass(frozen=True, slots=True)
class JobInfo:
    """A job as ``GET /tts/{id}/status`` shows it. Times are ISO 8601, UTC."""

    job_id: str
    status: JobStatus
    progress: float = 0.0
    """Percent."""
    created_at: str | None = None
    started_at: str | None = None
    completed_at: str | None = None
    elapsed_sec: float | None = None
    error: str | None = None
    queue_position: int | None = None
    eta_seconds: Eta | None = None
    run: int = 1
    segments: SegmentCounts = field(default_factory=SegmentCounts)
    chars: CharCounts = field(default_factory=CharCounts)
    audio_seconds: float = 0.0
    metrics: Metrics = field(default_factory=Metrics)
    priority: str = ""
    tags: tuple[str, ...] = ()
    seed: int = 0
    engine: str = ""
    voice: str = ""
    voices: tuple[str, ...] = ()
    """It, and those that the text calls."""
    output_format: str = ""
    warnings: tuple[str, ...] = ()
    waiting_for: str | None = None
    expires_at: str | None = None
    kept: bool = False
    result: ResultInfo | None = None
    """None until it is completed."""
    text_excerpt: str = ""
    """How the text begins; only in lists and from :meth:`Client.job`."""
    batch_id: str | None = None
    custom_id: str | None = None
    request: Mapping[str, Any] | None = None
    """The body that asks for the same again, without its text; only from :meth:`Client.job` and :meth:`Client.change`."""


@dataclass(frozen=True, slots=True)
class JobPage:
    """Jobs, newest first, and where older ones go on (None: nowhere)."""

    jobs: tuple[JobInfo, ...]
    next_cursor: str | None = None


@dataclass(frozen=True, slots=True)
class JobEvent:
    """Something that happened to a job."""

    job_id: str
    seq: int
    """The job's own counter: 1, 2, 3 …"""
    type: str
    """Such as ``segment.done`` and ``job.completed``; ``resync``: earlier ones are pruned, and ``data`` is the status."""
    at: str = ""
    data: Mapping[str, Any] = field(default_factory=dict)
    cursor: str = ""
    """Where a stream of all jobs' events goes on behind this one."""


@dataclass(frozen=True, slots=True)
class SegmentAudio:
    """Where a segment lies in the finished audio, seconds; None until all before it is spoken."""

    duration_seconds: float
    start_seconds: float | None = None
    end_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Word:
    """A spoken word, seconds from the start of its segment."""

    text: str
    start_seconds: float
    end_seconds: float


@dataclass(frozen=True, slots=True)
class SegmentInfo:
    """A planned span of a text, and what became of it."""

    index: int
    text: str
    start: int
    """Offset of its first character in the text."""
    end: int
    status: SegmentStatus | None = None
    """None in a plan."""
    boundary: str = ""
    voice: str = ""
    pause_before_seconds: float | None = None
    """That the text asks for; None: as what ends the segment before it."""
    speed: float = 1.0
    """How much faster than the rest."""
    attempt: int = 0
    failures: int = 0
    variant: int = 0
    error: str | None = None
    audio: SegmentAudio | None = None
    words: tuple[Word, ...] = ()


@dataclass(frozen=True, slots=True)
class SegmentPage:
    """Segments in order, and where more begin (None: nowhere)."""

    segments: tuple[SegmentInfo, ...]
    next_start: int | None = None


@dataclass(frozen=True, slots=True)
class PlanTotals:
    """Of a whole text."""

    segments: int
    chars: int
    spoken_chars: int


@dataclass(frozen=True, slots=True)
class PlanInfo:
    """What would become of a text."""

    totals: PlanTotals
    segments: tuple[SegmentInfo, ...] = ()
    """The first thousand."""
    segments_truncated: bool = False
    engine: str = ""
    voice: str = ""
    priority: str = ""
    output_format: str = ""
    audio_seconds: float | None = None
    """None before this voice has spoken."""
    eta_seconds: Eta | None = None
    disk_bytes: int | None = None
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class RequestCounts:
    """How many requests of a batch have come to what."""

    total: int
    queued: int = 0
    running: int = 0
    completed: int = 0
    failed: int = 0
    cancelled: int = 0
    refused: int = 0
    deleted: int = 0


@dataclass(frozen=True, slots=True)
class RefusedRequest:
    """A request of a batch that was not taken."""

    index: int
    detail: str
    custom_id: str | None = None
    status: int = 0
    code: str = ""


@dataclass(frozen=True, slots=True)
class BatchJob:
    """The job that was made for a request of a batch."""

    index: int
    job_id: str
    custom_id: str | None = None


@dataclass(frozen=True, slots=True)
class BatchInfo:
    """Many jobs that were submitted together."""

    batch_id: str
    status: str
    """``running``, or ``completed`` once all have ended, however."""
    request_counts: RequestCounts
    progress: float = 0.0
    errors: tuple[RefusedRequest, ...] = ()
    created_at: str | None = None
    ended_at: str | None = None
    jobs: tuple[BatchJob, ...] = ()
    """Only from :meth:`Client.submit_batch`."""


@dataclass(frozen=True, slots=True)
class VoiceInfo:
    """A voice that the server can speak."""

    display_name: str
    filename: str


@dataclass(frozen=True, slots=True)
class SpeechOptions:
    """How to speak a text; what is None is left to the server. The names are those of the request's body."""

    predefined_voice_id: str | None = None
    output_format: str | None = None
    speed_factor: float | None = None
    seed: int | None = None
    language: str | None = None
    chunk_size: int | None = None
    temperature: float | None = None
    priority: str | None = None
    exaggeration: float | None = None
    cfg_weight: float | None = None
    split_text: bool | None = None
    reference_audio_filename: str | None = None
    """A recording to speak like, instead of a predefined voice."""
    tags: tuple[str, ...] | None = None
    webhook_url: str | None = None
    engine: str | None = None
    input_type: str | None = None
    """``auto``, ``text`` (with markers), ``ssml`` or ``plain``."""
    pronunciations: Mapping[str, str] | str | None = None
    """Words of this text: word to respelling, or to IPA between slashes; or a W3C lexicon (PLS) as text."""

    def body(self, text: str) -> dict[str, object]:
        """The request's body. ``output_format`` is always there: its absence would mean WAV."""
        given = {name: getattr(self, name) for name in self.__dataclass_fields__}
        body = {"text": text} | {k: v for k, v in given.items() if v is not None or k == "output_format"}
        return body | ({"voice_mode": "clone"} if self.reference_audio_filename else {})


DEFAULTS = SpeechOptions()
"""Everything is left to the server."""


@dataclass(frozen=True, slots=True)
class BatchItem:
    """One text of a batch."""

    text: str
    options: SpeechOptions = DEFAULTS
    custom_id: str | None = None
    """What you call it; its file in the archive is named after it."""
