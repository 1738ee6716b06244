"""Everything Rhapsode raises on purpose.

RhapsodeError
├── InvalidInput            the caller sent something wrong: names field, value and bound
│   ├── NotFound            a job, voice, reference or segment that does not exist
│   └── TooLarge            over a set limit
├── ConfigError             a setting is wrong: names key, value and bound
├── Unauthorized            no key, or one that is unknown, expired or revoked
├── Forbidden               the key does not grant this
├── QuotaExceeded           the key's limits are used up; when to try again
├── Conflict                the job is not in a status that allows this
├── Gone                    cancelled, deleted or expired
├── Unavailable             cannot serve now; try again later
│   ├── EngineUnloaded      the engine was unloaded by the operator
│   ├── StorageFull         below the free-space watermark
│   ├── StorageAway         the store of takes and results cannot be reached
│   └── LedgerUnavailable   the ledger's database cannot be reached (a LedgerError, too)
│       └── LeaseLost       the other nodes have given this one up
├── Refused                 a compare-and-set lost: fenced, or the status moved on
├── LedgerError             the ledger cannot be used: corrupt, newer schema, failed fsync
├── BlobError               stored bytes are missing or damaged
├── SampleRateMismatch      takes of different rates cannot be joined
├── BackupError             a backup is damaged or incomplete, or something is in its way
├── DataDirInUse            another server holds this data directory
└── SynthesisError          a segment could not be spoken
    ├── EngineError         the engine raised, or gave unusable audio
    ├── DeadlineMissed      the segment took longer than its deadline
    └── WorkerDied          the worker's process ended while it held the segment
"""


class RhapsodeError(Exception):
    """Base of all errors that Rhapsode raises on purpose. ``str(error)`` is fit for a user."""


class InvalidInput(RhapsodeError):
    """The caller sent something wrong.

    Args:
        message: One sentence that names field, value and bound.
        field: Name of the offending field, or None when the whole request is meant.
        status: The HTTP status that API.md gives for it.
        place: Line and column in the field's text, both counted from 1; None: all of it is meant.
    """

    def __init__(
        self, message: str, field: str | None = None, status: int = 422, place: tuple[int, int] | None = None
    ) -> None:
        super().__init__(message)
        self.field = field
        self.status = status
        self.place = place


class NotFound(InvalidInput):
    """A job, voice, reference or segment that does not exist."""

    def __init__(self, message: str, field: str | None = None, place: tuple[int, int] | None = None) -> None:
        super().__init__(message, field, 404, place)


class TooLarge(InvalidInput):
    """Over a set limit."""

    def __init__(self, message: str, field: str | None = None) -> None:
        super().__init__(message, field, 413)


class ConfigError(RhapsodeError):
    """A setting is wrong; the message names key, value and bound."""


class Unauthorized(RhapsodeError):
    """No key was shown, or one that is unknown, expired or revoked."""


class Forbidden(RhapsodeError):
    """The caller's key does not grant this."""


class QuotaExceeded(RhapsodeError):
    """A limit of the caller's key is used up.

    Args:
        message: Names the limit, its bound and what is used.
        limit: The limit's name, as in :class:`rhapsode.model.Limits`.
        retry_after_s: When there will be room again, seconds.
    """

    def __init__(self, message: str, limit: str, retry_after_s: float) -> None:
        super().__init__(message)
        self.limit = limit
        self.retry_after_s = retry_after_s


class Conflict(RhapsodeError):
    """The job's status does not allow this."""


class Gone(RhapsodeError):
    """The job was cancelled, deleted or has expired."""


class Unavailable(RhapsodeError):
    """Cannot serve now; try again after ``retry_after_s`` seconds."""

    retry_after_s: float = 5.0


class EngineUnloaded(Unavailable):
    """The engine was unloaded by the operator and has not been loaded again."""


class StorageFull(Unavailable):
    """Free space is below the watermark."""


class StorageAway(Unavailable):
    """The store of takes and results cannot be reached, or refuses its owner. Work waits for it; nobody is charged."""


class Refused(RhapsodeError):
    """A compare-and-set lost: the write comes from a fenced owner, run or attempt, or the status moved on."""


class LedgerError(RhapsodeError):
    """The ledger cannot be used: corrupt, of a newer schema, or a write that could not be made durable."""


class LedgerUnavailable(LedgerError, Unavailable):
    """The ledger's database cannot be reached just now. Nothing was written."""

    retry_after_s = 2


class LeaseLost(LedgerUnavailable):
    """This node was silent for so long that others have taken over its jobs; it begins anew in a moment."""


class BlobError(RhapsodeError):
    """Stored bytes are missing or do not match their digest."""


class SampleRateMismatch(RhapsodeError):
    """Takes of different sample rates cannot be joined."""


class BackupError(RhapsodeError):
    """A backup is damaged or incomplete, or something is where it is to be."""


class DataDirInUse(RhapsodeError):
    """Another server holds this data directory."""


class SynthesisError(RhapsodeError):
    """A segment could not be spoken. Charged to the segment's retry budget."""


class EngineError(SynthesisError):
    """The engine raised, or gave audio that is empty, not finite or absurdly long."""


class DeadlineMissed(SynthesisError):
    """The segment took longer than its deadline; its worker was ended."""


class WorkerDied(SynthesisError):
    """The worker's process ended while it held the segment."""
