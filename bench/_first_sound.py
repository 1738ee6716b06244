"""How long a listener waits for the first sound of a text, whatever the length of the text."""

import time
from contextlib import ExitStack

from bench._bare import Bare, Layout
from bench._http import Client
from bench._rows import Outcome, Row, median, spread
from bench._servers import PIPER, rhapsode
from bench._setup import Setup
from bench._text import planned, prose, sentences, spoken

_LAYOUTS = (Layout("engine", 1, 2), Layout("voice", 1, 2), Layout("stock", 1, 2))
_REST_S = 1.0
"""Between two measurements: what was broken off comes to its end."""


def _streamed(client: Client, text: str) -> float:
    begun = time.perf_counter()
    with client.stream("POST", "/tts", {"text": text, "stream": True}) as heard:
        return heard - begun


def _queued(client: Client, text: str) -> float:
    begun = time.perf_counter()
    job = client.enqueue(text)
    with client.stream("GET", f"/tts/{job}/audio") as heard:
        took = heard - begun
    client.cancel(job)
    return took


def measure(setup: Setup) -> Outcome:
    """Time to the first audio bytes, from the first byte of the request; each text begins with a sentence of its own."""
    body = prose(setup.size(5_000_000, 500_000), 5)
    firsts = (text for text in sentences(6) if 50 <= len(text) <= 90)
    times: dict[str, list[float]] = {}
    lengths = {"1 KB": 1000, f"{len(body) / 1e6:.1f} MB": len(body)}
    with ExitStack() as stack:
        bares = [stack.enter_context(Bare(layout, setup.models)) for layout in _LAYOUTS]
        client = stack.enter_context(rhapsode(setup.folder, PIPER)).client()
        for _ in range(setup.runs):
            for size, chars in lengths.items():
                for way, listen in (("stream: true", _streamed), ("enqueue, then live audio", _queued)):
                    first = next(firsts)
                    for bare in bares:
                        times.setdefault(str(bare.layout), []).append(bare.speak(spoken(planned(first))))
                    times.setdefault(f"{way}, {size}", []).append(listen(client, f"{first} {body[:chars]}"))
                    time.sleep(_REST_S)
    best = min((str(layout) for layout in _LAYOUTS), key=lambda name: median(times[name]))
    bare_ms = 1000 * median(times[best])
    rows = [
        Row(f"first sound, {name}", 1000 * median(values), "ms", 1.5 * bare_ms + 50, False,
            f"bare engine, first sentence ({best})", bare_ms, [1000 * value for value in spread(values)])
        for name, values in times.items()
        if name not in map(str, _LAYOUTS)
    ]  # fmt: skip
    return Outcome(rows, {"seconds": times})
