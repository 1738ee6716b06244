"""One long text through the queue, beside the bare engine in its best layout and beside Piper's own server."""

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial
from time import perf_counter

from bench._bare import Bare, Layout
from bench._rows import Outcome, Row, median, spread
from bench._servers import PIPER, Running, has_piper_http, piper_http, rhapsode
from bench._setup import Setup
from bench._text import planned, prose, spoken

LIMIT = 0.95
_LAYOUTS = [Layout(kind, *shape) for kind in ("engine", "voice") for shape in ((2, 1), (1, 2))]
_PILOT_CHARS = 6000
_POLL_S = 1.0
"""How often a client asks whether a long text is done. Twenty times a second would cost both sides 3 % of this machine."""
_PEER_ROUNDS = 2


def _through_queue(server: Running, text: str, segments: int) -> float:
    client = server.client()
    begun = perf_counter()
    status = client.done(client.enqueue(text), poll_s=_POLL_S if len(text) > _PILOT_CHARS else 0.05)
    took = perf_counter() - begun
    if status["total_chunks"] != segments:
        raise RuntimeError(f"the server planned {status['total_chunks']} segments, the bare engine had {segments}")
    client.close()
    return took


def _best(layouts: Sequence[Layout], setup: Setup, texts: Sequence[str]) -> tuple[Bare, dict[str, float]]:
    """The fastest layout, running, and what a first short run of each gave, in characters per second."""
    rates: dict[str, float] = {}
    found: dict[str, Bare] = {}
    for layout in layouts:
        bare = found[str(layout)] = Bare(layout, setup.models)
        rates[str(layout)] = sum(map(len, texts)) / median([bare.speak(texts) for _ in range(3)])
    best = max(rates, key=rates.__getitem__)
    for name, bare in found.items():
        if name != best:
            bare.__exit__(None, None, None)
    return found[best], rates


def measure(setup: Setup) -> Outcome:
    """Characters per second; all arms speak the same segments, one after another, over and over."""
    text = prose(setup.size(setup.chars, 2500))
    segments = planned(text)
    texts = spoken(segments)
    pilot = spoken(planned(prose(setup.size(_PILOT_CHARS, 1000), 1)))
    with ExitStack() as stack:
        arms: dict[str, Callable[[], float]] = {}
        bare, pilots = _best(_LAYOUTS, setup, pilot)
        stack.push(bare)
        arms[str(bare.layout)] = partial(bare.speak, texts)
        server = stack.enter_context(rhapsode(setup.folder, PIPER))
        arms["queue"] = lambda: _through_queue(server, text, len(segments))
        if has_piper_http():
            peer = stack.enter_context(piper_http(setup.folder)).client()
            arms["http"] = lambda: peer.timed("/synthesize", {"text": text})
        rates_of: dict[str, list[float]] = {name: [] for name in arms}
        for number in range(setup.runs):
            for name, speak in arms.items():
                if name != "http" or number < _PEER_ROUNDS:  # far behind: two rounds show it
                    rates_of[name].append(len(text) / speak())
    medians = {name: median(values) for name, values in rates_of.items()}
    bare_name = max((name for name in arms if name not in ("queue", "http")), key=medians.__getitem__)
    queue, best = medians["queue"], medians[bare_name]
    what = f"one text of {len(text):,} characters, {len(segments)} segments, through the queue"
    around = spread(rates_of["queue"])
    rows = [Row(what, queue, "characters/s", LIMIT * best, True, f"bare engine ({bare_name})", best, around)]
    if "http" in arms:
        http = medians["http"]
        rows.append(Row("the same", queue, "characters/s", http, True, "Piper's HTTP server", http, around))
    for name, values in rates_of.items():
        if name not in ("queue", "http"):
            rows.append(Row(f"bare: {name}", medians[name], "characters/s", spread=spread(values)))
    rows += [
        Row(f"bare, short trial: {name}", rate, "characters/s") for name, rate in pilots.items() if name not in medians
    ]
    return Outcome(rows, {"rates": rates_of, "pilots": pilots})
