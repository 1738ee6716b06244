"""Which server a command speaks to: the one named, the one that runs on the data directory, or one of its own."""

import asyncio
import os
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Self, TypeVar
from urllib.parse import urlsplit

import uvloop

from rhapsode.cli.options import EXIT_INTERRUPTED, Options
from rhapsode.client import Client, Unreachable
from rhapsode.config import Loaded
from rhapsode.datadir import read_holder, running_url
from rhapsode.errors import DataDirInUse, RhapsodeError
from rhapsode.server import listen, serve
from rhapsode.settings import Server, Settings

T = TypeVar("T")

_PATIENCE_S = 10.0
"""How long a command that only asks waits for a server that holds the data directory without answering."""
_WORK_PATIENCE_S = 150.0
"""The same for one that has work to do: a server that starts may load a model, one that stops speaks its last segments."""
_TRY_AGAIN_S = 0.2


def patiently(attempt: Callable[[], T | None], patience_s: float = _PATIENCE_S) -> T:
    """The first answer of ``attempt`` that is not None; tried again while another process holds the data directory.

    Raises:
        DataDirInUse: It held it to the end.
    """
    deadline = time.monotonic() + patience_s
    while True:
        held: DataDirInUse | None = None
        try:
            found = attempt()
        except DataDirInUse as error:
            found, held = None, error
        if found is not None:
            return found
        if time.monotonic() > deadline:
            raise held or DataDirInUse("the server that holds the data directory does not answer")
        time.sleep(_TRY_AGAIN_S)


def running_server(settings: Settings) -> Client | None:
    """A client of the server that holds the data directory, or None when there is none.

    Raises:
        DataDirInUse: There is one, but it does not answer.
    """
    url = running_url(settings.data_dir)
    if url is None:
        return None
    client = local_client(url, settings)
    if client.is_alive():
        return client
    client.close()
    raise DataDirInUse(f"the server at {url} holds {settings.data_dir} but does not answer; wait for it, or stop it")


def local_client(url: str, settings: Settings) -> Client:
    """A client of this user's own server: its address and a key to it stand in a file that is this user's alone."""
    token = read_holder(settings.data_dir).get("token")
    return Client(url, verify=urlsplit(url).scheme != "https", api_key=token if isinstance(token, str) else None)


class OwnServer:
    """A server in a thread of this process, on any free loopback port, for as long as one command runs.

    Raises:
        RhapsodeError: What starting a server raises.
    """

    def __init__(self, loaded: Loaded) -> None:
        plain = Server(port=0)
        self._loaded = replace(loaded, settings=loaded.settings.model_copy(update={"server": plain}))
        self._socket = listen(self._loaded.settings)
        self._settled = threading.Event()
        self._url = ""
        self._error: BaseException | None = None
        self._end: Callable[[], None] = lambda: None
        self._thread = threading.Thread(target=self._run, name="server", daemon=True)
        self._thread.start()
        try:
            self._settled.wait()
        except KeyboardInterrupt:
            self.stop()
            raise
        if not self._url:
            raise self._error or RhapsodeError("the server ended before it answered")

    @property
    def url(self) -> str:
        """Where it answers."""
        return self._url

    def stop(self) -> None:
        """End it: segments in hand are finished, all is stored, workers are gone, the data directory is free."""
        self._end()
        try:
            self._thread.join()
        except KeyboardInterrupt:  # the second one: what is stored is safe, and workers end with their parent
            os._exit(EXIT_INTERRUPTED)

    def _run(self) -> None:
        try:
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                runner.run(self._serve())
        except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001 - raised again in the thread that waits
            self._error = error
        finally:
            self._socket.close()
            self._settled.set()

    async def _serve(self) -> None:
        loop = asyncio.get_running_loop()
        serving = asyncio.ensure_future(serve(self._loaded, self._socket, self._on_ready))
        self._end = lambda: _soon(loop, serving.cancel)
        await serving

    def _on_ready(self, url: str, stop: Callable[[], None]) -> None:
        self._end = stop
        self._url = url
        self._settled.set()


def _soon(loop: asyncio.AbstractEventLoop, call: Callable[[], object]) -> None:
    if not loop.is_closed():
        loop.call_soon_threadsafe(call)


class Connection:
    """A client of the server that does the work; found, or started, when it is first needed. A context manager."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self._client: Client | None = None
        self._own: OwnServer | None = None
        self._has_answered = False
        self._lost_since: float | None = None

    @property
    def is_own(self) -> bool:
        """Whether the server lives and dies with this process."""
        return self._own is not None

    def client(self) -> Client:
        """The client.

        Raises:
            Unreachable: The server that was named does not answer.
            RhapsodeError: What starting a server raises.
        """
        if self._client is None:
            self._client = (
                Client(self._options.server, api_key=self._options.api_key)
                if self._options.server
                else patiently(self._find_or_start, _WORK_PATIENCE_S)
            )
        return self._client

    def lost(self, error: Unreachable) -> None:
        """The server is gone: forget it, so that :meth:`client` looks for another one on the same data directory.

        Raises:
            Unreachable: ``error``, when there is nothing to hope for.
        """
        if self._options.server and not self._has_answered:
            raise error
        now = time.monotonic()
        if self._lost_since is None:
            self._options.warn(f"{error}; trying again")
            self._lost_since = now
        if now - self._lost_since > _WORK_PATIENCE_S:
            raise error
        self.close()
        time.sleep(_TRY_AGAIN_S)

    def answered(self) -> None:
        """The server is there (again)."""
        self._has_answered = True
        self._lost_since = None

    def close(self) -> None:
        """Let go of the client; a server of our own ends."""
        client, self._client = self._client, None
        own, self._own = self._own, None
        if client:
            client.close()
        if own:
            own.stop()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _find_or_start(self) -> Client | None:
        loaded = self._options.load()
        settings = loaded.settings
        client = running_server(settings)
        if client is None:
            self._own = OwnServer(loaded)
            client = local_client(self._own.url, settings)
        return client
