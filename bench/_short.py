"""A short ``POST /tts``: on an idle server, and while it speaks a long text."""

import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Thread

from bench._bare import Bare, Layout
from bench._http import Client
from bench._rows import Outcome, Row, median, spread
from bench._servers import PIPER, Running, has_piper_http, piper_http, rhapsode
from bench._setup import Setup
from bench._text import planned, sentences, spoken, text_of_segments

_LAYOUTS = (Layout("engine", 1, 2), Layout("voice", 1, 2), Layout("stock", 1, 2))
_FIVE = 5
_REST_S = 0.1
"""Before each sentence: threads of onnxruntime as it comes go on turning for a while, and would slow down who is next."""
_HTTP = "Piper's HTTP server"


def _ms(values: list[float]) -> float:
    return 1000 * median(values)


def _ms_spread(values: list[float]) -> tuple[float, float]:
    low, high = spread(values)
    return 1000 * low, 1000 * high


@contextmanager
def _rivals(setup: Setup) -> Iterator[Iterator[tuple[str, Callable[[str], float]]]]:
    """Each rival by its name, with what speaks a text and gives the seconds; loaded only while it is its turn."""

    def turns() -> Iterator[tuple[str, Callable[[str], float]]]:
        for layout in _LAYOUTS:
            with Bare(layout, setup.models) as bare:
                yield str(layout), lambda text, bare=bare: bare.speak(spoken(planned(text)))  # type: ignore[misc]
        if has_piper_http():
            with piper_http(setup.folder) as server:
                peer = server.client()
                yield _HTTP, lambda text: peer.timed("/synthesize", {"text": text})

    yield turns()


def measure_idle(setup: Setup) -> Outcome:
    """One sentence, new each time, spoken by the server and by one rival at a time; who begins is drawn anew."""
    times: dict[str, list[float]] = {}
    beside: dict[str, list[float]] = {}
    texts = (text for text in sentences(2) if 66 <= len(text) <= 74)
    turns = random.Random(1)
    with rhapsode(setup.folder, PIPER) as server, _rivals(setup) as rivals:
        client = server.client()
        for name, speak in rivals:
            both = [(beside.setdefault(name, []), client.speak), (times.setdefault(name, []), speak)]
            for _ in range(setup.size(12 * setup.runs, 6)):
                text = next(texts)
                turns.shuffle(both)
                for kept, arm in both:
                    time.sleep(_REST_S)
                    kept.append(arm(text))
    best = min((str(layout) for layout in _LAYOUTS), key=lambda name: median(times[name]))
    rows = [_idle_row(beside[best], times[best], f"bare engine ({best})", 1.15, 20)]
    if _HTTP in times:
        rows.append(_idle_row(beside[_HTTP], times[_HTTP], _HTTP, 1, 10))
    rows += [
        _idle_row(beside[name], times[name], f"bare engine ({name})") for name in map(str, _LAYOUTS) if name != best
    ]
    return Outcome(rows, {"seconds": times, "beside": beside})


def _idle_row(ours: list[float], theirs: list[float], name: str, factor: float = 0, plus_ms: float = 0) -> Row:
    what = f"short POST /tts, idle ({len(ours)} sentences of 66 to 74 characters)"
    limit = factor * _ms(theirs) + plus_ms if factor else None
    return Row(what, _ms(ours), "ms", limit, False, name, _ms(theirs), _ms_spread(ours))


@contextmanager
def long_job(client: Client, text: str, **fields: object) -> Iterator[None]:
    """A long text is spoken while the block runs, and it was not over before the block was."""
    job = client.enqueue(text, **fields)
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
            with long_job(other, long_text):
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
