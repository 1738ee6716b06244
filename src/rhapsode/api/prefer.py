"""``Prefer: wait=n`` (RFC 7240): answer when the job has ended, or after ``n`` seconds."""

import asyncio
import re
from collections.abc import Sequence

from fastapi import Request, Response

from rhapsode.api.connection import while_connected
from rhapsode.api.context import Context
from rhapsode.model import Caller, Job

MOST_S = 60
_WAIT = re.compile(r'\s*wait\s*=\s*"?(\d{1,9})"?\s*(?:;.*)?', re.IGNORECASE)


def wanted_wait(headers: Sequence[str]) -> int | None:
    """Seconds that a client would wait, at most :data:`MOST_S`; None when it does not say. Preferences we do not know are ignored."""
    for preference in ",".join(headers).split(","):
        if found := _WAIT.fullmatch(preference):
            return min(int(found[1]), MOST_S)
    return None


async def until_ended(ctx: Context, job: Job, caller: Caller, request: Request) -> tuple[Job, int | None]:
    """The job once it has ended, or as it is after what the client prefers to wait; and how long that is.

    Raises:
        Gone: It was deleted meanwhile.
        ClientLeft: Nobody waits any more.
    """
    seconds = wanted_wait(request.headers.getlist("prefer"))
    if seconds and not job.status.is_terminal:
        await while_connected(request, _end_or_timeout(ctx, job.id, seconds))
        job = await ctx.service.living(job.id, caller)
    return job, seconds


async def _end_or_timeout(ctx: Context, job_id: str, seconds: int) -> None:
    ending, closing = asyncio.create_task(ctx.service.wait(job_id)), asyncio.create_task(ctx.closing.wait())
    try:
        await asyncio.wait((ending, closing), timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in (ending, closing):
            task.cancel()
        await asyncio.gather(ending, closing, return_exceptions=True)


def applied(response: Response, seconds: int | None) -> Response:
    """Say that the answer depends on the preference, and whether it was heeded."""
    response.headers["Vary"] = "Prefer"
    if seconds is not None:
        response.headers["Preference-Applied"] = f"wait={seconds}"
    return response
