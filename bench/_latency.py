"""How quickly the server answers small questions while everything that can burden it does so at once."""

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Event, Thread

from bench._rows import ROOT, Outcome, Row, percentile, spread
from bench._servers import PIPER, Running, rhapsode
from bench._setup import Setup
from bench._text import prose, sentences

LIMIT_MS = 50
_RATE = 25.0
"""Per second and page: one every 40 ms, so that a question meets the one before only in a stall."""
_SEED = 4711
_HOSTILE = ("“Dr. ", "a.", "$1.50 ", "[a](http://b", "é\u0301😀 ", "x", "we went, ", "“", "1,000,", "\n\n")


def _hostile(chars: int) -> str:
    """Long stretches of what is hard to split, between words."""
    piece = "".join(part * 2000 for part in _HOSTILE)
    return "It begins here. " + (piece * (chars // len(piece) + 1))[:chars]


@contextmanager
def _busy(*works: Callable[[Event], None]) -> Iterator[None]:
    """Do these over and over, each in a thread, while the block runs; what one of them raises is raised behind it."""
    ended = Event()
    errors: list[BaseException] = []

    def run(work: Callable[[Event], None]) -> None:
        try:
            while not ended.is_set():
                work(ended)
        except BaseException as error:  # noqa: BLE001 - told to whoever waits
            errors.append(error)

    threads = [Thread(target=run, args=(work,)) for work in works]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        ended.set()
        for thread in threads:
            thread.join()
    if errors:
        raise errors[0]


class _Load:
    """What weighs on the server."""

    def __init__(self, server: Running, setup: Setup) -> None:
        self._server = server
        self.speech = prose(setup.size(setup.chars, 3000), 7)
        self.hostile = _hostile(setup.size(5_000_000, 500_000))
        self.planned = self.assembled = 0

    def plan(self, ended: Event) -> None:
        """Have a hostile text planned to its end, or to that of the measurement."""
        client = self._server.client()
        job = client.enqueue(self.hostile, priority="batch")
        client.until(job, lambda found: found["segments"]["planned"] or ended.is_set(), 0.25)
        client.cancel(job)
        self.planned += 1

    def assemble(self, ended: Event) -> None:
        """Have a long MP3 made of takes that are there already."""
        client = self._server.client()
        job = client.enqueue(self.speech, seed=_SEED, output_format="mp3")
        client.until(job, lambda found: found["status"] == "completed" or ended.is_set(), 0.25)
        client.cancel(job)
        self.assembled += 1

    def speak(self, _: Event) -> None:
        """Keep the worker for interactive work busy, too."""
        self._server.client().speak(prose(600, time.monotonic_ns()))


def _probe(url: str, paths: list[str], count: int) -> list[list[float]]:
    """Ask for each page from a process of its own; seconds per answer."""
    probes = [
        subprocess.Popen(
            [sys.executable, "-m", "bench._prober", url, str(_RATE), str(count), path], stdout=subprocess.PIPE, cwd=ROOT
        )
        for path in paths
    ]
    return [json.loads(probe.communicate()[0]) for probe in probes]


def measure(setup: Setup) -> Outcome:
    """p99 over every request of a run; the worst run counts beside the median one."""
    waiting, asked = setup.size(10_000, 500), setup.size(1000, 300)
    worst: dict[str, list[float]] = {"/livez": [], "/tts/{id}/status": []}
    raw: dict[str, list[list[float]]] = {name: [] for name in worst}
    with rhapsode(setup.folder, PIPER) as server:
        client = server.client()
        load = _Load(server, setup)
        client.done(client.enqueue(load.speech, seed=_SEED))
        source = sentences(8)
        jobs = [client.enqueue(next(source), priority="batch") for _ in range(waiting)]
        for _ in range(setup.runs):
            with _busy(load.plan, load.assemble, load.speak):
                time.sleep(2)
                answers = _probe(server.url, ["/livez", f"/tts/{jobs[-1]}/status"], asked)
            for name, values in zip(worst, answers, strict=True):
                raw[name].append(values)
                worst[name].append(1000 * percentile(values, 99))
        left = server.client().status(jobs[-1])  # the first connection was idle for too long
        if left["status"] != "queued":
            raise RuntimeError("the waiting jobs were over before the measurement")
    rows = [
        Row(f"{name}, p99 of {asked} requests at {_RATE:g}/s each", sorted(values)[len(values) // 2], "ms", LIMIT_MS,
            peer=f"all workers busy, {waiting:,} jobs waiting, {len(load.hostile) / 1e6:.1f} MB planned, MP3 assembled",
            spread=spread(values))
        for name, values in worst.items()
    ]  # fmt: skip
    pooled = {name: [1000 * v for values in runs for v in values] for name, runs in raw.items()}
    rows += [Row(f"{name}, median", percentile(values, 50), "ms") for name, values in pooled.items()]
    return Outcome(rows, {"seconds": raw, "planned": load.planned, "assembled": load.assembled})
