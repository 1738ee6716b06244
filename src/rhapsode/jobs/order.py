"""Who is next: priority class, then fair share between owners, then between jobs. A pure index; O(log n) per pick and engine.

Both levels are start-time fair queueing by characters served (Goyal, Vin & Cheng, SIGCOMM 1996): each flow has a tag,
the smallest is served, a served flow's tag grows by what it was given, and a flow that comes back starts at the present
(nobody saves up). Within an owner the first ``head_chars`` characters of a job are charged in one piece: short jobs run
to their end one after another, instead of all together and all late.

Every engine has heaps of its own, so that jobs whose engine cannot speak now cost nothing; what an owner was given is one account over
all engines.

Heaps are lazy: an entry whose ticket is not the newest is skipped when it comes to the top.
"""

import heapq
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

from rhapsode.model import Priority

_MOST_STALE = 1000
"""Deadlines of jobs that are gone, kept at most beside as many as there are jobs."""


@dataclass(slots=True)
class _Entry:
    """One job."""

    id: str
    owner: str
    engine: str
    priority: Priority
    created_at: float
    order: int
    served: int
    lane: Priority
    tag: float = 0.0
    eligible: bool = True
    urgent: bool = False
    ticket: int = 0
    awaited: set[Priority] = field(default_factory=set)
    """Classes whose deadline is among those to come."""


@dataclass(slots=True)
class _Flow:
    """The eligible jobs of one owner in one lane."""

    owner: str
    tag: float = 0.0
    clock: float = 0.0
    tickets: dict[str, int] = field(default_factory=dict)
    """Of its newest entry in the heap of each engine that it has jobs of."""
    jobs: dict[str, list[tuple[float, int, int, str]]] = field(default_factory=dict)
    """By engine."""


@dataclass(slots=True)
class _Lane:
    """The owners with eligible jobs in one class."""

    clock: float = 0.0
    flows: dict[str, _Flow] = field(default_factory=dict)
    heaps: dict[str, list[tuple[float, str, int]]] = field(default_factory=dict)
    """By engine."""


