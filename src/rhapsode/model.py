"""The values everything else speaks about. Frozen: state changes only through the ledger's named transitions."""

import hashlib
import re
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum, StrEnum


class JobStatus(StrEnum):
    """Where a job stands. Only ``retry`` leaves FAILED or CANCELLED; nothing leaves COMPLETED."""

    QUEUED = "queued"
    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def is_terminal(self) -> bool:
        """True for completed, failed and cancelled."""
        return self in TERMINAL


TERMINAL = frozenset({JobStatus.COMPLETED, JobStatus.FAILED, JobStatus.CANCELLED})

TRANSITIONS: Mapping[JobStatus, frozenset[JobStatus]] = {
    JobStatus.QUEUED: frozenset({JobStatus.RUNNING, JobStatus.FAILED, JobStatus.CANCELLED}),
    JobStatus.RUNNING: TERMINAL,
    JobStatus.COMPLETED: frozenset(),
    JobStatus.FAILED: frozenset({JobStatus.QUEUED}),
    JobStatus.CANCELLED: frozenset({JobStatus.QUEUED}),
}


class SegmentStatus(StrEnum):
    """Where a segment stands. PENDING includes one that will be tried again."""

    PENDING = "pending"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"


class Priority(IntEnum):
    """Priority class; lower is served first."""

    INTERACTIVE = 0
    NORMAL = 1
    BATCH = 2


class VoiceMode(StrEnum):
    """What a job speaks with: a voice of the library, or a reference recording."""

    PREDEFINED = "predefined"
    CLONE = "clone"


class AudioFormat(StrEnum):
    """Formats of finished files and live streams (the last two are live only)."""

    WAV = "wav"
    FLAC = "flac"
    MP3 = "mp3"
    OPUS = "opus"
    AAC = "aac"
    PCM = "pcm"


class Boundary(StrEnum):
    """What ends a segment in the text; decides the pause after it."""

    NONE = "none"  # cut inside a clause, only because the text was too long
    CLAUSE = "clause"
    SENTENCE = "sentence"
    PARAGRAPH = "paragraph"
    HEADING = "heading"


@dataclass(frozen=True, slots=True)
class Pauses:
    """Silence after a segment, in seconds, by what ends it."""

    clause_s: float = 0.15
    sentence_s: float = 0.35
    paragraph_s: float = 0.7
    heading_s: float = 0.9

    def after(self, boundary: Boundary) -> float:
        """Seconds of silence after a segment that ends with ``boundary``."""
        return {
            Boundary.NONE: 0.0,
            Boundary.CLAUSE: self.clause_s,
            Boundary.SENTENCE: self.sentence_s,
            Boundary.PARAGRAPH: self.paragraph_s,
            Boundary.HEADING: self.heading_s,
        }[boundary]


class Markup(StrEnum):
    """What stands between the words of a text."""

    PLAIN = "plain"  # nothing: brackets and tags are text
    MARKERS = "markers"  # [pause 1s], [voice:name]
    SSML = "ssml"


@dataclass(frozen=True, slots=True)
class Part:
    """A voice that a text calls by name, resolved at submit."""

    name: str
    """As the text has it."""
    voice: str
    """Id."""
    language: str
    gain_db: float = 0.0
    """Fixed gain of the voice on the timeline."""


@dataclass(frozen=True, slots=True)
class Pronunciation:
    """How a word or phrase is spoken. An entry of a dictionary: see :mod:`rhapsode.text.lexicon`."""

    word: str
    say: str | None = None
    """Respelling that any engine reads as it should."""
    ipa: str | None = None
    """Phonemes in the International Phonetic Alphabet, for engines that take them."""
    language: str | None = None
    """Only in texts of this language; None: in all."""
    match_case: bool | None = None
    """None: only a word that is written with a capital letter here must have its capitals."""


