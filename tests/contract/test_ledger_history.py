"""The list of jobs: filters, search, pages; and what can be changed of a job."""

import random
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from rhapsode.errors import Conflict, Gone, NotFound
from rhapsode.ledger import history
from rhapsode.ledger.base import JobFilter, Ledger
from rhapsode.ledger.schema import TEXT_PIECE
from rhapsode.model import Job, JobStatus, Priority, new_job_id
from tests.contract.ledger_values import REQUEST, Clock, begin, finish, listed, new_job, types


async def many(ledger: Ledger, clock: Clock, count: int = 300) -> list[Job]:
    """Jobs of every kind, oldest first."""
    source = random.Random(7)
    jobs = []
    for number in range(count):
        clock.now += source.choice([0, 0, 1])
        new = new_job(
            f"Text {number}: {source.choice(['an apple', 'a PEAR', 'a Größe'])} of {source.choice(['Odysseus', 'Ὀδυσσεύς'])}",
            owner=source.choice(["me", "you"]),
            priority=source.choice(list(Priority)),
            tags=tuple(source.sample(["book", "bo", 'quo"te', "a,b", "book\\"], source.randrange(4))),
            request=replace(REQUEST, voice=source.choice(["joe", "amy"])),
            custom_id=source.choice([None, f"Chapter-{number}"]),
            batch_id=source.choice([None, "batch-1"]),
        )
        job, _ = await ledger.submit(new)
        if number % 5 == 0:
            job = await ledger.cancel_job(job.id, "test")
        jobs.append(job)
    return jobs


def newest_first(jobs: list[Job]) -> list[str]:
    return [job.id for job in sorted(jobs, key=lambda job: (job.created_at, job.id), reverse=True)]


async def every(ledger: Ledger, limit: int, **wanted: Any) -> list[str]:
    found: list[str] = []
    before = None
    while True:
        page = await ledger.list_jobs(JobFilter(**wanted), before, limit)
        assert len(page.jobs) <= limit
        found += [one.job.id for one in page.jobs]
        before = page.behind
        if before is None:
            return found


