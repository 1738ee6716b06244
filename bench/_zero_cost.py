"""What the machinery itself can do: an engine that costs nothing, and how fast jobs are stored."""

import multiprocessing
import os
import tempfile
import time
from pathlib import Path
from typing import Any

from bench._http import Client
from bench._rows import Outcome, Row, median, spread
from bench._servers import TONE, Running, rhapsode
from bench._setup import Setup
from bench._text import sentences, text_of_segments

SEGMENTS_S = 500
ENQUEUES_S = 300
_CLIENTS = 16


def fsync_rate(folder: Path, seconds: float = 1.0) -> float:
    """Appends of 4 KiB per second that this disk makes durable one after another."""
    with tempfile.NamedTemporaryFile(dir=folder) as file:
        begun, count = time.perf_counter(), 0
        while (spent := time.perf_counter() - begun) < seconds:
            file.write(b"x" * 4096)
            file.flush()
            os.fdatasync(file.fileno())
            count += 1
    return count / spent


def _enqueue(url: str, number: int, count: int, barrier: Any, results: Any) -> None:
    """Body of a client's process."""
    client = Client(url)
    source = sentences(1000 + number)
    texts = [next(source) for _ in range(count)]
    client.ask("GET", "/livez")
    barrier.wait()
    begun = time.monotonic()
    for text in texts:
        client.enqueue(text)
    results.put((begun, time.monotonic()))


def _enqueues(server: Running, count: int, round_number: int) -> float:
    """Durable enqueues per second of all clients together."""
    context = multiprocessing.get_context("spawn")
    barrier, results = context.Barrier(_CLIENTS), context.Queue()
    clients = [
        context.Process(target=_enqueue, args=(server.url, _CLIENTS * round_number + n, count, barrier, results))
        for n in range(_CLIENTS)
    ]
    for client in clients:
        client.start()
    spans = [results.get() for _ in clients]
    for client in clients:
        client.join()
    return float(_CLIENTS * count / (max(end for _, end in spans) - min(begun for begun, _ in spans)))


def measure(setup: Setup) -> Outcome:
    """Segments per second of one job from enqueue to file, and enqueues per second while the jobs queued are spoken, too."""
    count = setup.size(5000, 1500)
    per_client = setup.size(150, 30)
    found: dict[str, list[float]] = {"segments": [], "enqueues": [], "syncs": []}
    for number in range(setup.runs):
        found["syncs"].append(fsync_rate(setup.folder))
        with rhapsode(setup.folder, TONE) as server:
            client = server.client()
            text = text_of_segments(count, 20 + number)
            begun = time.perf_counter()
            client.done(client.enqueue(text), 0.1)
            found["segments"].append(count / (time.perf_counter() - begun))
            found["enqueues"].append(_enqueues(server, per_client, number))
    syncs = median(found["syncs"])
    beside = "fsyncs of this disk, one after another"
    rows = [
        Row(f"zero-cost engine, one job of {count} segments, end to end", median(found["segments"]), "/s", SEGMENTS_S,
            True, beside, syncs, spread(found["segments"])),
        Row(f"durable enqueues, {_CLIENTS} clients, their jobs being spoken meanwhile", median(found["enqueues"]), "/s",
            ENQUEUES_S, True, beside, syncs, spread(found["enqueues"])),
    ]  # fmt: skip
    return Outcome(rows, found)