@dataclass(frozen=True, slots=True)
class SpeechRequest:
    """What to speak with, fully resolved at submit: no default is looked up later. The text is stored beside it."""

    engine: str
    voice: str
    voice_mode: VoiceMode = VoiceMode.PREDEFINED
    reference: str | None = None
    """SHA-256 of the clip whose voice is cloned; ``voice`` is then the recording's name when the job was submitted."""
    language: str = "en"
    output_format: AudioFormat = AudioFormat.WAV
    split_text: bool = True
    chunk_size: int = 120
    controls: Mapping[str, float] = field(default_factory=dict)
    """Engine controls by name (``temperature``, ``speed_factor`` …), only those the engine has."""
    seed: int = 1
    """1 … 2³²-1, already drawn."""
    pauses: Pauses = field(default_factory=Pauses)
    gain_db: float = 0.0
    """Fixed gain of the voice on the timeline."""
    loudness_lufs: float | None = None
    """Target of the two-pass loudness normalisation of the final file; None leaves it out."""
    markup: Markup = Markup.PLAIN
    cast: tuple[Part, ...] = ()
    """Voices that the text calls beside :attr:`voice`."""
    rate: int = 0
    """Sample rate of all takes, Hz; 0: as the voice has it."""
    pronunciations: tuple[Pronunciation, ...] = ()
    """Of this job alone; they win over the dictionary's."""
    lexicon: str | None = None
    """Digest of the dictionary as it was at submit, which the ledger keeps; None: there was none."""

    def part(self, voice: str | None) -> Part | None:
        """The part that ``voice`` (an id) has; None for the job's own voice."""
        return next((part for part in self.cast if part.voice == voice), None)


@dataclass(frozen=True, slots=True)
class Joint:
    """How a take is joined to the one before it and the one behind it."""

    boundary: Boundary
    """What ends it in the text; decides the pause after it."""
    lead_ms: int | None = None
    """Silence before it that the text asks for, milliseconds, instead of the pause after the take before it."""
    gain_db: float | None = None
    """Of its voice; None: as the timeline has it."""


@dataclass(frozen=True, slots=True)
class Segment:
    """A planned span of text: the unit of synthesis, checkpoint, retry and progress."""

    index: int
    start: int
    """Offset of the first character in the job's text, in code points."""
    end: int
    """Offset behind the last character."""
    text: str
    """The span as the user wrote it, stripped."""
    spoken: str
    """What the engine gets: normalised, never empty; sentences are separated by a newline, ``[[`` and ``]]`` enclose IPA."""
    boundary: Boundary
    voice: str | None = None
    """Id of the voice; None: the job's own."""
    lead_ms: int | None = None
    """As in :class:`Joint`."""
    speed: float = 1.0
    """How much faster than the job's own speed."""

    @property
    def joint(self) -> Joint:
        """How its take is placed; the gain of its voice stands in the request."""
        return Joint(self.boundary, self.lead_ms)


@dataclass(frozen=True, slots=True)
class WordTiming:
    """One spoken word inside a take."""

    text: str
    start: int
    """First sample, counted from the start of the take."""
    end: int
    """Sample behind the last."""


@dataclass(frozen=True, slots=True)
class Take:
    """The rendered audio of one segment, as the ledger knows it. Its bytes are a mono 16-bit WAV file."""

    digest: str
    """SHA-256 of the bytes, hex; also their name in the blob store."""
    samples: int
    rate: int
    """Hz."""
    size: int
    """Bytes."""
    synth_seconds: float
    words: tuple[WordTiming, ...] = ()


@dataclass(frozen=True, slots=True)
class SegmentState:
    """A segment with what became of it."""

    segment: Segment
    status: SegmentStatus = SegmentStatus.PENDING
    attempt: int = 0
    failures: int = 0
    variant: int = 0
    take: Take | None = None
    error: str | None = None


@dataclass(frozen=True, slots=True)
class Result:
    """The finished file of a job."""

    name: str
    """Its name in the result store, also the file name offered for download."""
    format: AudioFormat
    size: int
    """Bytes."""
    digest: str
    """SHA-256 of the bytes, hex."""
    samples: int
    """Length on the timeline, in samples at ``rate``."""
    rate: int
    revision: int = 1


