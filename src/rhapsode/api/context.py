"""What routes need, kept on the application: no globals."""

import asyncio
from dataclasses import dataclass, field
from typing import Annotated, cast
from urllib.parse import urlsplit

from fastapi import Depends
from starlette.requests import HTTPConnection

from rhapsode.api.waveforms import Waveforms
from rhapsode.jobs.event_stream import Owners
from rhapsode.jobs.service import JobService
from rhapsode.model import LOCAL, Caller
from rhapsode.settings import Settings


@dataclass(frozen=True, slots=True)
class Context:
    """The parts that routes use."""

    service: JobService
    settings: Settings
    owners: Owners
    beat_s: float = 10.0
    """A stream of events that has nothing to say says so after this long."""
    closing: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when the server stops: streams end."""
    waveforms: Waveforms = field(default_factory=Waveforms)


async def _context(request: HTTPConnection) -> Context:  # async: anything else would wait for a thread
    return cast(Context, request.app.state.context)


Ctx = Annotated[Context, Depends(_context)]


async def _caller(_: HTTPConnection) -> Caller:
    return LOCAL


_THIS_MACHINE = frozenset({"localhost", "127.0.0.1", "::1"})

Reader = Annotated[Caller, Depends(_caller)]
"""Whoever asks, granted to read."""
Submitter = Annotated[Caller, Depends(_caller)]
"""Whoever asks, granted to submit and to change jobs."""
Admin = Annotated[Caller, Depends(_caller)]
"""Whoever asks, granted everything."""


def origin_allowed(connection: HTTPConnection) -> bool:
    """Whether whoever opens a WebSocket is no foreign page: browsers name its origin, and let it read what comes.

    Pages of this server and pages on this machine may.
    """
    origin = connection.headers.get("origin")
    if origin is None:
        return True
    try:
        found = urlsplit(origin)
        host = found.hostname
    except ValueError:
        return False
    return found.netloc == connection.headers.get("host") or host in _THIS_MACHINE


def root_of(request: HTTPConnection) -> str:
    """Root path under which the client sees this server, without a trailing slash."""
    return str(request.scope.get("root_path", "")).rstrip("/")
