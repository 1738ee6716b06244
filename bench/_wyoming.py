"""First sound for a Wyoming client, as Home Assistant asks: idle, and while a book is spoken."""

import asyncio
import time

from wyoming.audio import AudioChunk
from wyoming.client import AsyncTcpClient
from wyoming.tts import Synthesize

from bench._rows import Outcome, Row, median, spread
from bench._servers import PIPER, free_port, rhapsode
from bench._setup import Setup
from bench._short import long_job
from bench._text import sentences, text_of_segments


def measure(setup: Setup) -> Outcome:
    """One sentence after the other on one connection, new each time; with and without a batch job beside it."""
    port = free_port()
    settings = {**PIPER, "wyoming": {"enabled": True, "port": port}}
    texts = (text for text in sentences(6) if 66 <= len(text) <= 74)
    book = text_of_segments(setup.size(500, 120), 3)
    times: dict[str, list[float]] = {"idle": [], "loaded": []}
    per_round = setup.size(6, 3)
    with rhapsode(setup.folder, settings) as server:
        client = server.client()
        for _ in range(setup.runs):
            times["idle"] += asyncio.run(_first_sounds(port, [next(texts) for _ in range(per_round)]))
            with long_job(client, book, priority="batch"):
                times["loaded"] += asyncio.run(_first_sounds(port, [next(texts) for _ in range(per_round)]))
    loaded, idle = 1000 * median(times["loaded"]), 1000 * median(times["idle"])
    what = f"first sound of a sentence while a batch job runs ({len(times['loaded'])} sentences of 66 to 74 characters)"
    low, high = spread(times["loaded"])
    row = Row(what, loaded, "ms", 1.6 * idle, False, "the same, idle", idle, (1000 * low, 1000 * high))
    return Outcome([row], {"seconds": times})


async def _first_sounds(port: int, texts: list[str]) -> list[float]:
    """Seconds from the request to the first chunk of audio; the rest is heard out before the next."""
    found = []
    async with AsyncTcpClient("127.0.0.1", port) as client:
        for text in texts:
            begun, first = time.perf_counter(), 0.0
            await client.write_event(Synthesize(text=text).event())
            while (event := await client.read_event()) is not None and event.type != "audio-stop":
                if event.type == "error":
                    raise RuntimeError(str(event.data))
                if AudioChunk.is_type(event.type):
                    first = first or time.perf_counter()
            found.append(first - begun)
    return found
