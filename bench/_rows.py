"""A measured figure beside its limit: printed, kept as JSON, and written into docs/performance.md."""

import json
import platform
import re
import statistics
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import psutil

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "bench" / "results"
PAGE = ROOT / "docs" / "performance.md"
_BEGIN, _END = "<!-- figures: written by bench/run.py --markdown -->", "<!-- end of figures -->"
_INTRO = "Machines differ from day to day, in their processors, too; each section says on which it was measured.\n"


@dataclass(frozen=True, slots=True)
class Row:
    """One figure. ``peer`` is what it is measured against, ``limit`` the bound that follows from it."""

    what: str
    figure: float
    unit: str
    limit: float | None = None
    at_least: bool = False
    """Whether the limit is a lower bound."""
    peer: str = ""
    peer_figure: float | None = None
    spread: Sequence[float] = ()
    """Smallest and largest of the runs."""

    @property
    def passed(self) -> bool | None:
        """Whether the limit is kept; None when there is none."""
        if self.limit is None:
            return None
        return self.figure >= self.limit if self.at_least else self.figure <= self.limit

    @property
    def ratio(self) -> float | None:
        """Figure ÷ peer."""
        return self.figure / self.peer_figure if self.peer_figure else None

    def cells(self) -> list[str]:
        """For a table."""
        sign = "≥" if self.at_least else "≤"
        spread = f" ({_short(self.spread[0])} … {_short(self.spread[1])})" if self.spread else ""
        return [
            self.what,
            f"{_short(self.figure)} {self.unit}{spread}",
            f"{self.peer}: {_short(self.peer_figure)} {self.unit}" if self.peer_figure is not None else self.peer,
            f"{self.ratio:.2f}" if self.ratio is not None else "",
            f"{sign} {_short(self.limit)} {self.unit}" if self.limit is not None else "",
            {True: "yes", False: "**no**", None: ""}[self.passed],
        ]


HEAD = ("what", "median (range)", "beside", "ratio", "limit", "kept")


def _short(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.1f}" if abs(value) >= 10 else f"{value:.3g}"


def median(values: Sequence[float]) -> float:
    """Of at least one value."""
    return float(statistics.median(values))


def spread(values: Sequence[float]) -> tuple[float, float]:
    """Smallest and largest."""
    return min(values), max(values)


def percentile(values: Sequence[float], percent: float) -> float:
    """The smallest value that ``percent`` of all do not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one benchmark found."""

    rows: Sequence[Row]
    raw: Mapping[str, Any] = field(default_factory=dict)
    """Every single measurement, for whoever doubts the medians."""


def machine() -> dict[str, str]:
    """What it was measured on."""
    cpu = platform.processor() or platform.machine()
    for line in Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []:
        if line.startswith("model name"):
            cpu = line.split(":", 1)[1].strip()
    return {
        "cpu": f"{psutil.cpu_count()} × {cpu} ({platform.machine()})",
        "memory": f"{psutil.virtual_memory().total / 1e9:.0f} GB",
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
    }


def commit() -> str:
    """The revision that was measured, with a plus when files differ from it."""
    git = ["git", "-C", str(ROOT)]
    known = subprocess.run([*git, "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False)
    dirty = subprocess.run([*git, "status", "--porcelain", "src"], capture_output=True, text=True, check=False)
    return known.stdout.strip() + ("+" if dirty.stdout.strip() else "")


def show(rows: Sequence[Row]) -> None:
    """Print a table."""
    table = [list(HEAD)] + [[cell.replace("**", "") for cell in row.cells()] for row in rows]
    widths = [max(len(line[i]) for line in table) for i in range(len(HEAD))]
    for line in table:
        print("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())
    print(flush=True)


def keep(name: str, outcome: Outcome, options: Mapping[str, object]) -> None:
    """Write ``bench/results/<name>.json``."""
    RESULTS.mkdir(exist_ok=True)
    rows = [asdict(row) | {"ratio": row.ratio, "passed": row.passed} for row in outcome.rows]
    about = {"name": name, "at": time.strftime("%Y-%m-%d %H:%M", time.gmtime()), "commit": commit(), **options}
    found = {"about": about, "machine": machine(), "load": psutil.getloadavg(), "rows": rows, "raw": outcome.raw}
    (RESULTS / f"{name}.json").write_text(json.dumps(found, indent=1) + "\n")


def write_page(names: Sequence[str], titles: Mapping[str, str]) -> None:
    """Put the kept results of these benchmarks into docs/performance.md; a section without a kept result stays as it is."""
    before, _, rest = PAGE.read_text().partition(_BEGIN)
    shown, _, after = rest.partition(_END)
    _, *old = re.split(r"^(?=### )", shown.strip() + "\n", flags=re.MULTILINE)
    sections = {section.partition("\n")[0].removeprefix("### "): section for section in old}
    for name in names:
        path = RESULTS / f"{name}.json"
        if path.exists():
            found = json.loads(path.read_text())
            sections[titles[name]] = _section(titles[name], found)
    parts = [sections[titles[name]].strip() + "\n" for name in names if titles[name] in sections]
    PAGE.write_text(before + "\n".join([_BEGIN, _INTRO, *parts]) + _END + after)


def _section(title: str, found: Mapping[str, Any]) -> str:
    about = found["about"]
    fields = Row.__dataclass_fields__
    rows = [Row(**{key: value for key, value in row.items() if key in fields}) for row in found["rows"]]
    where = ", ".join(found["machine"].values())
    measured = f"{about['at']} UTC, revision {about['commit']}, {about['runs']} runs, {where}"
    lines = ["| " + " | ".join(HEAD) + " |", "|---" * len(HEAD) + "|"]
    lines += ["| " + " | ".join(row.cells()) + " |" for row in rows]
    quick = " **Quick run: too short to judge by.**" if about["quick"] else ""
    return f"### {title}\n\n`python bench/run.py {about['name']}` · {measured}.{quick}\n\n" + "\n".join(lines) + "\n"
