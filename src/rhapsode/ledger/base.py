"""The ledger contract: one method per transition. The ledger alone decides what is true.

Every transition is compare-and-set, in one transaction with its event (numbered by the job row's counter). A method
returns once its transaction is durable; what is written on the way of an attached job, which ends with its server, is
durable with whatever lasting transaction comes next, its own end at the latest. Methods that write for a running job take
a :class:`Fence`; a write whose epoch, run or attempt is no longer the current one raises
:class:`rhapsode.errors.Refused` and changes nothing.

Commands are applied in the order in which they were called: a caller may issue ``claim`` and, without waiting for it,
dispatch the segment and later issue ``complete_segment``.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from rhapsode.model import (
    NO_LIMITS,
    Boundary,
    Event,
    Fence,
    Job,
    JobStatus,
    Limits,
    Priority,
    Result,
    Segment,
    SegmentState,
    SegmentStatus,
    SpeechRequest,
    Take,
)


@dataclass(frozen=True, slots=True)
class NewJob:
    """A job to insert."""

    id: str
    owner: str
    request: SpeechRequest
    text: str
    priority: Priority
    attached: bool = False
    warnings: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    idempotency_key: str | None = None
    fingerprint: str = ""
    """Hash of the validated body before the seed was drawn; compared when the key exists already."""
    batch_id: str | None = None
    custom_id: str | None = None
    webhook_url: str | None = None
    limits: Limits = NO_LIMITS
    """What the owner is granted; checked in the transaction that inserts the job."""
    dictionary: str | None = None
    """What ``request.lexicon`` is the digest of; kept for as long as jobs need it."""


@dataclass(frozen=True, slots=True)
class NewRedo:
    """One segment of a completed job, to be made again by a job of its own that is in no list."""

    id: str
    """Of that job."""
    parent_id: str
    segment: int
    seed: int | None = None
    """None: the next variant of the parent's seed."""
    text: str | None = None
    """Another text; None: as it is."""
    spoken: str = ""
    """The text, normalised for the engine; only with ``text``."""
    limits: Limits = NO_LIMITS


@dataclass(frozen=True, slots=True)
class PlanPart:
    """One batch of planned segments, stored together with the place where planning goes on."""

    segments: Sequence[Segment]
    planned_chars: int
    cursor: str
    done: bool
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Claim:
    """The right to run one attempt of a segment."""

    attempt: int
    take: Take | None = None
    """Set when a stored take had the same input key: the segment is done already, nothing is to be run."""


@dataclass(frozen=True, slots=True)
class Spoken:
    """The segments from the first on that are done without a gap, added up."""

    segments: int = 0
    samples: int = 0
    """Of their takes alone, without pauses."""
    gaps: Mapping[tuple[Boundary | None, int | None], int] = field(default_factory=dict)
    """How many of them come behind what end (None: behind nothing) with what ``lead_ms`` of their own."""
    last: Boundary | None = None
    """What ends the last of them."""


@dataclass(frozen=True, slots=True)
class JobFilter:
    """Which jobs a list shows. Every condition must hold; None and ``()`` are no condition."""

    owner: str | None = None
    statuses: tuple[JobStatus, ...] = ()
    """One of these."""
    voice: str | None = None
    tags: tuple[str, ...] = ()
    """All of these."""
    words: tuple[str, ...] = ()
    """Each in the text, in a tag or in the custom id, or how the job's id begins; upper and lower case are the same."""
    created_from: float | None = None
    """Submitted then or later."""
    created_before: float | None = None
    priority: Priority | None = None
    batch_id: str | None = None


BEAT_S = 2.0
"""Time between two heartbeats of a node."""
LEASE_S = 9.0
"""Silence after which a node is given up: a few heartbeats, and with what follows less than 15 s."""

ALL_JOBS = JobFilter()
EXCERPT_OF = 800
"""Characters of a text that its excerpt is made of: white space may be most of them."""
_EXCERPT = 200


def excerpt(beginning: str) -> str:
    """How a text begins, in one line; ``beginning`` is its first :data:`EXCERPT_OF` characters."""
    return " ".join(beginning.split())[:_EXCERPT].rstrip()


