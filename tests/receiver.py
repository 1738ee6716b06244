"""A real receiver of webhooks on a loopback port, whose answers a test decides."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Got:
    """A message as it came."""

    path: str
    headers: dict[str, str]
    body: bytes


@dataclass(slots=True)
class Receiver:
    """Answers with ``answer(message)``: a raw HTTP response, or None for none, ever."""

    answer: Callable[[Got], bytes | None]
    url: str = ""
    got: list[Got] = field(default_factory=list)
    news: asyncio.Condition = field(default_factory=asyncio.Condition)
    sent: int = 0

    async def until(self, count: int, timeout_s: float = 30.0) -> None:
        """Wait for that many messages."""
        async with asyncio.timeout(timeout_s), self.news:
            await self.news.wait_for(lambda: len(self.got) >= count)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, one message."""
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
            headers = {k.lower(): v for k, v in (line.split(": ", 1) for line in head[1:] if line)}
            body = await reader.readexactly(int(headers["content-length"]))
            message = Got(head[0].split()[1], headers, body)
            async with self.news:
                self.got.append(message)
                self.news.notify_all()
            answer = self.answer(message)
            if answer is None:
                await reader.read()  # until the other side gives up
            else:
                for start in range(0, len(answer), 65_536):
                    writer.write(answer[start : start + 65_536])
                    await writer.drain()
                    self.sent = start
        writer.close()


def status(code: int, *headers: str, body: bytes = b"") -> bytes:
    """A raw response."""
    lines = [f"HTTP/1.1 {code} X", f"Content-Length: {len(body)}", *headers, "", ""]
    return "\r\n".join(lines).encode() + body


@asynccontextmanager
async def receiving(answer: Callable[[Got], bytes | None]) -> AsyncIterator[Receiver]:
    """A receiver for as long as the block runs."""
    receiver = Receiver(answer)
    server = await asyncio.start_server(receiver.serve, "127.0.0.1", 0)
    receiver.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield receiver
    finally:
        server.close()
