"""What routes need, kept on the application: no globals."""

from dataclasses import dataclass
from typing import Annotated, cast

from fastapi import Depends, Request

from rhapsode.jobs.service import JobService
from rhapsode.model import LOCAL, Caller
from rhapsode.settings import Settings


@dataclass(frozen=True, slots=True)
class Context:
    """The parts that routes use."""

    service: JobService
    settings: Settings


async def _context(request: Request) -> Context:  # async: anything else would wait for a thread
    return cast(Context, request.app.state.context)


Ctx = Annotated[Context, Depends(_context)]


async def _caller(_: Request) -> Caller:
    return LOCAL


Reader = Annotated[Caller, Depends(_caller)]
"""Whoever asks, granted to read."""
Submitter = Annotated[Caller, Depends(_caller)]
"""Whoever asks, granted to submit and to change jobs."""
Admin = Annotated[Caller, Depends(_caller)]
"""Whoever asks, granted everything."""


def root_of(request: Request) -> str:
    """Root path under which the client sees this server, without a trailing slash."""
    return str(request.scope.get("root_path", "")).rstrip("/")
