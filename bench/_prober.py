"""A process of its own that asks for a page at a steady rate: ``python -m bench._prober URL RATE COUNT PATH``; prints JSON.

A request that is due while the one before is still unanswered counts from the moment it was due, so that a server that
stalls is not spared the questions it would have got. The clock starts late only when this process itself woke late.
"""

import json
import sys
import time

from bench._http import Client


def probe(url: str, path: str, rate: float, count: int) -> list[float]:
    """Seconds per answer."""
    client = Client(url)
    times: list[float] = []
    began = time.perf_counter()
    for number in range(count):
        due = began + number / rate
        pause = due - time.perf_counter()
        if pause > 0:
            time.sleep(pause)
            due = time.perf_counter()
        client.ask("GET", path)
        times.append(time.perf_counter() - due)
    return times


if __name__ == "__main__":
    address, per_second, total, page = sys.argv[1:]
    json.dump(probe(address, page, float(per_second), int(total)), sys.stdout)
