"""What was asked for so far: ``GET /tts``, newest first."""

import re
from datetime import UTC, datetime
from typing import Annotated

from fastapi import APIRouter, Query, Request
from fastapi.responses import JSONResponse

from rhapsode.api.context import Ctx, Reader, root_of
from rhapsode.api.cursors import cursor_of, read_cursor
from rhapsode.api.schemas import JobList
from rhapsode.errors import InvalidInput
from rhapsode.jobs.request import PRIORITIES, Tag
from rhapsode.jobs.status import listed
from rhapsode.ledger.base import JobFilter
from rhapsode.model import JobStatus, Priority

router = APIRouter(tags=["jobs"])

_MOST = 500
_LOST_PLUS = re.compile(r"(?<=T\d\d:\d\d) (?=\d\d:?\d\d$)|(?<=\d:\d\d:\d\d) (?=\d\d:?\d\d$)")


Statuses = Annotated[list[JobStatus] | None, Query(description="Only jobs of this status; repeated: of one of these.")]
Tags = Annotated[list[Tag] | None, Query(description="Only jobs with this tag; repeated: with all of these.")]
Words = Annotated[
    str | None,
    Query(max_length=200, description="Words to be found in text, tags, custom id, or as the beginning of the id."),
]


@router.get("/tts", responses={200: {"model": JobList}})
async def history(
    request: Request,
    ctx: Ctx,
    caller: Reader,
    status: Statuses = None,
    tag: Tags = None,
    q: Words = None,
    voice: Annotated[str | None, Query(description="Only jobs with this voice.")] = None,
    priority: Annotated[str | None, Query(description="interactive, normal or batch.")] = None,
    batch_id: Annotated[str | None, Query(description="Only jobs of this batch.")] = None,
    created_after: Annotated[str | None, Query(description="Submitted at this time or later; ISO 8601.")] = None,
    created_before: Annotated[str | None, Query(description="Submitted before this time; ISO 8601.")] = None,
    limit: Annotated[int, Query(ge=1, le=_MOST, description="Most jobs in one answer.")] = 50,
    cursor: Annotated[str | None, Query(description="``next_cursor`` of the answer before.")] = None,
) -> JSONResponse:
    """Jobs, newest first, each as its status says, and how its text begins.

    ``next_cursor`` leads to older ones and is null at the end; a page of a search may have fewer jobs than ``limit``, or none, before that.
    """
    wanted = JobFilter(
        owner=caller.sees,
        statuses=tuple(status or ()),
        voice=voice,
        tags=tuple(tag or ()),
        words=tuple(dict.fromkeys((q or "").split())),
        created_from=_time(created_after, "created_after"),
        created_before=_time(created_before, "created_before"),
        priority=_priority(priority),
        batch_id=batch_id,
    )
    await ctx.service.shop.early.stored()
    page = await ctx.service.shop.ledger.list_jobs(wanted, read_cursor(cursor) if cursor else None, limit)
    following = cursor_of(*page.behind) if page.behind else None
    root = root_of(request)
    jobs = [listed(one.job, await ctx.service.status(one.job, root), one.excerpt) for one in page.jobs]
    headers = {"Cache-Control": "no-store"}
    if following:
        url = request.url.include_query_params(cursor=following)
        headers["Link"] = f'<{root}/tts?{url.query}>; rel="next"'
    return JSONResponse({"jobs": jobs, "next_cursor": following}, headers=headers)


def _time(text: str | None, name: str) -> float | None:
    """Seconds since the epoch. A time without an offset is UTC; a "+" may have become a space on its way through an address."""
    if not text:
        return None
    try:
        at = datetime.fromisoformat(_LOST_PLUS.sub("+", text.strip()))
    except ValueError:
        raise InvalidInput(f"{name} must be a time such as 2026-05-01T12:00:00Z; not {text[:40]!r}", name) from None
    try:
        return (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp()
    except OverflowError:
        raise InvalidInput(f"{name} is out of range: {text[:40]!r}", name) from None


def _priority(name: str | None) -> Priority | None:
    if not name:
        return None
    if name.lower() not in PRIORITIES:
        raise InvalidInput(f"priority must be one of {', '.join(PRIORITIES)}; not {name[:40]!r}", "priority")
    return PRIORITIES[name.lower()]
