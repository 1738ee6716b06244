"""The unfinished jobs of this node, with their places in the queue and times of arrival.

Columns instead of objects: a question costs a few vector operations, 0.1 ms among 10,000 jobs, and nothing is sorted.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rhapsode.jobs.pace import Pace
from rhapsode.ledger.base import Waiting
from rhapsode.model import JobStatus, Priority

_FREE = 127
"""Priority of a row that holds no job."""
_FIRST_ROWS = 64


@dataclass(frozen=True, slots=True)
class Place:
    """Where an unfinished job stands."""

    position: int | None
    """1 for the next to be started; None once it runs."""
    eta_s: tuple[float, float] | None
    """Median and pessimistic seconds until it is done; None until this node has spoken its engine's first segment."""


class Overview:
    """Kept up to date by the scheduler.

    Args:
        pace: How fast this node speaks.
    """

    def __init__(self, pace: Pace) -> None:
        self._pace = pace
        self._rows: dict[str, int] = {}
        self._free: list[int] = []
        self._next = 0
        self._priority: NDArray[np.int8] = np.full(_FIRST_ROWS, _FREE, np.int8)
        self._created: NDArray[np.float64] = np.zeros(_FIRST_ROWS)
        self._order: NDArray[np.int64] = np.zeros(_FIRST_ROWS, np.int64)
        self._left: NDArray[np.float64] = np.zeros(_FIRST_ROWS)
        self._queued: NDArray[np.bool_] = np.zeros(_FIRST_ROWS, np.bool_)
        self._engine: NDArray[np.int16] = np.zeros(_FIRST_ROWS, np.int16)
        self._engines: dict[str, int] = {}
        """Number of each engine in that column."""

    def __len__(self) -> int:
        return len(self._rows)

    def __contains__(self, job_id: str) -> bool:
        return job_id in self._rows

    def __iter__(self) -> Iterator[str]:
        return iter(self._rows)

    @property
    def chars_left(self) -> int:
        """Characters of all jobs that are still to be spoken."""
        return int(self._left.sum())

    def put(self, job: Waiting) -> None:
        """Take in a job, or how it stands now."""
        row = self._rows.get(job.id)
        if row is None:
            row = self._rows[job.id] = self._new_row()
            self._next += 1
            self._order[row] = self._next
        self._priority[row] = job.priority
        self._created[row] = job.created_at
        self._left[row] = max(job.text_chars - job.chars_done, 0)
        self._queued[row] = job.status is JobStatus.QUEUED
        self._engine[row] = self._engines.setdefault(job.engine, len(self._engines))

    def remove(self, job_id: str) -> None:
        """Forget a job; a no-op when it is not here."""
        row = self._rows.pop(job_id, None)
        if row is not None:
            self._priority[row], self._left[row], self._queued[row] = _FREE, 0, False
            self._free.append(row)

    def place(self, job_id: str, workers: int) -> Place:
        """Where the job stands now, with ``workers`` segments spoken at once.

        Before it is done, all that higher classes have left is spoken, and of its own class what fair sharing gives:
        jobs of one class share equally, so while a job with ``r`` characters left is served, each other one gets at
        most ``r`` too (processor sharing).
        """
        row = self._rows.get(job_id)
        if row is None:
            return Place(None, None)
        priority = self._priority[row]
        ahead = self._ahead(priority, self._left[row])
        engine = next(name for name, number in self._engines.items() if number == self._engine[row])
        position = None
        if self._queued[row]:
            same, higher = self._priority == priority, self._priority < priority
            created = self._created[row]
            older = (self._created < created) | ((self._created == created) & (self._order <= self._order[row]))
            position = int(np.count_nonzero(self._queued & (higher | (same & older))))
        return Place(position, self._pace.seconds(engine, ahead, workers))

    def arrival(self, engine: str, priority: Priority, chars: int, workers: int) -> tuple[float, float] | None:
        """Median and pessimistic seconds after which a job of ``chars`` characters would be done that came now."""
        ahead = self._ahead(int(priority), chars)
        return self._pace.seconds(engine, ahead | {engine: ahead.get(engine, 0.0) + chars}, workers)

    def _ahead(self, priority: int, left: float) -> dict[str, float]:
        """Characters, by engine, that are spoken before a job of this class is done that has ``left`` of them, its own included if it is here."""
        share = np.where(self._priority < priority, self._left, np.minimum(self._left, left))
        share[self._priority > priority] = 0
        if len(self._engines) == 1:
            return {name: float(share.sum()) for name in self._engines}
        sums = np.bincount(self._engine, share, len(self._engines))
        return {name: float(sums[number]) for name, number in self._engines.items()}

    def _new_row(self) -> int:
        if not self._free:
            size = len(self._rows)
            self._free = list(range(max(_FIRST_ROWS, 2 * size) - 1, size - 1, -1))
            if size:
                self._priority = np.concatenate([self._priority, np.full(size, _FREE, np.int8)])
                self._created, self._left = (np.concatenate([c, np.zeros(size)]) for c in (self._created, self._left))
                self._order = np.concatenate([self._order, np.zeros(size, np.int64)])
                self._queued = np.concatenate([self._queued, np.zeros(size, np.bool_)])
                self._engine = np.concatenate([self._engine, np.zeros(size, np.int16)])
        return self._free.pop()
