"""A name for each request, in its answer and in the log: the client's own, if it sent a usable one."""

import re
import uuid
from contextvars import ContextVar

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from rhapsode.logs import log_about

HEADER = "X-Request-Id"
_USABLE = re.compile(r"[\w.:-]{1,128}", re.ASCII)
_current: ContextVar[str] = ContextVar("request_id")


def request_id() -> str:
    """Of the request that is being answered; a fresh one outside of any."""
    return _current.get("") or str(uuid.uuid4())


class RequestId:
    """ASGI middleware."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Name the request; the answer to it carries the name."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        given = Headers(scope=scope).get(HEADER, "")
        name = given if _USABLE.fullmatch(given) else str(uuid.uuid4())
        log_about(request_id=name)
        _current.set(name)  # each request is a task of its own: nothing is to be reset

        async def named(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message)[HEADER] = name
            await send(message)

        await self._app(scope, receive, named)