@dataclass(frozen=True, slots=True)
class Listed:
    """A job in a list."""

    job: Job
    excerpt: str
    """How its text begins, white space collapsed."""


@dataclass(frozen=True, slots=True)
class JobPage:
    """A part of a list, newest first."""

    jobs: Sequence[Listed]
    behind: tuple[float, str] | None
    """Where to go on: (created_at, id) of the last job that was looked at; None at the end of the list."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """One unfinished job as the scheduler sees it."""

    id: str
    owner: str
    priority: Priority
    created_at: float
    text_chars: int
    chars_done: int
    status: JobStatus
    engine: str = ""
    event_seq: int = 0
    """Of its newest event."""


@dataclass(frozen=True, slots=True)
class Beat:
    """What a heartbeat brought."""

    adopted: Sequence[Waiting] = ()
    """Jobs of nodes that have died or left, this node's from now on, in submit order; of a node that was ``lost`` all that are its own."""
    nodes: int = 1
    """How many are alive, this one included."""
    leads: bool = True
    """Whether it is this node that does what one node must do for all."""
    lost: bool = False
    """This node had been given up: of what it knew to be its own, only what it began in its new epoch is so still."""


@dataclass(frozen=True, slots=True)
class Counts:
    """A snapshot of the whole ledger."""

    jobs: Mapping[JobStatus, int] = field(default_factory=dict)
    waiting_chars: int = 0
    """Characters of unfinished jobs that are not spoken yet."""


