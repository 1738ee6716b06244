"""Which pages of other sites may call: all while no key is needed, afterwards only those that are named."""

from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from rhapsode.api.auth import RATE_HEADERS, Gate
from rhapsode.errors import LedgerUnavailable

_EXPOSED = [
    "Content-Disposition",
    "Idempotent-Replayed",
    "Link",
    "Retry-After",
    "X-Job-Id",
    "X-Seed",
    "X-Warnings",
    "X-Request-Id",
]
_METHODS = ["GET", "POST", "OPTIONS", "DELETE", "PATCH"]


class Cors:
    """ASGI middleware; changes with the first key, without a restart. Also adds what the gate has to say of limits."""

    def __init__(self, app: ASGIApp, gate: Gate) -> None:
        self._gate = gate
        self._open = _cors(app, ["*", "null"])
        self._closed = _cors(app, gate.settings.origins)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer the preflight, or pass on."""
        if scope["type"] != "http":
            await self._open.app(scope, receive, send)
            return

        async def limited(message: Message) -> None:
            if message["type"] == "http.response.start" and (found := scope.get("state", {}).get(RATE_HEADERS)):
                message["headers"] = [*message["headers"], *found]
            await send(message)

        await (self._closed if await self._is_closed() else self._open)(scope, receive, limited)

    async def _is_closed(self) -> bool:
        try:
            return await self._gate.is_closed()
        except LedgerUnavailable:  # whoever asks will be told; until it is known, nobody else's page may call
            return True


def _cors(app: ASGIApp, origins: list[str]) -> CORSMiddleware:
    return CORSMiddleware(
        app, allow_origins=origins, allow_methods=_METHODS, allow_headers=["*"], expose_headers=_EXPOSED
    )
