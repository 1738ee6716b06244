"""A process of its own that asks for pages at a steady rate: ``python -m bench._prober URL RATE COUNT PATH…``; prints JSON.

A request that is due while the one before is still unanswered counts from the moment it was due, so that a server that
stalls is not spared the questions it would have got. The clock starts late only when this process itself woke late.
"""

import json
import sys
import time

from bench._http import Client


def probe(url: str, rate: float, count: int, paths: list[str]) -> dict[str, list[float]]:
    """Seconds per answer, by path."""
    client = Client(url)
    times: dict[str, list[float]] = {path: [] for path in paths}
    began = time.perf_counter()
    for number in range(count):
        due = began + number / rate
        pause = due - time.perf_counter()
        if pause > 0:
            time.sleep(pause)
            due = time.perf_counter()
        path = paths[number % len(paths)]
        client.ask("GET", path)
        times[path].append(time.perf_counter() - due)
    return times


if __name__ == "__main__":
    address, per_second, total, *pages = sys.argv[1:]
    json.dump(probe(address, float(per_second), int(total), pages), sys.stdout)
