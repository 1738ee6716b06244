"""How far a job is, for people: a bar on a terminal, lines elsewhere."""

import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from rhapsode.cli.options import human_time
from rhapsode.client import JobInfo
from rhapsode.model import JobStatus

_WINDOW_S = 15.0
"""What "now" means for a rate."""
_LINE_EVERY_S = 5.0
_LINE_EVERY_PERCENT = 10.0

Watcher = Callable[[JobInfo], None]


@dataclass(frozen=True, slots=True)
class Pace:
    """How fast a job goes on now."""

    chars_per_s: float
    realtime: float
    """Seconds of audio made per second."""


class Meter:
    """Measures the pace from what is seen of a job; work done before it was first seen does not count.

    Args:
        now: Monotonic clock, seconds.
    """

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._seen: deque[tuple[float, int, float]] = deque()

    def update(self, job: JobInfo) -> Pace | None:
        """Take note of a status; the pace, or None before anything was spoken."""
        now = self._now()
        self._seen.append((now, job.chars.done, job.audio_seconds))
        while len(self._seen) > 2 and now - self._seen[1][0] > _WINDOW_S:
            self._seen.popleft()
        then, chars, audio = self._seen[0]
        if now <= then or job.chars.done <= chars:
            return None
        return Pace((job.chars.done - chars) / (now - then), (job.audio_seconds - audio) / (now - then))


def figures(job: JobInfo, pace: Pace | None) -> str:
    """Segments, rate, time left and RTF of a job in one line."""
    if job.status is JobStatus.QUEUED and job.queue_position:
        return f"place {job.queue_position} in the queue{_reason(job)}"
    total = f"{job.segments.total}{'' if job.segments.planned else '+'}"
    parts = [f"{job.segments.done}/{total} segments"]
    if pace:
        parts += [f"{pace.chars_per_s:,.0f} characters/s", f"{pace.realtime:.1f}× real time"]
    left = _seconds_left(job, pace)
    if left is not None:
        parts.append(f"{human_time(left)} left")
    if job.metrics.realtime_factor is not None:
        parts.append(f"RTF {job.metrics.realtime_factor:.3f}")
    return ", ".join(parts) + _reason(job)


@contextmanager
def shown_progress(console: Console, now: Callable[[], float] = time.monotonic) -> Iterator[Watcher]:
    """Show how far a job is until the block is left; call what this gives with each status."""
    meter = Meter(now)
    if not console.is_terminal:
        yield _Lines(console, meter, now)
        return
    columns = (TextColumn("{task.percentage:5.1f} %"), BarColumn(24), TextColumn("{task.description}", markup=False))
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("starting", total=100.0)
        yield lambda job: bar.update(task, completed=job.progress, description=figures(job, meter.update(job)))


class _Lines:
    """A line now and then: at each tenth, but not more often than can be read."""

    def __init__(self, console: Console, meter: Meter, now: Callable[[], float]) -> None:
        self._console = console
        self._meter = meter
        self._now = now
        self._last_at = now()
        self._last_percent = float("-inf")

    def __call__(self, job: JobInfo) -> None:
        """Print a line when it is worth one."""
        pace = self._meter.update(job)
        is_news = job.progress - self._last_percent >= _LINE_EVERY_PERCENT
        if not job.status.is_terminal and is_news and self._now() - self._last_at >= _LINE_EVERY_S:
            self._last_at, self._last_percent = self._now(), job.progress
            self._console.print(f"{job.progress:5.1f} %  {figures(job, pace)}", markup=False)


def _seconds_left(job: JobInfo, pace: Pace | None) -> float | None:
    """The server's own estimate knows the queue; ours is the rest at the present pace."""
    if job.eta_seconds:
        return job.eta_seconds.p50
    return (job.chars.total - job.chars.done) / pace.chars_per_s if pace else None


def _reason(job: JobInfo) -> str:
    return f" (waiting: {job.waiting_for})" if job.waiting_for else ""
