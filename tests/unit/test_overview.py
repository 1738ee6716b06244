"""Places in the queue and times of arrival."""

import random

import pytest

from rhapsode.jobs.overview import Overview, Place
from rhapsode.jobs.pace import Pace
from rhapsode.ledger.base import Waiting
from rhapsode.model import JobStatus, Priority


def waiting(name, chars, done=0, priority=Priority.NORMAL, created=0.0, status=JobStatus.QUEUED, engine=""):
    return Waiting(name, "me", priority, created, chars, done, status, engine)


def look(*jobs):
    pace = Pace()
    pace.note(100, 1.0)
    overview = Overview(pace)
    for job in jobs:
        overview.put(job)
    return overview


def place(overview, name):
    return overview.place(name, workers=2)


def test_position_counts_jobs_that_have_not_begun():
    overview = look(
        waiting("a", 10, status=JobStatus.RUNNING), waiting("b", 10, created=1), waiting("c", 10, created=2)
    )
    assert [place(overview, name).position for name in "abc"] == [None, 1, 2]


def test_higher_class_stands_before():
    overview = look(waiting("a", 10), waiting("b", 10, priority=Priority.INTERACTIVE, created=5))
    assert [place(overview, name).position for name in "ab"] == [2, 1]


def test_eta_is_all_work_of_an_only_job():
    p50, p90 = place(look(waiting("a", 1000, done=400)), "a").eta_s
    assert p50 == pytest.approx(3.0)
    assert p90 >= p50


def test_short_job_beside_a_long_one_waits_for_as_much_of_it():
    overview = look(waiting("book", 100_000), waiting("short", 500))
    assert place(overview, "short").eta_s[0] == pytest.approx(5.0)
    assert place(overview, "book").eta_s[0] == pytest.approx(502.5)


def test_a_job_that_comes_now_arrives_as_one_that_is_there():
    overview = look(waiting("book", 100_000), waiting("other", 300, priority=Priority.BATCH))
    expected = overview.arrival("", Priority.NORMAL, 500, workers=2)
    overview.put(waiting("short", 500))
    assert place(overview, "short").eta_s == pytest.approx(expected)
    assert Overview(Pace()).arrival("", Priority.NORMAL, 500, workers=2) is None


def test_each_engine_has_its_own_pace():
    pace = Pace()
    pace.note(100, 1.0, engine="quick")
    overview = Overview(pace)
    overview.put(waiting("a", 1000, engine="quick"))
    overview.put(waiting("b", 1000, engine="slow"))
    assert place(overview, "b").eta_s is None, "it has not spoken yet"
    assert place(overview, "a").eta_s[0] == pytest.approx(10.0), "taken to be as quick as what is known"
    for _ in range(500):
        pace.note(100, 20.0, engine="slow")
    assert place(overview, "a").eta_s[0] == place(overview, "b").eta_s[0] == pytest.approx((10 + 200) / 2)
    overview.remove("b")
    assert place(overview, "a").eta_s[0] == pytest.approx(5.0), "not slowed by what the other engine spoke"
    arrivals = [
        ("quick", Priority.INTERACTIVE, 1.0),
        ("slow", Priority.INTERACTIVE, 20.0),
        ("slow", Priority.NORMAL, 21.0),
    ]
    for engine, priority, p50 in arrivals:
        assert (overview.arrival(engine, priority, 100, workers=1) or (0.0,))[0] == pytest.approx(p50)


def test_length_of_speech_is_that_of_what_was_spoken():
    pace = Pace()
    assert pace.audio_seconds("a", 100) is None
    pace.note(100, 1.0, "a", 6.0)
    pace.note(300, 2.0, "a", 22.0)
    pace.note(300, 2.0, "b", 99.0)
    assert pace.audio_seconds("a", 1000) == pytest.approx(70.0)


def test_nothing_is_claimed_before_anything_was_measured():
    overview = Overview(Pace())
    overview.put(waiting("a", 10))
    assert place(overview, "a").eta_s is None


def test_job_that_is_not_here_has_no_place():
    assert place(look(waiting("a", 10)), "b") == Place(None, None)


def test_jobs_of_one_moment_stand_as_they_came():
    overview = look(*(waiting(name, 10) for name in "cab"))
    assert [place(overview, name).position for name in "cab"] == [1, 2, 3]


def test_places_are_those_of_sorting_whatever_came_and_went():
    source = random.Random(5)
    overview = look()
    jobs: dict[str, Waiting] = {}
    for number in range(2000):
        name = f"job{source.randrange(300)}"
        if name in jobs and source.random() < 0.5:
            overview.remove(name)
            del jobs[name]
            continue
        # what a job is does not change while it waits, but its status and what is done of it
        before = jobs.get(name)
        created, priority = (before.created_at, before.priority) if before else (number, source.choice(list(Priority)))
        status = source.choice([JobStatus.QUEUED, JobStatus.RUNNING])
        jobs[name] = waiting(name, 1000, source.randrange(1000), priority, float(created), status)
        overview.put(jobs[name])
    assert len(overview) == len(jobs) > 64
    assert set(overview) == set(jobs)
    ordered = sorted(jobs.values(), key=lambda job: (job.priority, job.created_at))
    queued = [job.id for job in ordered if job.status is JobStatus.QUEUED]
    assert [place(overview, name).position for name in queued] == list(range(1, len(queued) + 1))
    for job in ordered:
        left = job.text_chars - job.chars_done
        ahead = sum(
            min(other.text_chars - other.chars_done, left) if other.priority == job.priority
            else other.text_chars - other.chars_done
            for other in ordered if other.priority <= job.priority
        )  # fmt: skip
        assert place(overview, job.id).eta_s[0] == pytest.approx(ahead / 2 / 100)
