"""The engines of a local fleet: how each is run, and what is known of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rhapsode.fleet.base import EngineDescription, EngineSetup
from rhapsode.fleet.process import WorkerProcess
from rhapsode.fleet.seat import Place, Seat, State

_PLAIN = EngineSetup()


@dataclass(slots=True)
class Member:
    """One engine."""

    name: str
    setup: EngineSetup
    description: EngineDescription | None = None
    """What it last said of itself."""
    failure: str = ""
    """Why it could not be asked, last time."""
    retry_at: float = 0.0
    """When it is asked again, by the loop's clock."""
    largest: int = 0
    """Bytes of its largest process so far."""
    devices: Sequence[str] = ()
    """Those that were named for it."""

    def __post_init__(self) -> None:
        self.devices = [part.strip() for part in (self.setup.device or "").split(",") if part.strip()]

    @property
    def limit(self) -> int | None:
        """Most processes at once: as configured, else one per device named, else as the engine says."""
        if self.setup.processes:
            return self.setup.processes
        if len(self.devices) > 1:
            return len(self.devices)
        return self.description.info.processes if self.description else None

    def places(self, places: Sequence[Place]) -> Sequence[Place]:
        """Where its processes may be: everywhere, or, when they are few, in the first slots for the mass of segments."""
        limit = self.limit
        if limit is None or limit >= len(places):
            return places
        return ([place for place in places if not place.express] or places)[:limit]

    def device(self, place: Place, places: Sequence[Place]) -> str | None:
        """What it computes on in this place; None: as all engines."""
        allowed = self.places(places)
        return self.devices[allowed.index(place) % len(self.devices)] if self.devices and place in allowed else None


def crew(active: str, others: Sequence[str], setups: Mapping[str, EngineSetup]) -> dict[str, Member]:
    """The engines by name, the active one first, the others sorted."""
    names = [active, *sorted(set(others) - {active})]
    return {name: Member(name, setups.get(name, _PLAIN)) for name in names}


async def described(process: WorkerProcess) -> EngineDescription:
    """What the engine in a process says of itself."""
    answer = await process.describe()
    return EngineDescription(answer.info, answer.voices)


async def load_default(process: WorkerProcess, wanted: str | None, description: EngineDescription) -> None:
    """Load the voice that is wanted, or the engine's first when there is no such voice."""
    voices = description.voices
    voice = next((v for v in voices if wanted in (v.id, v.filename)), voices[0] if voices else None)
    if voice is not None:
        await process.load(voice.id)


def to_end(seats: Sequence[Seat], budget: int, active: str) -> Sequence[Seat]:
    """Seats whose idle processes have to end for all together to hold at most ``budget`` bytes, if that can be had.

    Those of other engines than the active one first, and of these those that were used longest ago.
    """
    held = sum(seat.process.rss_bytes for seat in seats if seat.process)
    idle = [seat for seat in seats if seat.state is State.READY and seat.process and seat.process.idle]
    idle.sort(key=lambda seat: (seat.engine == active, seat.idle_since))
    ending: list[Seat] = []
    while held > budget and idle:
        ending.append(seat := idle.pop(0))
        held -= seat.process.rss_bytes if seat.process else 0
    return ending
