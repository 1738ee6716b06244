"""What each engine can do, how fast it speaks here, how much memory it takes and how well it is understood:
``python bench/engines.py [names…] [--model-cache DIR] [--markdown]``.

The real-time factor is the processor time of one thread per second of sound, the median over the sentences, so that what else runs
here has little part in it; the memory is the peak of a process of its own, before anybody listens; word error rates are those of
faster-whisper tiny.en. ``--markdown`` writes the tables into docs/engines.md. Kokoro's weights are those of the
development packages unless ``--model-cache`` has some.
"""

import argparse
import datetime as dt
import json
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # so that this file runs as a script

from rhapsode.engines.base import EngineInfo, EngineOptions, Utterance
from rhapsode.engines.registry import engine_class, engine_names, missing_packages
from rhapsode.model import Voice
from tests import kokoro
from tests.speech import Recogniser, canonical, word_errors

PAGE = Path(__file__).resolve().parents[1] / "docs" / "engines.md"
MARK = "<!-- figures: written by bench/engines.py --markdown -->"
SENTENCES = [
    "The quick brown fox jumps over the lazy dog near the river.",
    "She opened the window and looked at the garden below.",
    "Nobody in the village remembered the name of the old bridge.",
    "We will leave early in the morning before the traffic gets heavy.",
    "The teacher asked every student to write a short story about winter.",
    "My brother keeps his boat in a small harbour behind the lighthouse.",
]
MOST_VOICES = 5


@dataclass
class Figures:
    """What one process measured."""

    load_s: float
    rtf: float
    peak_mb: int
    errors: dict[str, float]


def measure(name: str, model_cache: Path) -> tuple[EngineInfo, list[Voice], Figures]:
    """Speak the sentences in this process."""
    options = EngineOptions(1, model_cache / "voices", model_cache)
    begun = time.process_time()
    engine = engine_class(name)(options)
    voices = list(engine.voices())
    engine.load(voices[0].id)
    load_s = time.process_time() - begun
    engine.synthesise(Utterance("Hello.", voices[0].id, 1, {}, "en", 0.0))
    factors: list[float] = []
    errors: dict[str, float] = {}
    spoken = {}
    for voice in voices[:MOST_VOICES]:
        for text in SENTENCES:
            before = time.process_time()
            speech = engine.synthesise(Utterance(text, voice.id, 1, {}, "en", 0.0))
            if voice is voices[0]:
                factors.append((time.process_time() - before) * speech.rate / speech.samples.size)
            spoken[voice.id, text] = speech
    peak = _peak_bytes()
    recogniser = Recogniser()
    for voice in voices[:MOST_VOICES]:
        wrong = words = 0
        for text in SENTENCES:
            speech = spoken[voice.id, text]
            wrong += word_errors(canonical(text), recogniser.words(speech.samples, speech.rate))
            words += len(canonical(text))
        errors[voice.id] = wrong / words
    return engine.info, voices, Figures(load_s, statistics.median(factors), peak // 10**6, errors)


def _peak_bytes() -> int:
    try:
        status = Path("/proc/self/status").read_text()
    except OSError:
        return 0
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024


def child(arguments: list[str]) -> dict[str, Any]:
    """The answer of this script in a process of its own."""
    done = subprocess.run([sys.executable, __file__, *arguments], stdout=subprocess.PIPE, text=True, check=True)
    return dict(json.loads(done.stdout.splitlines()[-1]))


def rows(names: list[str], model_cache: Path | None) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory(prefix="rhapsode-bench-") as folder:
        cache = model_cache or Path(folder)
        if model_cache is None and "kokoro" in names:
            kokoro.put_into(cache)
        for name in names:
            print(f"{name} …", file=sys.stderr, flush=True)
            found.append(child(["--child", name, str(cache)]))
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
        info, figures = one["info"], one["figures"]
        cells = [
            info["name"],
            info["determinism"],
            "yes" if info["can_clone"] else "no",
            "yes" if info["mixes_voices"] else "no",
            ", ".join(control["name"] for control in info["controls"]),
            f"{info['max_chars']} characters",
            ", ".join(one["languages"]),
            f"{figures['load_s']:.1f} s",
            f"{figures['rtf']:.2f}",
            f"{figures['peak_mb']:,} MB",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    lines += ["", "| engine | voice | word error rate |", "|---|---|---|"]
    return lines + [
        f"| {one['name']} | {voice} | {rate:.1%} |" for one in found for voice, rate in one["figures"]["errors"].items()
    ]


def main() -> None:
    if sys.argv[1:2] == ["--child"]:
        name, cache = sys.argv[2:4]
        info, voices, figures = measure(name, Path(cache))
        languages = sorted({voice.language for voice in voices} | set(info.languages))
        print(json.dumps({"name": name, "info": asdict(info), "languages": languages, "figures": asdict(figures)}))
        return
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help="engines; none: all that can be loaded in this interpreter")
    parser.add_argument("--model-cache", type=Path, help="folder of downloaded models")
    parser.add_argument("--markdown", action="store_true", help="write the tables into docs/engines.md")
    options = parser.parse_args()
    able = [name for name in engine_names() if name in ("kokoro", "piper") and not missing_packages(name)]
    lines = table(rows(options.names or able, options.model_cache))
    print("\n".join(lines))
    if options.markdown:
        before, mark, _ = PAGE.read_text().partition(MARK)
        assert mark, f"{PAGE} has no mark {MARK}"
        PAGE.write_text("\n".join([before + mark, "", *lines]) + "\n")


if __name__ == "__main__":
    main()
