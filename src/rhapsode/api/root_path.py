"""The path below which clients see this server (``server.root_path``), as ASGI has it: a part of ``path``, named by ``root_path``."""

from starlette.types import ASGIApp, Receive, Scope, Send


class RootPath:
    """ASGI middleware. The proxy may pass the path on or cut it off, and programs on this machine may leave it out.

    Args:
        app: What is behind it.
        root: Such as ``/a/b``; empty: there is none.
    """

    def __init__(self, app: ASGIApp, root: str) -> None:
        self._app = app
        self._root = root

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on."""
        if self._root and scope["type"] in {"http", "websocket"}:
            path = scope["path"]
            is_there = path == self._root or path.startswith(self._root + "/")
            scope = {**scope, "root_path": self._root, "path": path if is_there else self._root + path}
        await self._app(scope, receive, send)
