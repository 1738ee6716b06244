"""Does memory grow with the text? Server and helpers, engine workers aside."""

import time
from threading import Event, Thread

import psutil

from bench._rows import Outcome, Row, median, spread
from bench._servers import TONE, Running, rhapsode
from bench._setup import Setup
from bench._text import prose

LIMIT_MB = 60
_LOOK_S = 0.02


class _Watch:
    """Samples the proportional set size of the server's processes together, and keeps the largest."""

    def __init__(self, server: Running) -> None:
        self._processes = server.processes()
        self._ended = Event()
        self._thread = Thread(target=self._run)
        self.peak_bytes = 0
        self._thread.start()

    def _run(self) -> None:
        while not self._ended.wait(_LOOK_S):
            self.peak_bytes = max(self.peak_bytes, sum(map(_pss, self._processes)))

    def high_water_marks(self) -> int:
        """Peaks of resident memory that the kernel kept, added up."""
        return sum(_high_water(process.pid) for process in self._processes)

    def end(self) -> None:
        self._ended.set()
        self._thread.join()


def _pss(process: psutil.Process) -> int:
    try:
        return int(process.memory_full_info().pss)
    except psutil.NoSuchProcess:
        return 0


def _high_water(pid: int) -> int:
    with open(f"/proc/{pid}/status") as lines:  # noqa: PTH123 - a file of the kernel
        return next(1024 * int(line.split()[1]) for line in lines if line.startswith("VmHWM"))


def _peaks(setup: Setup, text: str) -> tuple[float, float]:
    """Sampled PSS and kept RSS peaks, MB, of a fresh server that speaks ``text``."""
    with rhapsode(setup.folder, TONE) as server:
        client = server.client()
        watch = _Watch(server)
        try:
            client.done(client.enqueue(text), 0.1)
            time.sleep(2 * _LOOK_S)
            return watch.peak_bytes / 1e6, watch.high_water_marks() / 1e6
        finally:
            watch.end()


def measure(setup: Setup) -> Outcome:
    """Peak for a long text beside that for a short one, each in a server of its own."""
    texts = {"short": prose(20_000, 30), "long": prose(setup.size(2_000_000, 200_000), 31)}
    pss: dict[str, list[float]] = {name: [] for name in texts}
    rss: dict[str, list[float]] = {name: [] for name in texts}
    for _ in range(setup.runs):
        for name, text in texts.items():
            sampled, kept = _peaks(setup, text)
            pss[name].append(sampled)
            rss[name].append(kept)
    what = f"peak memory for {len(texts['long']) / 1e6:.1f} MB of text"
    rows = [
        Row(f"{what}, {kind}", median(found["long"]), "MB", median(found["short"]) + LIMIT_MB, False,
            f"for {len(texts['short']) / 1e3:.0f} KB", median(found["short"]), spread(found["long"]))
        for kind, found in (("PSS, sampled", pss), ("RSS, kept by the kernel", rss))
    ]  # fmt: skip
    return Outcome(rows, {"pss_mb": pss, "rss_mb": rss})
