"""A short ``POST /tts``: on an idle server, and while it speaks a long text."""

import random
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from threading import Thread
from typing import Any

from bench._bare import Bare, Layout
from bench._http import Client
from bench._rows import Outcome, Row, median, spread
from bench._servers import PIPER, Running, has_piper_http, piper_http, rhapsode
from bench._setup import Setup
from bench._text import planned, sentences, spoken, text_of_segments

_LAYOUTS = (Layout("engine", 1, 2), Layout("voice", 1, 2), Layout("stock", 1, 2))
_FIVE = 5


def _ms(values: list[float]) -> float:
    return 1000 * median(values)


def _ms_spread(values: list[float]) -> tuple[float, float]:
    low, high = spread(values)
    return 1000 * low, 1000 * high


def measure_idle(setup: Setup) -> Outcome:
    """One sentence, new each time, spoken by everyone in turn; who follows whom changes from text to text."""
    times: dict[str, list[float]] = {}
    with ExitStack() as stack:
        arms: dict[str, Any] = {}
        for layout in _LAYOUTS:
            bare = stack.enter_context(Bare(layout, setup.models))
            arms[str(layout)] = lambda text, bare=bare: bare.speak(spoken(planned(text)))
        client = stack.enter_context(rhapsode(setup.folder, PIPER)).client()
        arms["tts"] = client.speak
        if has_piper_http():
            peer = stack.enter_context(piper_http(setup.folder)).client()
            arms["http"] = lambda text: peer.timed("/synthesize", {"text": text})
        names = list(arms)
        texts = (text for text in sentences(2) if 66 <= len(text) <= 74)
        turns = random.Random(1)
        for _ in range(max(setup.size(16 * setup.runs, 6), 6)):
            text = next(texts)
            turns.shuffle(names)
            for name in names:
                times.setdefault(name, []).append(arms[name](text))
    best = min((str(layout) for layout in _LAYOUTS), key=lambda name: median(times[name]))
    figure, bare_ms = _ms(times["tts"]), _ms(times[best])
    what = f"short POST /tts, idle ({len(times['tts'])} sentences of 66 to 74 characters)"
    around = _ms_spread(times["tts"])
    rows = [Row(what, figure, "ms", 1.15 * bare_ms + 20, False, f"bare engine ({best})", bare_ms, around)]
    if "http" in times:
        http = _ms(times["http"])
        rows.append(Row("the same", figure, "ms", http + 10, False, "Piper's HTTP server", http, around))
    rows += [
        Row(f"bare: {layout}", _ms(times[str(layout)]), "ms", spread=_ms_spread(times[str(layout)]))
        for layout in _LAYOUTS
        if str(layout) != best
    ]
    return Outcome(rows, {"seconds": times})


@contextmanager
def _long_job(client: Client, text: str) -> Iterator[None]:
    """A long text is spoken while the block runs, and it was not over before the block was."""
    job = client.enqueue(text)
    client.until(job, lambda found: found["current_chunk"] >= _FIVE)
    try:
        yield
        if client.status(job)["status"] != "running":
            raise RuntimeError("the long job was over before the measurement")
    finally:
        client.cancel(job)
        time.sleep(1)  # what is in flight comes to its end


@contextmanager
def _long_request(server: Running, text: str) -> Iterator[None]:
    """The same for Piper's server, which cannot be told to stop: it is ended behind this."""

    def ask() -> None:
        try:
            server.client().timed("/synthesize", {"text": text})
        except (OSError, RuntimeError):
            return  # the server was ended
        over.append(True)

    over: list[bool] = []
    Thread(target=ask, daemon=True).start()
    time.sleep(1)
    yield
    if over:
        raise RuntimeError("the long request was over before the measurement")


def measure_loaded(setup: Setup) -> Outcome:
    """Short requests, and a job of five segments, without and with a job of 500 segments beside them."""
    long_text = text_of_segments(setup.size(500, 120), 3)
    texts = (text for text in sentences(4) if 66 <= len(text) <= 74)
    per_round = setup.size(6, 4)
    times: dict[str, list[float]] = {name: [] for name in ("idle", "loaded", "five idle", "five loaded", "http")}

    def shorts(name: str, client: Client) -> None:
        times[name] += [client.speak(next(texts)) for _ in range(per_round)]

    def five(name: str, client: Client, number: int) -> None:
        text = text_of_segments(_FIVE, number)
        begun = time.perf_counter()
        client.done(client.enqueue(text))
        times[name].append(time.perf_counter() - begun)

    with rhapsode(setup.folder, PIPER) as server:
        client, other = server.client(), server.client()
        for number in range(setup.runs):
            shorts("idle", client)
            five("five idle", other, 100 + 2 * number)
            with _long_job(other, long_text):
                shorts("loaded", client)
                five("five loaded", other, 101 + 2 * number)
            if has_piper_http():
                with piper_http(setup.folder) as peer, _long_request(peer, long_text):
                    second = peer.client()
                    times["http"] += [second.timed("/synthesize", {"text": next(texts)}) for _ in range(per_round)]
    figure, idle = _ms(times["loaded"]), _ms(times["idle"])
    what = f"short POST /tts while a job of {setup.size(500, 120)} segments runs ({len(times['loaded'])} sentences)"
    rows = [Row(what, figure, "ms", 1.6 * idle, False, "the same, idle", idle, _ms_spread(times["loaded"]))]
    if times["http"]:
        http = _ms(times["http"])
        rows.append(Row("the same", figure, "ms", http, False, "Piper's HTTP server under the same load", http))
    five_idle = _ms(times["five idle"])
    rows.append(
        Row("a job of 5 segments queued behind it, to its end", _ms(times["five loaded"]), "ms", 3 * five_idle, False,
            "the same, idle", five_idle, _ms_spread(times["five loaded"]))
    )  # fmt: skip
    return Outcome(rows, {"seconds": times})
