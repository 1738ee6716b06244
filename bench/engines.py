"""What each engine can do, how fast it speaks here, how much memory it takes and how well it is understood:
``python bench/engines.py [names…] [--model-cache DIR] [--data-dir DIR] [--markdown]``.

The real-time factor is the processor time of one thread per second of sound, the median over the sentences, so that what else runs
here has little part in it; the memory is the peak of a process of its own, before anybody listens; word error rates are those of
faster-whisper tiny.en. ``--markdown`` writes the tables into docs/engines.md. Kokoro's weights are those of the development
packages, and Pocket TTS and Chatterbox get random weights of their full size, which say nothing but take as long, unless
``--model-cache`` has some. Engines with an interpreter of their own are measured in it; Chatterbox in Pocket TTS's otherwise, with
the libraries that its checks have.
"""

import argparse
import datetime as dt
import json
import os
import platform
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # so that this file runs as a script

from bench.engine_child import SENTENCES
from rhapsode.engines.registry import engine_names, missing_packages
from rhapsode.environment import interpreters
from tests import kokoro
from tests.hosted import OFFLINE, ROOT
from tests.speech import Recogniser, canonical, word_errors

PAGE = ROOT / "docs" / "engines.md"
MARK = "<!-- figures: written by bench/engines.py --markdown -->"
MEASURED = ("kokoro", "piper", "pocket", "chatterbox-turbo", "chatterbox", "chatterbox-multilingual")
CHECKS = ROOT / ".venv-engines"
CHATTERBOX = CHECKS / "sources"
"""Its code and libraries, but for those that Pocket TTS has too."""
RANDOM = {
    "pocket": ("pocket_model.py", "full"),
    "chatterbox-turbo": ("chatterbox_model.py", "turbo"),
    "chatterbox": ("chatterbox_model.py", "original"),
    "chatterbox-multilingual": ("chatterbox_model.py", "multilingual"),
}
"""What writes random weights into a model cache, among the tests, and its last argument."""


@dataclass(frozen=True, slots=True)
class Python:
    """An interpreter, and folders of libraries besides its own."""

    path: Path
    libraries: tuple[Path, ...] = ()

    def run(self, *arguments: str | Path) -> str:
        """What it prints."""
        path = os.pathsep.join(map(str, self.libraries))
        done = subprocess.run(
            [self.path, *arguments],
            stdout=subprocess.PIPE, text=True, check=True, env=os.environ | OFFLINE | ({"PYTHONPATH": path} if path else {}),
        )  # fmt: skip
        return done.stdout


def pythons(data_dir: Path) -> dict[str, Python]:
    """The interpreter of each engine that can be measured."""
    own = {name: Python(path) for name, path in interpreters(data_dir).items()}
    here = {name: Python(Path(sys.executable)) for name in engine_names() if not missing_packages(name)}
    if "pocket" in own and CHATTERBOX.is_dir():
        borrowed = Python(own["pocket"].path, (CHATTERBOX,))
        here |= {name: borrowed for name in engine_names() if name.startswith("chatterbox")}
    found = here | own
    return {name: found[name] for name in MEASURED if name in found}


def measure(name: str, python: Python, cache: Path) -> dict[str, Any]:
    """The figures of one engine, measured by its interpreter, and how much of each voice is misunderstood."""
    with tempfile.TemporaryDirectory(prefix="rhapsode-bench-") as folder:
        spoken = Path(folder) / "spoken.npz"
        printed = python.run(ROOT / "bench" / "engine_child.py", name, cache, spoken)
        found: dict[str, Any] = json.loads(printed.splitlines()[-1])
        with np.load(spoken) as sounds:
            found["errors"] = errors_of(found["rates"], sounds)
    return found


def errors_of(rates: dict[str, int], sounds: Any) -> dict[str, float]:
    """Word error rates by voice."""
    recogniser = Recogniser()
    words = sum(len(canonical(text)) for text in SENTENCES)
    return {
        voice: sum(
            word_errors(canonical(text), recogniser.words(sounds[f"{voice} {number}"], rate))
            for number, text in enumerate(SENTENCES)
        )
        / words
        for voice, rate in rates.items()
    }


def rows(engines: dict[str, Python], model_cache: Path | None) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for name, python in engines.items():
        print(f"{name} …", file=sys.stderr, flush=True)
        random = model_cache is None and name in RANDOM
        with tempfile.TemporaryDirectory(prefix="rhapsode-bench-") as folder:
            cache = model_cache or Path(folder)
            if model_cache is None and name == "kokoro":
                kokoro.put_into(cache)
            if random:
                script, which = RANDOM[name]
                python.run(ROOT / "tests" / script, cache, which)
            found.append(measure(name, python, cache) | {"random": random})
    return found


def table(found: list[dict[str, Any]]) -> list[str]:
    lines = [
        f"`python bench/engines.py --markdown` · {dt.datetime.now(dt.UTC):%Y-%m-%d %H:%M} UTC, {platform.machine()}, no GPU.",
        "",
        "| engine | determinism | clones | blends | controls | longest segment | languages here | load, processor | "
        "RTF, one thread | peak memory |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for one in found:
        info = one["info"]
        cells = [
            info["name"] + (" (random weights)" if one["random"] else ""),
            info["determinism"],
            "yes" if info["can_clone"] else "no",
            "yes" if info["mixes_voices"] else "no",
            ", ".join(control["name"] for control in info["controls"]),
            f"{info['max_chars']} characters",
            ", ".join(one["languages"]),
            f"{one['load_s']:.1f} s",
            f"{one['rtf']:.2f}",
            f"{one['peak_mb']:,} MB",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    lines += ["", "| engine | voice | word error rate |", "|---|---|---|"]
    return lines + [
        f"| {one['name']} | {voice} | {rate:.1%} |"
        for one in found
        if not one["random"]
        for voice, rate in one["errors"].items()
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help="engines; none: all that are installed and have weights")
    parser.add_argument("--model-cache", type=Path, help="folder of downloaded models")
    parser.add_argument("--data-dir", type=Path, default=CHECKS, help="where engines have interpreters of their own")
    parser.add_argument("--markdown", action="store_true", help="write the tables into docs/engines.md")
    options = parser.parse_args()
    able = pythons(options.data_dir)
    lines = table(rows({name: able[name] for name in options.names or able}, options.model_cache))
    print("\n".join(lines))
    if options.markdown:
        before, mark, _ = PAGE.read_text().partition(MARK)
        assert mark, f"{PAGE} has no mark {MARK}"
        PAGE.write_text("\n".join([before + mark, "", *lines]) + "\n")


if __name__ == "__main__":
    main()
