"""Places in the queue and times of arrival, from a snapshot at most a second old."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from operator import attrgetter

import numpy as np

from rhapsode.jobs.pace import Pace
from rhapsode.ledger.base import Waiting
from rhapsode.model import JobStatus

_MAX_AGE_S = 1.0


@dataclass(frozen=True, slots=True)
class Place:
    """Where an unfinished job stands."""

    position: int | None
    """1 for the next to be started; None once it runs."""
    eta_s: tuple[float, float] | None
    """Median and pessimistic seconds until it is done; None until this node has spoken its first segment."""


class Overview:
    """Answers for one node.

    Args:
        waiting: The unfinished jobs, kept up to date by the scheduler.
        pace: How fast this node speaks.
        workers: How many segments are spoken at once.
        now: Monotonic clock, seconds.
    """

    def __init__(
        self,
        waiting: Mapping[str, Waiting],
        pace: Pace,
        workers: Callable[[], int],
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._waiting = waiting
        self._pace = pace
        self._workers = workers
        self._now = now
        self._made = float("-inf")
        self._positions: dict[str, int] = {}
        self._ahead: dict[str, float] = {}

    def place(self, job_id: str) -> Place:
        """Where the job stands now."""
        if self._now() - self._made > _MAX_AGE_S:
            self._make()
        ahead = self._ahead.get(job_id)
        position = self._positions.get(job_id)
        if ahead is None and job_id in self._waiting:  # newer than the snapshot: behind all others
            position = len(self._positions) + 1
        return Place(position, None if ahead is None else self._pace.seconds(ahead, self._workers()))

    def _make(self) -> None:
        """Characters spoken before a job ends: all of higher classes, and of its own class what fair sharing gives.

        Jobs of one class share equally, so while a job with ``r`` characters left is served, each other one gets at
        most ``r`` too (processor sharing).
        """
        self._made = self._now()
        jobs = sorted(self._waiting.values(), key=attrgetter("priority", "created_at"))
        queued = [job.id for job in jobs if job.status is JobStatus.QUEUED]
        self._positions = {job_id: place for place, job_id in enumerate(queued, 1)}
        self._ahead = {}
        before = 0.0
        for priority in sorted({job.priority for job in jobs}):
            same = [job for job in jobs if job.priority == priority]
            left = np.array([max(job.text_chars - job.chars_done, 0) for job in same], dtype=np.float64)
            order = np.argsort(left, kind="stable")
            ranked = left[order]
            shared = np.cumsum(ranked) + ranked * np.arange(len(ranked) - 1, -1, -1)
            self._ahead |= {
                same[i].id: work for i, work in zip(order.tolist(), (before + shared).tolist(), strict=True)
            }
            before += float(left.sum())
