"""A connection that breaks: a TCP relay to a server that cuts each connection off after so many bytes of answer."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from urllib.parse import urlsplit


class Relay:
    """Passes connections on to the server at ``url``.

    Args:
        url: Where they go.
        budgets: Bytes of answer that the first, second … connection may carry; later ones carry everything.
    """

    def __init__(self, url: str, budgets: Sequence[int]) -> None:
        self.url = ""
        self.connections = 0
        self.tasks: set[asyncio.Task[None]] = set()
        self._target = urlsplit(url)
        self._budgets = iter(budgets)

    def connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Take a connection."""
        self.tasks.add(asyncio.create_task(self._carry(reader, writer)))

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        budget = next(self._budgets, None)
        there, back = await asyncio.open_connection(self._target.hostname, self._target.port)
        up = asyncio.create_task(_pump(reader, back, None))
        try:
            await _pump(there, writer, budget)
        finally:
            up.cancel()
            await asyncio.gather(up, return_exceptions=True)
            back.transport.abort()
            writer.transport.abort()


async def _pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter, budget: int | None) -> None:
    with contextlib.suppress(ConnectionError):
        while data := await source.read(65_536 if budget is None else min(budget, 65_536)):
            sink.write(data)
            await sink.drain()
            if budget is not None:
                budget -= len(data)
                if budget <= 0:
                    return


@asynccontextmanager
async def breaking(url: str, *budgets: int) -> AsyncIterator[Relay]:
    """A relay to ``url`` for as long as the block runs."""
    relay = Relay(url, budgets)
    server = await asyncio.start_server(relay.connected, "127.0.0.1", 0)
    relay.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    async with server:
        yield relay
        for task in relay.tasks:
            task.cancel()
        await asyncio.gather(*relay.tasks, return_exceptions=True)
