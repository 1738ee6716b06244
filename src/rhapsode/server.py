"""Run the HTTP server around a running service."""

import asyncio
import contextlib
import importlib
import logging
import socket
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

import uvicorn
from fastapi import FastAPI

from rhapsode.api.app import closing_of, create_app
from rhapsode.compose import running_service
from rhapsode.config import Loaded
from rhapsode.datadir import DataDirLock
from rhapsode.errors import ConfigError
from rhapsode.jobs.service import JobService
from rhapsode.settings import Settings
from rhapsode.zero_copy import Protocol

log = logging.getLogger(__name__)

_GRACE_S = 5
_SWITCH_S = 0.001
"""How long the event loop may keep the interpreter from the ledger's threads, which wait for an answer every few hundred microseconds;
Python's own 5 ms cost a tenth of the throughput."""
_BACKLOG = 1024


def listen(settings: Settings) -> socket.socket:
    """Bind the server's address.

    Raises:
        ConfigError: It is in use or not ours; says what to do.
    """
    host, port = settings.server.host, settings.server.port
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        sock.bind((host, port))
        sock.listen(_BACKLOG)
    except OSError as error:
        sock.close()
        raise ConfigError(
            f"server.port: cannot listen on {host}:{port}: {error.strerror}; stop what uses it or choose another --port"
        ) from error
    return sock


def url_of(settings: Settings, sock: socket.socket) -> str:
    """Address for clients on this machine."""
    host, port = sock.getsockname()[:2]
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 (compared, not bound)
    scheme = "https" if settings.server.ssl_certfile else "http"
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"


class _Server(uvicorn.Server):
    """Says when it answers, and when it is about to end."""

    def __init__(self, config: uvicorn.Config, closing: asyncio.Event, settle: Callable[[], Awaitable[None]]) -> None:
        super().__init__(config)
        self.up = asyncio.Event()
        self._closing = closing
        self._settle = settle

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Let answers end, those first that would go on for ever.

        While segments in flight are finished, questions are still answered, and whoever asks hears that this server is not ready.
        """
        self._closing.set()
        await self._settle()
        await super().shutdown(sockets)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to answer."""
        await super().startup(sockets)
        self.up.set()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Stop on SIGTERM and SIGINT without raising them again: what stands around the server is put down behind it."""
        with super().capture_signals():
            try:
                yield
            finally:
                self._captured_signals.clear()


async def serve(loaded: Loaded, sock: socket.socket, ready: Callable[[str, Callable[[], None]], None]) -> None:
    """Serve until SIGTERM or SIGINT.

    Args:
        loaded: All settings, and where they come from.
        sock: Where to listen (see :func:`listen`).
        ready: Called with the address once requests are answered, and with a function that stops the server.

    Raises:
        DataDirInUse, LedgerError, EngineError: It cannot be started.
    """
    settings = loaded.settings
    sys.setswitchinterval(_SWITCH_S)
    with DataDirLock(settings.data_dir) as lock:
        async with running_service(settings) as service, _wyoming(settings, service):
            app = create_app(loaded, service, lock.token)
            await _warn_if_open(settings, service)
            server = _Server(_uvicorn_config(settings, app), closing_of(app), service.settle)
            serving = asyncio.create_task(server.serve(sockets=[sock]))
            up = asyncio.create_task(server.up.wait())
            await asyncio.wait((serving, up), return_when=asyncio.FIRST_COMPLETED)
            up.cancel()
            url = url_of(settings, sock)
            lock.publish(url)
            ready(url, lambda: setattr(server, "should_exit", True))
            await serving


@contextlib.asynccontextmanager
async def _wyoming(settings: Settings, service: JobService) -> AsyncIterator[None]:
    """Answer Wyoming clients, if so configured; its libraries are imported only then.

    Raises:
        ConfigError: They are not installed, or the address cannot be had.
    """
    if not settings.wyoming.enabled:
        yield
        return
    try:
        module = importlib.import_module("rhapsode.wyoming_server")
    except ImportError as error:
        raise ConfigError(f"wyoming.enabled: {error}; install it with: pip install rhapsode[wyoming]") from error
    async with contextlib.AsyncExitStack() as stack:
        try:
            await stack.enter_async_context(module.answering_wyoming(service, settings.wyoming))
        except OSError as error:
            where = f"{settings.wyoming.host}:{settings.wyoming.port}"
            raise ConfigError(f"wyoming.port: cannot listen on {where}: {error.strerror}") from error
        yield


async def _warn_if_open(settings: Settings, service: JobService) -> None:
    """Say so when anybody on the network can use the server."""
    mode = settings.auth.mode
    if settings.server.is_loopback or mode == "keys":
        return
    if mode == "off" or not await service.shop.access.has_keys():
        log.warning(
            "server.host is %s and no key is needed: everybody who reaches this address may do everything. "
            "Make a key: rhapsode keys create NAME --admin",
            settings.server.host,
        )


def _uvicorn_config(settings: Settings, app: FastAPI) -> uvicorn.Config:
    server = settings.server
    return uvicorn.Config(
        app,
        http=Protocol,
        log_config=None,
        access_log=False,
        lifespan="off",
        timeout_graceful_shutdown=_GRACE_S,
        ssl_certfile=server.ssl_certfile,
        ssl_keyfile=str(server.ssl_keyfile) if server.ssl_keyfile else None,
        backlog=_BACKLOG,
        forwarded_allow_ips=server.trusted_proxies,
        timeout_keep_alive=75,
    )
