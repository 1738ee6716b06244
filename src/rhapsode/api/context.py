"""What routes need, kept on the application: no globals."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Annotated, cast
from urllib.parse import urlsplit

from fastapi import Depends, WebSocketException
from starlette.requests import HTTPConnection
from starlette.status import WS_1008_POLICY_VIOLATION

from rhapsode.api.auth import Gate
from rhapsode.api.previews import Previews
from rhapsode.api.waveforms import Waveforms
from rhapsode.config_file import ConfigFile
from rhapsode.errors import Forbidden, QuotaExceeded, Unauthorized
from rhapsode.jobs.event_stream import Owners
from rhapsode.jobs.service import JobService
from rhapsode.model import Caller, Scope
from rhapsode.settings import Settings


@dataclass(frozen=True, slots=True)
class Context:
    """The parts that routes use."""

    service: JobService
    settings: Settings
    owners: Owners
    gate: Gate
    config: ConfigFile
    beat_s: float = 10.0
    """A stream of events that has nothing to say says so after this long."""
    closing: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when the server stops: streams end."""
    waveforms: Waveforms = field(default_factory=Waveforms)
    previews: Previews = field(default_factory=Previews)


async def _context(request: HTTPConnection) -> Context:  # async: anything else would wait for a thread
    return cast(Context, request.app.state.context)


Ctx = Annotated[Context, Depends(_context)]


def _granted(scope: Scope) -> Callable[..., Awaitable[Caller]]:
    async def caller(connection: HTTPConnection, ctx: Ctx) -> Caller:
        try:
            found = await ctx.gate.caller(connection)
            if not found.may(scope):
                raise Forbidden(f"this needs a key with the scope {scope.value}")
        except (Unauthorized, Forbidden, QuotaExceeded) as error:
            if connection.scope["type"] == "websocket":  # there is no answer to write a problem into
                raise WebSocketException(WS_1008_POLICY_VIOLATION, str(error)) from None
            raise
        return found

    return caller


_THIS_MACHINE = frozenset({"localhost", "127.0.0.1", "::1"})

Reader = Annotated[Caller, Depends(_granted(Scope.READ))]
"""Whoever asks, granted to read."""
Submitter = Annotated[Caller, Depends(_granted(Scope.SUBMIT))]
"""Whoever asks, granted to submit and to change jobs."""
Admin = Annotated[Caller, Depends(_granted(Scope.ADMIN))]
"""Whoever asks, granted everything."""


async def _same_site(connection: HTTPConnection, ctx: Ctx) -> None:
    await ctx.gate.require_own_page(connection)


SameSite = Depends(_same_site)
"""For routes that change keys and settings: refuses pages of other sites, even while no key is needed."""


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
