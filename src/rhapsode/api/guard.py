"""At the door: for whom a request is meant, and what browsers may do with the answer."""

from starlette.datastructures import MutableHeaders
from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from rhapsode.api.auth import Gate
from rhapsode.api.errors import problem
from rhapsode.api.hosts import called

NO_SNIFF = {"X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer"}
_NO_PAGE = "default-src 'none'; frame-ancestors 'none'"
"""Of answers that are no page: nothing in them is run, loaded or framed, whatever a browser takes them for."""
_PLAYED = ("audio/", "video/")
"""Browsers show these in a page of their own, which has to load them."""


class Guard:
    """ASGI middleware: refuses requests for other hosts, and adds headers of safety to answers that have none of their own."""

    def __init__(self, app: ASGIApp, gate: Gate) -> None:
        self._app = app
        self._gate = gate

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse or pass on."""
        if scope["type"] not in {"http", "websocket"}:
            await self._app(scope, receive, send)
            return
        host = called(HTTPConnection(scope))
        if not self._gate.hosts.admits(host, await self._gate.is_closed()):
            detail = f"Host: this server is not called {host[:100]!r}; if it is, add it to server.allowed_hosts"
            await problem(403, "forbidden", detail, headers=NO_SNIFF)(scope, receive, send)
            return

        async def safe(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in NO_SNIFF.items():
                    headers.setdefault(name, value)
                if not headers.get("content-type", "").startswith(_PLAYED):
                    headers.setdefault("Content-Security-Policy", _NO_PAGE)
            await send(message)

        await self._app(scope, receive, safe)