@dataclass(frozen=True, slots=True)
class Job:
    """One durable request to speak a text, as it stands in the ledger. Times are seconds since the epoch, UTC."""

    id: str
    owner: str
    status: JobStatus
    request: SpeechRequest
    priority: Priority
    created_at: float
    attached: bool = False
    """Cancelled when its last waiter leaves, and when its server dies."""
    run: int = 1
    epoch: int = 0
    """Epoch of the node that holds the lease; fences every write."""
    text_chars: int = 0
    planned_chars: int = 0
    plan_done: bool = False
    plan_cursor: str = ""
    segments_total: int = 0
    segments_done: int = 0
    chars_done: int = 0
    samples_done: int = 0
    rate: int = 0
    """Sample rate of the takes, Hz; 0 before the first."""
    synth_seconds: float = 0.0
    event_seq: int = 0
    started_at: float | None = None
    first_audio_at: float | None = None
    ended_at: float | None = None
    expires_at: float | None = None
    kept: bool = False
    deleted: bool = False
    """A tombstone: purged or expired; text and audio are gone."""
    error: str | None = None
    failed_segment: int | None = None
    result: Result | None = None
    warnings: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    batch_id: str | None = None
    custom_id: str | None = None
    """What the client calls this item of its batch."""
    webhook_url: str | None = None
    redo_of: str | None = None
    """The completed job one of whose segments this job makes again."""
    redo_revision: int | None = None
    """Revision of that job's result which this one's replaces."""

    @property
    def fence(self) -> "Fence":
        """What a write to this job must present."""
        return Fence(self.id, self.epoch, self.run, self.attached)

    @property
    def progress(self) -> float:
        """Percent, 0 … 100; at most 99 before the result is committed."""
        if self.status is JobStatus.COMPLETED:
            return 100.0
        if not self.text_chars:
            return 0.0
        return min(99.0, round(100.0 * self.chars_done / self.text_chars, 1))


@dataclass(frozen=True, slots=True)
class Fence:
    """Proof of ownership: a write with an old epoch or run is refused."""

    job_id: str
    epoch: int
    run: int
    fleeting: bool = False
    """The job ends with its server: nothing that is written before its end needs to outlive a loss of power."""


@dataclass(frozen=True, slots=True)
class Event:
    """One entry of a job's history; ``seq`` counts from 1 without gaps."""

    job_id: str
    seq: int
    type: str
    at: float
    data: Mapping[str, object]
    pos: int = 0
    """Place among the events of all jobs; grows with every commit."""
    job: Job | None = field(default=None, compare=False)
    """The job as it stands behind this; only on events of its end, when they are fresh from the ledger."""


@dataclass(frozen=True, slots=True)
class Voice:
    """What an engine can speak with."""

    id: str
    """Unique name; also accepted with the extension of ``filename``."""
    filename: str
    display_name: str
    language: str
    revision: str
    """Changes when the voice's content does: part of the input key."""
    sample_rate: int
    gain_db: float = 0.0
    """Levels the voices against each other on the timeline."""


class Scope(StrEnum):
    """What a caller may do. Each stands for itself alone, except that ADMIN is all of them."""

    SUBMIT = "submit"
    """Ask for speech, and change, cancel and delete jobs."""
    READ = "read"
    """See jobs, hear and fetch their audio."""
    ADMIN = "admin"
    """All of it, for the jobs of all owners; keys, settings, the engine."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What an owner is granted; None is without bound."""

    requests_per_minute: int | None = None
    queued_jobs: int | None = None
    """Unfinished jobs at once."""
    chars_per_day: int | None = None
    """Characters submitted per day, UTC."""
    stored_bytes: int | None = None
    """Finished files at once."""
    priority: Priority = Priority.INTERACTIVE
    """The highest class; what asks for more gets this."""


NO_LIMITS = Limits()


@dataclass(frozen=True, slots=True)
class Caller:
    """On whose behalf something is done."""

    owner: str
    scopes: frozenset[Scope] = frozenset(Scope)
    limits: Limits = NO_LIMITS
    key_id: str | None = None
    """The key that was shown, if any."""

    def may(self, scope: Scope) -> bool:
        """Whether this is granted."""
        return scope in self.scopes or Scope.ADMIN in self.scopes

    @property
    def sees(self) -> str | None:
        """Whose jobs can be seen: one owner's, or everybody's (None)."""
        return None if Scope.ADMIN in self.scopes else self.owner


LOCAL = Caller("local")
"""Whoever uses a server without keys, the command line and embedding programs."""


def new_job_id() -> str:
    """A fresh random job id (UUID 4)."""
    return str(uuid.uuid4())


_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def is_job_id(text: str) -> bool:
    """Whether ``text`` has the form of a job id (so that anything else is simply not found)."""
    return _UUID.fullmatch(text) is not None


def segment_seed(job_seed: int, variant: int, index: int) -> int:
    """Seed of one segment, 1 … 2³²-1: the same on every machine, whichever worker runs it."""
    digest = hashlib.sha256(f"{job_seed}/{variant}/{index}".encode()).digest()
    return int.from_bytes(digest[:4], "big") or 1
