"""The list of jobs: filtered by the database, searched for words here, a bounded amount of text at a time."""

from collections.abc import Iterable
from typing import Any

import sqlalchemy as sa
from sqlalchemy import bindparam

from rhapsode.ledger.base import EXCERPT_OF, JobFilter, JobPage, Listed, excerpt
from rhapsode.ledger.rows import JOB_COLUMNS, to_job, to_json
from rhapsode.ledger.schema import LISTED, job_texts, jobs
from rhapsode.model import Job

SCAN_CHARS = 20_000_000
"""Characters of text that one call searches at most: a few tenths of a second."""
_SCAN_JOBS = 100
"""Jobs that a search reads in one go."""

_BEGINNING = (
    sa.select(sa.func.substr(job_texts.c.text, 1, EXCERPT_OF))
    .where(job_texts.c.job_id == jobs.c.id, job_texts.c.piece == 0)
    .scalar_subquery()
)
_PIECES = sa.select(job_texts.c.text).where(job_texts.c.job_id == bindparam("job")).order_by(job_texts.c.piece)


def list_jobs(connection: sa.Connection, wanted: JobFilter, before: tuple[float, str] | None, limit: int) -> JobPage:
    """See :meth:`rhapsode.ledger.base.Ledger.list_jobs`."""
    words = tuple(word.casefold() for word in wanted.words)
    at_once = _SCAN_JOBS if words else limit + 1
    found: list[Listed] = []
    left = SCAN_CHARS
    while True:
        rows = connection.execute(_query(wanted, before).limit(at_once)).all()
        for number, (*row, beginning) in enumerate(rows, 1):
            job = to_job(row)
            before = (job.created_at, job.id)
            more = number < len(rows) or len(rows) == at_once
            if not words or _matches(connection, job, words):
                found.append(Listed(job, excerpt(beginning or "")))
            left -= job.text_chars if words else 0
            if len(found) == limit or left <= 0:
                return JobPage(found, before if more else None)
        if len(rows) < at_once:
            return JobPage(found, None)


def _query(wanted: JobFilter, before: tuple[float, str] | None) -> sa.Select[Any]:
    query = sa.select(*JOB_COLUMNS, _BEGINNING).where(LISTED).order_by(jobs.c.created_at.desc(), jobs.c.id.desc())
    if before is not None:
        query = query.where(sa.tuple_(jobs.c.created_at, jobs.c.id) < before)
    if wanted.owner is not None:
        query = query.where(jobs.c.owner == wanted.owner)
    if wanted.statuses:
        query = query.where(jobs.c.status.in_([status.value for status in wanted.statuses]))
    if wanted.voice is not None:
        query = query.where(jobs.c.voice == wanted.voice)
    if wanted.created_from is not None:
        query = query.where(jobs.c.created_at >= wanted.created_from)
    if wanted.created_before is not None:
        query = query.where(jobs.c.created_at < wanted.created_before)
    if wanted.priority is not None:
        query = query.where(jobs.c.priority == int(wanted.priority))
    if wanted.batch_id is not None:
        query = query.where(jobs.c.batch_id == wanted.batch_id)
    return query.where(*(_has_tag(tag) for tag in wanted.tags))


def _has_tag(tag: str) -> sa.ColumnElement[bool]:
    """Whether the JSON list holds the tag: inside of a string every quote has a backslash before it, so none follows ``[`` or ``,``."""
    coded = to_json(tag)
    return sa.or_(*(sa.func.replace(jobs.c.tags, mark + coded, "") != jobs.c.tags for mark in ("[", ",")))


def _matches(connection: sa.Connection, job: Job, words: Iterable[str]) -> bool:
    labels = [label.casefold() for label in (job.custom_id or "", *job.tags)]
    missing = {word for word in words if not job.id.startswith(word) and not any(word in label for label in labels)}
    if not missing:
        return True
    overlap = max(map(len, missing)) - 1
    end = ""
    with connection.execute(_PIECES, {"job": job.id}) as pieces:
        for (piece,) in pieces:
            text = end + piece.casefold()
            missing = {word for word in missing if word not in text}
            if not missing:
                return True
            end = text[-overlap:] if overlap else ""
    return False