class FairOrder:
    """Unfinished jobs in the order in which they are served.

    A job is *eligible* while it could give away a segment now. The class in which it is served may differ from the one
    asked for: interactive work counts as normal after its first ``interactive_chars``; batch work counts as normal,
    and normal work that has had less than ``interactive_chars`` counts as interactive, once it is older than its
    class's delay (a deadline fixed at submit); a job that somebody listens to at its edge is urgent: interactive.
    """

    def __init__(
        self,
        interactive_chars: int = 1000,
        normal_delay_s: float = 1800.0,
        batch_delay_s: float = 43200.0,
        head_chars: int = 1000,
    ) -> None:
        self._interactive_chars = interactive_chars
        self._delay = {Priority.NORMAL: normal_delay_s, Priority.BATCH: batch_delay_s}
        self._head_chars = head_chars
        self._entries: dict[str, _Entry] = {}
        self._by_engine: Counter[str] = Counter()
        self._lanes = {priority: _Lane() for priority in Priority}
        self._deadlines: list[tuple[float, str]] = []
        self._engines: frozenset[str] | None = None
        self._tickets = 0
        self._now = 0.0

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, job_id: str) -> bool:
        return job_id in self._entries

    def add(
        self, job_id: str, owner: str, priority: Priority, created_at: float, served: int = 0, engine: str = ""
    ) -> None:
        """Take in a job, eligible at once. ``served`` is what it got before, in characters."""
        self.remove(job_id)
        entry = _Entry(job_id, owner, engine, priority, created_at, 0, served, priority)
        self._tickets += 1
        entry.order = self._tickets
        self._entries[job_id] = entry
        self._by_engine[engine] += 1
        self._await_deadline(entry)
        self._enter(entry)

    def remove(self, job_id: str) -> None:
        """Forget a job; a no-op when it is not here."""
        if entry := self._entries.pop(job_id, None):
            self._by_engine[entry.engine] -= 1
        if len(self._deadlines) > 2 * len(self._entries) + _MOST_STALE:
            self._deadlines = [item for item in self._deadlines if item[1] in self._entries]
            heapq.heapify(self._deadlines)

    def has_jobs_of(self, engine: str) -> bool:
        """Whether a job of this engine is here, set aside or not."""
        return self._by_engine[engine] > 0

    def set_eligible(self, job_id: str, eligible: bool) -> None:
        """Say whether the job could give away a segment now."""
        entry = self._entries.get(job_id)
        if entry and entry.eligible != eligible:
            entry.eligible = eligible
            self._enter(entry)

    def set_engines(self, engines: frozenset[str]) -> None:
        """Say which engines there are; before that, all. Jobs of others are set aside: they have no turn and save nothing up."""
        if engines == self._engines:
            return
        self._engines = engines
        for lane in self._lanes.values():
            for engine in lane.heaps.keys() - engines:
                del lane.heaps[engine]
                for flow in lane.flows.values():
                    flow.tickets.pop(engine, None)
                    flow.jobs.pop(engine, None)
        for entry in self._entries.values():
            self._enter(entry)

    def set_urgent(self, job_id: str, urgent: bool) -> None:
        """Serve the job as interactive for as long as somebody listens at the edge of what is spoken."""
        entry = self._entries.get(job_id)
        if entry and entry.urgent != urgent:
            entry.urgent = urgent
            self._enter(entry)

    def set_priority(self, job_id: str, priority: Priority) -> None:
        """Serve the job in another class; its deadline is the class's delay behind its submit, as if it had always been there."""
        entry = self._entries.get(job_id)
        if entry and entry.priority is not priority:
            entry.priority = priority
            self._await_deadline(entry)
            self._enter(entry)

    def rank(self, job_id: str) -> tuple[float, ...]:
        """Sort key of a job that is here: the smaller, the sooner its turn."""
        entry = self._entries[job_id]
        lane = self._lanes[entry.lane]
        flow = lane.flows.get(entry.owner)
        return (entry.lane, flow.tag if flow else lane.clock, entry.tag, entry.order)

    def pick(self, lanes: Sequence[Priority], now: float, engines: Collection[str] = ("",)) -> str | None:
        """The eligible job to serve next.

        Args:
            lanes: Classes, tried in this order.
            now: Seconds since the epoch.
            engines: Those that could speak; jobs of others keep their turn.

        Returns:
            Its id, or None. The index is unchanged: call :meth:`charge` for what was given, or make it ineligible.
        """
        self._now = now
        while self._deadlines and self._deadlines[0][0] <= now:
            entry = self._entries.get(heapq.heappop(self._deadlines)[1])
            if entry:
                self._enter(entry)
        for priority in lanes:
            lane = self._lanes[priority]
            heads = [head for engine in engines if (head := self._head(lane, engine))]
            if heads:
                return min(heads)[1]
        return None

    def charge(self, job_id: str, chars: int) -> None:
        """Account for a segment of ``chars`` characters that was given to a worker."""
        entry = self._entries.get(job_id)
        if entry is None:
            return
        lane = self._lanes[entry.lane]
        flow = lane.flows.setdefault(entry.owner, _Flow(entry.owner, tag=lane.clock, clock=entry.tag))
        lane.clock = max(lane.clock, flow.tag)
        flow.clock = max(flow.clock, entry.tag)
        flow.tag += chars
        for engine in {*flow.tickets, entry.engine}:
            flow.tickets.pop(engine, None)
            if engine in flow.jobs:
                self._queue(lane, flow, engine)
        before = self._charged(entry.served)
        entry.served += chars
        entry.tag += self._charged(entry.served) - before
        self._enter(entry)

    def _await_deadline(self, entry: _Entry) -> None:
        if entry.priority in self._delay and entry.priority not in entry.awaited:
            entry.awaited.add(entry.priority)
            heapq.heappush(self._deadlines, (entry.created_at + self._delay[entry.priority], entry.id))

    def _charged(self, served: int) -> int:
        return served if served > self._head_chars else 0

    def _class_of(self, entry: _Entry) -> Priority:
        if entry.urgent:
            return Priority.INTERACTIVE
        priority = entry.priority
        if priority in self._delay and self._now >= entry.created_at + self._delay[priority]:
            priority = Priority(priority - 1)
        if priority is Priority.INTERACTIVE and entry.served >= self._interactive_chars:
            return Priority.NORMAL
        return priority

    def _enter(self, entry: _Entry) -> None:
        """Put the job where it belongs now; what the heaps held of it before is stale."""
        self._tickets += 1
        entry.ticket = self._tickets
        if not entry.eligible or not self._has(entry.engine):
            return
        entry.lane = self._class_of(entry)
        lane = self._lanes[entry.lane]
        flow = lane.flows.get(entry.owner)
        if flow is None:
            flow = lane.flows[entry.owner] = _Flow(entry.owner, tag=lane.clock, clock=entry.tag)
        entry.tag = max(entry.tag, flow.clock)
        heapq.heappush(flow.jobs.setdefault(entry.engine, []), (entry.tag, entry.order, entry.ticket, entry.id))
        self._queue(lane, flow, entry.engine)

    def _has(self, engine: str) -> bool:
        return self._engines is None or engine in self._engines

    def _queue(self, lane: _Lane, flow: _Flow, engine: str) -> None:
        if engine in flow.tickets:
            return
        if not flow.tickets:
            flow.tag = max(flow.tag, lane.clock)
        self._tickets += 1
        flow.tickets[engine] = self._tickets
        heapq.heappush(lane.heaps.setdefault(engine, []), (flow.tag, flow.owner, self._tickets))

    def _head(self, lane: _Lane, engine: str) -> tuple[tuple[float, str], str] | None:
        """Tag and owner of the next flow with a job for this engine, and the job."""
        heap = lane.heaps.get(engine)
        while heap:
            tag, owner, ticket = heap[0]
            flow = lane.flows.get(owner)
            if flow is None or flow.tickets.get(engine) != ticket:
                heapq.heappop(heap)
                continue
            jobs = flow.jobs[engine]
            while jobs and self._is_stale(jobs[0]):
                heapq.heappop(jobs)
            if jobs:
                return (tag, owner), jobs[0][3]
            heapq.heappop(heap)
            del flow.tickets[engine], flow.jobs[engine]
            if not flow.tickets and flow.tag <= lane.clock:  # nothing to remember: it would start at the present anyway
                del lane.flows[owner]
        return None

    def _is_stale(self, item: tuple[float, int, int, str]) -> bool:
        entry = self._entries.get(item[3])
        return entry is None or not entry.eligible or entry.ticket != item[2]
