"""What was asked for so far: ``GET /tts``, newest first."""

import base64
from typing import Annotated

from fastapi import APIRouter, Query, Request
from fastapi.responses import JSONResponse

from rhapsode.api.context import Ctx, Reader, root_of
from rhapsode.errors import InvalidInput
from rhapsode.model import Job, JobStatus, is_job_id

router = APIRouter(tags=["jobs"])

_MOST = 500


@router.get("/tts")
async def history(
    request: Request,
    ctx: Ctx,
    caller: Reader,
    status: Annotated[JobStatus | None, Query(description="Only jobs of this status.")] = None,
    limit: Annotated[int, Query(ge=1, le=_MOST, description="Most jobs in one answer.")] = 50,
    cursor: Annotated[str | None, Query(description="``next_cursor`` of the answer before.")] = None,
) -> JSONResponse:
    """Jobs, newest first, each as its status says; ``next_cursor`` leads to older ones and is null at the end."""
    before = _read_cursor(cursor) if cursor else None
    found = await ctx.service.shop.ledger.list_jobs(caller.sees, status, before, limit + 1)
    more = len(found) > limit
    following = _cursor_behind(found[limit - 1]) if more else None
    jobs = [await ctx.service.status(job, root_of(request)) for job in found[:limit]]
    headers = {"Cache-Control": "no-store"}
    if following:
        url = request.url.include_query_params(cursor=following)
        headers["Link"] = f'<{root_of(request)}/tts?{url.query}>; rel="next"'
    return JSONResponse({"jobs": jobs, "next_cursor": following}, headers=headers)


def _cursor_behind(job: Job) -> str:
    """Opaque to clients: the sort key of the last job they saw."""
    return base64.urlsafe_b64encode(f"{job.created_at.hex()} {job.id}".encode()).decode().rstrip("=")


def _read_cursor(text: str) -> tuple[float, str]:
    try:
        raw = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)).decode("ascii")
        at, _, job_id = raw.partition(" ")
        created_at = float.fromhex(at)
    except (ValueError, OverflowError):
        job_id = ""
    if not is_job_id(job_id):
        raise InvalidInput("cursor must be the next_cursor of an earlier answer", "cursor")
    return created_at, job_id