async def test_every_filter_gives_what_a_comprehension_gives(ledger: Ledger, clock: Clock) -> None:
    jobs = await many(ledger, clock)
    middle = jobs[len(jobs) // 2].created_at
    cases: list[tuple[dict[str, Any], Callable[[Job], object]]] = [
        ({}, lambda job: True),
        ({"owner": "me"}, lambda job: job.owner == "me"),
        ({"statuses": (JobStatus.CANCELLED,)}, lambda job: job.status is JobStatus.CANCELLED),
        ({"statuses": (JobStatus.CANCELLED, JobStatus.QUEUED), "voice": "amy"}, lambda job: job.request.voice == "amy"),
        ({"created_from": middle}, lambda job: job.created_at >= middle),
        ({"created_before": middle}, lambda job: job.created_at < middle),
        ({"priority": Priority.BATCH, "owner": "you"}, lambda job: job.priority is Priority.BATCH and job.owner == "you"),
        ({"batch_id": "batch-1"}, lambda job: job.batch_id == "batch-1"),
        *(({"tags": (tag,)}, lambda job, tag=tag: tag in job.tags) for tag in ("bo", "book", 'quo"te', "a,b", "b", "te")),
        ({"tags": ("book", "bo")}, lambda job: {"book", "bo"} <= set(job.tags)),
        ({"words": ("chapter-1",)}, lambda job: (job.custom_id or "").startswith("Chapter-1")),
        ({"words": ("book", "chapter")}, lambda job: job.custom_id and any("book" in tag for tag in job.tags)),
        ({"words": (jobs[9].id[:13],)}, lambda job: job.id == jobs[9].id),
        ({"words": (jobs[9].id[9:],)}, lambda job: False),
    ]  # fmt: skip
    for wanted, is_wanted in cases:
        expected = newest_first([job for job in jobs if is_wanted(job)])
        assert await every(ledger, 7, **wanted) == expected, wanted
        assert await every(ledger, 1000, **wanted) == expected, wanted


async def test_words_are_found_whatever_their_case_and_script(ledger: Ledger) -> None:
    book, _ = await ledger.submit(new_job("The GRÖSSE of Ὀδυσσεύς; 100% of_it"))
    other, _ = await ledger.submit(new_job("Something else: 1000 things offit"))
    for words, found in [
        (("größe",), [book]), (("ὀδυσσεΎς",), [book]), (("the", "of"), [book]), (("the", "else"), []),
        (("100%",), [book]), (("of_it",), [book]), (("of",), [book, other]), (("SOMETHING",), [other]),
    ]:  # fmt: skip
        assert {job.id for job in await listed(ledger, words=words)} == {job.id for job in found}, words


async def test_a_word_across_the_border_of_two_pieces_is_found(ledger: Ledger) -> None:
    for offset in range(-8, 2):
        text = "x" * (TEXT_PIECE + offset) + "Odysseus" + "y" * TEXT_PIECE
        job, _ = await ledger.submit(new_job(text))
        assert [found.id for found in await listed(ledger, words=("odysseus",))] == [job.id]
        assert await listed(ledger, words=("odysseuz",)) == []
        await ledger.purge_job(job.id)


async def test_a_long_search_stops_and_goes_on(ledger: Ledger, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    needle, _ = await ledger.submit(new_job("the needle"))
    for _ in range(250):
        clock.now += 1
        await ledger.submit(new_job("hay " * 25))
    monkeypatch.setattr(history, "SCAN_CHARS", 5_000)
    page = await ledger.list_jobs(JobFilter(words=("needle",)), None, 10)
    assert page.jobs == []
    assert page.behind is not None
    assert await every(ledger, 10, words=("needle",)) == [needle.id]


async def test_pages_have_neither_gap_nor_duplicate_while_jobs_come(ledger: Ledger, clock: Clock) -> None:
    jobs = await many(ledger, clock, 60)
    seen, before = [], None
    while True:
        page = await ledger.list_jobs(before=before, limit=7)
        seen += [one.job.id for one in page.jobs]
        before = page.behind
        if before is None:
            break
        clock.now += 1
        await ledger.submit(new_job("newer"))
    assert seen == newest_first(jobs)


async def test_an_excerpt_is_one_short_line(ledger: Ledger) -> None:
    await ledger.submit(new_job("  Chapter 1\n\n\tIt was   night. " + "And so on. " * 10_000))
    (one,) = (await ledger.list_jobs()).jobs
    assert one.excerpt.startswith("Chapter 1 It was night. And so on. And")
    assert len(one.excerpt) <= 200


async def test_tombstones_are_not_listed(ledger: Ledger) -> None:
    job = await finish(ledger)
    await ledger.purge_job(job.id)
    assert await listed(ledger) == []


# -- changes --------------------------------------------------------------------------------------------------------


async def test_priority_and_tags_change_with_their_event(ledger: Ledger) -> None:
    job = await begin(ledger, tags=("a",))
    changed = await ledger.change_job(job.id, Priority.BATCH, ("b", "c"))
    assert (changed.priority, changed.tags) == (Priority.BATCH, ("b", "c"))
    assert changed == await ledger.get_job(job.id)
    event = (await ledger.events(job.id))[-1]
    assert (event.type, event.data, event.seq) == (
        "job.updated", {"priority": "batch", "tags": ["b", "c"]}, changed.event_seq
    )  # fmt: skip
    only_tags = await ledger.change_job(job.id, tags=())
    assert (only_tags.priority, only_tags.tags) == (Priority.BATCH, ())
    assert (await ledger.events(job.id))[-1].data == {"tags": []}


async def test_a_change_that_changes_nothing_writes_nothing(ledger: Ledger) -> None:
    job, _ = await ledger.submit(new_job(tags=("a",)))
    assert await ledger.change_job(job.id, job.priority, ("a",)) == job
    assert await types(ledger, job) == ["job.queued"]


async def test_an_ended_job_keeps_its_priority_but_not_its_tags(ledger: Ledger) -> None:
    job = await finish(ledger)
    other = Priority.BATCH if job.priority is not Priority.BATCH else Priority.NORMAL
    with pytest.raises(Conflict):
        await ledger.change_job(job.id, other, ("x",))
    assert (await ledger.get_job(job.id)) == job
    assert (await ledger.change_job(job.id, job.priority, ("x",))).tags == ("x",)


async def test_nothing_is_changed_of_what_is_not_there(ledger: Ledger) -> None:
    with pytest.raises(NotFound):
        await ledger.change_job(new_job_id(), Priority.BATCH)
    job = await finish(ledger)
    await ledger.purge_job(job.id)
    with pytest.raises(Gone):
        await ledger.change_job(job.id, tags=("x",))
