"""Places in the queue and times of arrival."""

import pytest

from rhapsode.jobs.overview import Overview
from rhapsode.jobs.pace import Pace
from rhapsode.ledger.base import Waiting
from rhapsode.model import JobStatus, Priority


def waiting(name, chars, done=0, priority=Priority.NORMAL, created=0.0, status=JobStatus.QUEUED):
    return Waiting(name, "me", priority, created, chars, done, status)


def look(*jobs, workers=2):
    pace = Pace()
    pace.note(100, 1.0)
    return Overview({job.id: job for job in jobs}, pace, lambda: workers)


def test_position_counts_jobs_that_have_not_begun():
    overview = look(
        waiting("a", 10, status=JobStatus.RUNNING), waiting("b", 10, created=1), waiting("c", 10, created=2)
    )
    assert [overview.place(name).position for name in "abc"] == [None, 1, 2]


def test_higher_class_stands_before():
    overview = look(waiting("a", 10), waiting("b", 10, priority=Priority.INTERACTIVE, created=5))
    assert [overview.place(name).position for name in "ab"] == [2, 1]


def test_eta_is_all_work_of_an_only_job():
    p50, p90 = look(waiting("a", 1000, done=400)).place("a").eta_s
    assert p50 == pytest.approx(3.0)
    assert p90 >= p50


def test_short_job_beside_a_long_one_waits_for_as_much_of_it():
    overview = look(waiting("book", 100_000), waiting("short", 500))
    assert overview.place("short").eta_s[0] == pytest.approx(5.0)
    assert overview.place("book").eta_s[0] == pytest.approx(502.5)


def test_nothing_is_claimed_before_anything_was_measured():
    assert Overview({"a": waiting("a", 10)}, Pace(), lambda: 1).place("a").eta_s is None


def test_snapshot_is_remade_after_a_second():
    jobs = {"a": waiting("a", 10)}
    now = 0.0
    overview = Overview(jobs, Pace(), lambda: 1, lambda: now)
    assert overview.place("a").position == 1
    jobs["0"] = waiting("0", 10, created=-1.0)
    assert overview.place("a").position == 1
    now = 1.1
    assert overview.place("a").position == 2
