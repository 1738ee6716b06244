"""Files that the kernel sends by itself: the ASGI extension ``http.response.zerocopysend`` for uvicorn.

An application that finds it in its scope may send ``{"type": "http.response.zerocopysend", "file": descriptor, "offset", "count"}``
instead of a body, once, and ends the answer with an ordinary empty body. There is none over TLS, where bytes must pass through this process, nor
where the system cannot. docs/decisions/zero-copy.md has the reasons and figures.
"""

import asyncio
import os
from typing import cast

import anyio.to_thread
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn._types import ASGI3Application
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

EXTENSION = "http.response.zerocopysend"
_AT_ONCE = 4 << 20
"""Most bytes of one system call: it ends where the socket's buffer does, or here."""


class Protocol(HttpToolsProtocol):
    """HTTP as uvicorn speaks it, with the extension."""

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGI3Application) -> None:
        if hasattr(os, "sendfile") and cycle.transport.get_extra_info("sslcontext") is None:
            app = cast(ASGI3Application, _with_extension(cast(ASGIApp, app), cycle))
        super()._start_asgi_task(cycle, app)


def _with_extension(app: ASGIApp, cycle: RequestResponseCycle) -> ASGIApp:
    async def extended(scope: Scope, receive: Receive, send: Send) -> None:
        async def send_or_copy(message: Message) -> None:
            if message["type"] == EXTENSION:
                await _copy(cycle, message["file"], message["offset"], message["count"])
            else:
                await send(message)

        extensions = {**scope.get("extensions", {}), EXTENSION: {}}
        await app({**scope, "extensions": extensions}, receive, send_or_copy)

    return extended


async def _copy(cycle: RequestResponseCycle, file: int, offset: int, count: int) -> None:
    """Send a stretch of a file behind what was written before; less when the client leaves or the file ends before.

    A transport buffers what the socket does not take, so its buffer has to be empty first; it is used by nobody else meanwhile.
    """
    transport = cycle.transport
    transport.set_write_buffer_limits(0)
    try:
        await cycle.flow.drain()
        if cycle.disconnected or transport.is_closing():
            return
        sock = os.dup(transport.get_extra_info("socket").fileno())  # ours: it stays what it is when the client leaves
        try:
            while count and (sent := await _send(sock, file, offset, count)):
                offset, count = offset + sent, count - sent
                cycle.expected_content_length -= sent
        except ConnectionError:
            cycle.disconnected = True  # before the transport notices
            transport.abort()
        finally:
            os.close(sock)
    finally:
        if not transport.is_closing():
            transport.set_write_buffer_limits()


async def _send(sock: int, file: int, offset: int, count: int) -> int:
    """As much as the socket takes at once, but something, unless the file ends here."""
    while True:
        try:  # in a thread, for the disk may be slow; it is waited for even when this is cancelled, for it has the descriptors
            return await anyio.to_thread.run_sync(os.sendfile, sock, file, offset, min(count, _AT_ONCE))
        except BlockingIOError:
            await _writable(sock)


async def _writable(sock: int) -> None:
    loop, ready = asyncio.get_running_loop(), asyncio.Event()
    loop.add_writer(sock, ready.set)
    try:
        await ready.wait()
    finally:
        loop.remove_writer(sock)
