"""What all parts of the job machinery on one node share."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import ParamSpec, TypeVar

from rhapsode.blobs.base import BlobStore
from rhapsode.fleet.base import Fleet
from rhapsode.jobs.clips import Clips
from rhapsode.jobs.early import EarlyResults, FirstTake, Wanted
from rhapsode.jobs.events import EventHub
from rhapsode.jobs.metrics import Metrics
from rhapsode.jobs.patience import Patience
from rhapsode.jobs.planner import Planner
from rhapsode.jobs.saved import SavedCopies
from rhapsode.ledger.access import AccessLedger
from rhapsode.ledger.base import Ledger
from rhapsode.ledger.batches import BatchLedger
from rhapsode.ledger.outbox import OutboxLedger
from rhapsode.settings import Settings

P = ParamSpec("P")
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Shop:
    """The concrete parts, wired by the composition root."""

    ledger: Ledger
    takes: BlobStore
    results: BlobStore
    fleet: Fleet
    planner: Planner
    hub: EventHub
    clock: Callable[[], float]
    """Seconds since the epoch."""
    access: AccessLedger
    outbox: OutboxLedger
    batches: BatchLedger
    renditions: BlobStore
    """Results in other formats; each can be made anew."""
    clips: Clips
    installed_engines: Callable[[Settings], Mapping[str, str]] = lambda _: {}
    """Engines by name, with how to get what they lack; empty when they can be loaded."""
    cloning: Callable[[], Mapping[str, str]] = dict
    """Engines that are known to clone voices, with how to get what they lack: for people who asked one that does not."""
    patience: Patience = field(default_factory=Patience)
    early: EarlyResults = field(default_factory=EarlyResults)
    first_takes: Wanted[FirstTake] = field(default_factory=Wanted)
    metrics: Metrics = field(default_factory=Metrics)
    saved: SavedCopies | None = None
    """Where copies of finished files are kept for the user, if so configured."""

    async def patiently(self, call: Callable[P, Awaitable[T]], *args: P.args, **kwargs: P.kwargs) -> T:
        """Do ``call`` until the disk and the ledger take it, however long they are away."""
        return await self.patience.keep_trying(lambda: call(*args, **kwargs))
