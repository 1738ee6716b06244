"""Measure Rhapsode beside its limits and its peers: ``python bench/run.py [names…] [--quick] [--runs 5] [--markdown]``.

Without names, everything is measured. Results are printed and kept in bench/results/; ``--markdown`` writes those that are kept
into docs/performance.md and measures nothing unless names are given. The exit code is 1 when a limit was missed.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # so that this file runs as a script

from bench import (
    _database,
    _downloads,
    _first_sound,
    _latency,
    _memory,
    _ray,
    _short,
    _throughput,
    _wyoming,
    _zero_cost,
)
from bench._rows import Outcome, keep, show, write_page
from bench._servers import has_piper_http
from bench._setup import Setup

BENCHMARKS: Mapping[str, tuple[str, Callable[[Setup], Outcome]]] = {
    "throughput": ("One long text", _throughput.measure),
    "short": ("A short request, idle", _short.measure_idle),
    "loaded": ("A short request while a book is spoken", _short.measure_loaded),
    "first-sound": ("First sound", _first_sound.measure),
    "latency": ("Answers under full load", _latency.measure),
    "zero-cost": ("The machinery alone", _zero_cost.measure),
    "postgres": ("The ledger in PostgreSQL", _database.measure),
    "ray": ("Workers of a Ray cluster", _ray.measure),
    "memory": ("Memory", _memory.measure),
    "downloads": ("Downloads", _downloads.measure),
    "wyoming": ("First sound over Wyoming while a book is spoken", _wyoming.measure),
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", choices=[*BENCHMARKS, []], metavar="name", help=", ".join(BENCHMARKS))
    parser.add_argument("--quick", action="store_true", help="two runs of little, to see that it works")
    parser.add_argument("--runs", type=int, default=None, help="interleaved runs (5)")
    parser.add_argument("--chars", type=int, default=60_000, help="characters of the long text (60,000)")
    parser.add_argument("--dir", type=Path, default=None, help="folder on the disk to measure")
    parser.add_argument("--markdown", action="store_true", help="write the kept results into docs/performance.md")
    options = parser.parse_args()
    names = options.names or ([] if options.markdown else list(BENCHMARKS))
    runs = options.runs or (2 if options.quick else 5)
    if names and not has_piper_http():
        print("Piper's HTTP server is left out: pip install 'piper-tts[http]'\n")
    kept = True
    for name in names:
        title, measure = BENCHMARKS[name]
        print(f"{title} ({name})", flush=True)
        begun = time.perf_counter()
        with tempfile.TemporaryDirectory(prefix="rhapsode-bench-", dir=options.dir) as folder:
            outcome = measure(Setup(Path(folder), runs, options.quick, options.chars))
        keep(name, outcome, {"quick": options.quick, "runs": runs, "took_s": round(time.perf_counter() - begun)})
        show(outcome.rows)
        kept = kept and all(row.passed is not False for row in outcome.rows)
    if options.markdown:
        write_page(list(BENCHMARKS), {name: title for name, (title, _) in BENCHMARKS.items()})
    return 0 if kept else 1


if __name__ == "__main__":
    sys.exit(main())