class Ledger(Protocol):
    """The durable record of jobs, segments, takes and events. Async; safe for concurrent callers on one event loop."""

    # -- life ---------------------------------------------------------------------------------------------------

    async def open(self) -> int:
        """Open, migrate when needed, and begin a new epoch for this node.

        Returns:
            The epoch; larger than all before it.

        Raises:
            LedgerError: Corrupt, or of a newer schema; names the file and the way out.
        """
        ...

    async def close(self) -> None:
        """Finish what was called and close."""
        ...

    def on_event(self, callback: Callable[[Sequence[Event]], None]) -> None:
        """Call ``callback`` on the event loop with the events of each commit, after it is durable, in order."""
        ...

    def waiting_for(self) -> str | None:
        """What the ledger cannot do without and has not: ``database``; or None."""
        ...

    # -- nodes --------------------------------------------------------------------------------------------------

    @property
    def shared(self) -> bool:
        """Whether other nodes may work with this ledger, too."""
        ...

    @property
    def epoch(self) -> int:
        """Of this node; what is in another epoch belongs to another node."""
        ...

    async def adopt(self) -> Sequence[Waiting]:
        """Take over every unfinished job of dead nodes under this epoch, in submit order.

        Attached jobs of a dead node end as cancelled. Segments that were running are pending again, uncharged.
        Called once at start, before any job is submitted. Dead are nodes that have left, and those of this node's name; where
        no others can be (:attr:`shared`), all.
        """
        ...

    async def hold(self) -> None:
        """Renew this node's lease and nothing else, while it is not ready to work."""
        ...

    async def beat(self, judge: bool) -> Beat:
        """Renew the lease of this node's jobs; take over those of nodes that have left and, when ``judge``, of silent ones.

        A node that was itself out of reach lately must not judge: others may have been, too.
        """
        ...

    async def take_over(self, most: int, engines: Collection[str]) -> Sequence[Waiting]:
        """Take over queued jobs, at most ``most`` and at most half, from the end of the longest queue of another node.

        A single one only when it has waited for some seconds: that node may have no workers.
        Jobs of other than these ``engines`` stay where they are.
        """
        ...

    # -- jobs ---------------------------------------------------------------------------------------------------

    async def submit(self, job: NewJob) -> tuple[Job, bool]:
        """Insert a job as ``queued`` with its text; event ``job.queued``.

        Returns:
            The job, and whether it is new; with a known idempotency key (per owner) the job of before.

        Raises:
            InvalidInput: The key is known with another fingerprint (field ``Idempotency-Key``, status 422).
            QuotaExceeded: It would go over one of ``job.limits``; a job of before is not charged again.
        """
        ...

    async def submitted(self, owner: str, key: str, fingerprint: str) -> Job | None:
        """The job that was submitted under this idempotency key, or None.

        Raises:
            InvalidInput: As for :meth:`submit`.
        """
        ...

    async def get_job(self, job_id: str) -> Job | None:
        """The job, tombstones included, or None."""
        ...

    async def list_jobs(
        self, wanted: JobFilter = ALL_JOBS, before: tuple[float, str] | None = None, limit: int = 50
    ) -> JobPage:
        """Jobs without tombstones, newest first; ``before`` is where an earlier page ended.

        A search for words looks at so much text at most, and may then give fewer than ``limit`` jobs, or none, with more to come.
        """
        ...

    async def read_text(self, job_id: str, offset: int, length: int) -> str:
        """At most ``length`` characters of the job's text from ``offset`` (code points); ``""`` behind the end or when purged."""
        ...

    async def start_job(self, fence: Fence) -> Job:
        """queued → running; event ``job.started``. A no-op on one that is running."""
        ...

    async def complete_job(self, fence: Fence, result: Result) -> Job:
        """running → completed with its result; event ``job.completed``.

        Raises:
            Refused: Fenced, not running, not fully planned, or a segment is not done.
        """
        ...

    async def fail_job(self, fence: Fence, error: str, segment: int | None = None) -> Job:
        """queued or running → failed, naming the segment; event ``job.failed``."""
        ...

    async def cancel_job(self, job_id: str, reason: str) -> Job:
        """queued or running → cancelled; event ``job.cancelled``. A cancelled job is returned as it is.

        Raises:
            NotFound: No such job.
            Gone: A tombstone.
            Conflict: Completed or failed.
        """
        ...

    async def retry_job(self, job_id: str, limits: Limits = NO_LIMITS) -> Job:
        """failed or cancelled → queued with the next ``run``; good takes stay, failures start at 0; event ``job.retried``.

        Raises:
            NotFound, Gone, Conflict: As above; Conflict for queued, running and completed.
            QuotaExceeded: The owner has as many unfinished jobs as ``limits`` grant.
        """
        ...

    async def keep_job(self, job_id: str, kept: bool = True) -> Job:
        """Exempt a job from expiry (or no longer); event ``job.kept``.

        Raises:
            NotFound, Gone: As above.
        """
        ...

    async def change_job(self, job_id: str, priority: Priority | None = None, tags: Sequence[str] | None = None) -> Job:
        """Change what is given; event ``job.updated`` with what is new. A change that changes nothing writes nothing.

        Raises:
            NotFound, Gone: As above.
            Conflict: Another priority for a job that has ended.
        """
        ...

    async def touch_result(self, job_id: str) -> None:
        """A result was read: its time to live counts anew from now. Cheap; at most once a minute per job is written."""
        ...

    async def purge_job(self, job_id: str) -> Job:
        """Delete text, segments, events and result row; what stays is a tombstone. An unfinished job is cancelled first.

        Event ``job.deleted``, the only one that stays, and the last.

        Returns:
            The job as it was before, so that its bytes can be removed after the rows.

        Raises:
            NotFound, Gone: As above.
        """
        ...

    async def warn_job(self, job_id: str, warnings: Sequence[str]) -> None:
        """Add warnings that the job does not have yet; event ``job.warning``."""
        ...

    async def submit_redo(self, redo: NewRedo) -> Job:
        """Queue a segment of a completed job to be made again; ``job.queued`` of the new job, ``redo.queued`` of the parent.

        The new job is interactive, planned already, and has this one segment under its index in the parent.

        Raises:
            NotFound, Gone: No such job or segment; a tombstone.
            Conflict: The parent is not completed, or the segment is being made again just now.
            QuotaExceeded: As for a job.
        """
        ...

    async def complete_redo(self, fence: Fence, revision: int, result: Result) -> Job | None:
        """The new job → completed, and its take into the parent, whose result this is, if that still has ``revision``.

        Events ``result.revised`` of the parent and ``job.completed`` of the new job.

        Returns:
            The parent, or None when its result is another by now; then nothing was changed.

        Raises:
            Refused: Fenced, not running, or its segment is not done.
        """
        ...

    # -- plan and segments --------------------------------------------------------------------------------------

    async def extend_plan(self, fence: Fence, part: PlanPart) -> Job:
        """Append planned segments (indices go on from ``segments_total``) and the cursor; event ``plan.extended`` with the totals.

        Raises:
            Refused: Fenced, terminal, or the plan moved on.
        """
        ...

    async def claim(self, fence: Fence, index: int, input_key: str, shared: bool) -> Claim:
        """pending → running under the next attempt number; event ``segment.started``.

        When ``shared`` and a take with the same input key is stored, the segment is done at once with that take (its
        reference is added in this transaction; event ``segment.completed`` with ``cached: true``).

        Raises:
            Refused: Fenced, job not running, or the segment is not pending.
        """
        ...

    async def complete_segment(self, fence: Fence, index: int, attempt: int, input_key: str, take: Take) -> Job:
        """running → done; adds the take and the job's totals; event ``segment.completed``.

        Sets ``first_audio_at`` when it is the job's first take.

        Raises:
            Refused: Fenced, job not running, or another attempt.
        """
        ...

    async def release_segment(self, fence: Fence, index: int, attempt: int) -> None:
        """running → pending, uncharged (lost server, unload, shutdown). Silent when it was refused."""
        ...

    async def fail_segment(
        self, fence: Fence, index: int, attempt: int, error: str, charge: bool, budget: int
    ) -> SegmentState:
        """An attempt failed: back to pending, or failed once ``failures`` reaches ``budget``; event ``segment.failed``.

        Args:
            error: The cause, for the user.
            charge: Whether it counts against the budget.
            budget: Failures after which the segment is quarantined.
        """
        ...

    async def reset_segment(self, fence: Fence, index: int) -> None:
        """done → pending because its take is missing or damaged; totals are corrected; event ``segment.lost``."""
        ...

    async def segments(
        self, job_id: str, start: int = 0, limit: int = 256, status: SegmentStatus | None = None
    ) -> Sequence[SegmentState]:
        """Segments with index ≥ ``start`` in order, with takes; optionally only those of one status."""
        ...

    async def spoken(self, job_id: str, before: int | None = None) -> Spoken:
        """What is done without a gap from the first segment on, at most up to (not with) segment ``before``."""
        ...

    # -- events, clean-up, overview -----------------------------------------------------------------------------

    async def events(self, job_id: str, after: int = 0, limit: int = 500) -> Sequence[Event]:
        """Events with ``seq`` > ``after``, in order."""
        ...

    async def events_of_all(self, owner: str | None, after: int, limit: int = 500) -> tuple[Sequence[Event], int]:
        """Events of all the owner's jobs (of all jobs for None) with ``pos`` > ``after``, in the order of their commits.

        Returns:
            At most ``limit`` events, and how far this has looked: where to go on. It equals ``after`` when there is nothing.
        """
        ...

    async def event_marks(self) -> tuple[int, int]:
        """``pos`` of the newest event, and of the newest that was pruned: who has seen less than that may miss some."""
        ...

    async def expire_jobs(self, now: float, limit: int = 100) -> Sequence[Job]:
        """Turn jobs whose time is over into tombstones, rows first; event ``job.deleted`` of each.

        Returns:
            The jobs as they were, so that their result bytes can be removed after a grace period.
        """
        ...

    async def drop_unreferenced_takes(self, limit: int = 500) -> Sequence[str]:
        """Delete rows of takes that no segment references any more.

        Returns:
            Their digests; the bytes go after a grace period, when :meth:`known_takes` does not name them again.
        """
        ...

    async def lexicon(self, digest: str) -> str:
        """A dictionary that a job was submitted with.

        Raises:
            NotFound: No living job was.
        """
        ...

    async def drop_unreferenced_lexicons(self, before: float) -> int:
        """Delete dictionaries that no living job has and none was submitted with since ``before``; how many."""
        ...

    async def known_takes(self, digests: Sequence[str]) -> frozenset[str]:
        """Which of these digests have a row."""
        ...

    async def known_results(self, names: Sequence[str]) -> frozenset[str]:
        """Which of these result names belong to a job that is not a tombstone."""
        ...

    async def known_clips(self, digests: Sequence[str]) -> frozenset[str]:
        """Which of these digests are the clip of a job that is not a tombstone."""
        ...

    async def counts(self) -> Counts:
        """Jobs by status and characters waiting."""
        ...
