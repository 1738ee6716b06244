"""Measures one engine in the process, and with the interpreter, that this is run with: ``python bench/engine_child.py NAME MODEL_CACHE SPOKEN``.

Prints one line of JSON; what was spoken goes into SPOKEN (an .npz), to be listened to elsewhere.
"""

import json
import statistics
import sys
import time
from dataclasses import asdict
from pathlib import Path

import numpy as np

from rhapsode.engines.base import EngineOptions, Utterance
from rhapsode.engines.registry import engine_class

SENTENCES = [
    "The quick brown fox jumps over the lazy dog near the river.",
    "She opened the window and looked at the garden below.",
    "Nobody in the village remembered the name of the old bridge.",
    "We will leave early in the morning before the traffic gets heavy.",
    "The teacher asked every student to write a short story about winter.",
    "My brother keeps his boat in a small harbour behind the lighthouse.",
]
MOST_VOICES = 5


def main() -> None:
    """Speak the sentences with some voices."""
    name, cache, spoken = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])
    begun = time.process_time()
    engine = engine_class(name)(EngineOptions(1, cache / "voices", cache))
    voices = list(engine.voices())
    engine.load(voices[0].id)
    load_s = time.process_time() - begun
    engine.synthesise(Utterance("Hello.", voices[0].id, 1, {}, "en", 0.0))
    factors: list[float] = []
    sounds: dict[str, np.ndarray] = {}
    rates: dict[str, int] = {}
    for voice in [voice for voice in voices if voice.language == voices[0].language][:MOST_VOICES]:
        for number, text in enumerate(SENTENCES):
            before = time.process_time()
            speech = engine.synthesise(Utterance(text, voice.id, 1, {}, "en", 0.0))
            if voice is voices[0]:
                factors.append((time.process_time() - before) * speech.rate / speech.samples.size)
            sounds[f"{voice.id} {number}"] = speech.samples
            rates[voice.id] = speech.rate
    peak = _peak_bytes()
    np.savez(spoken, **sounds)  # type: ignore[arg-type] # a name could be its option's
    languages = sorted({voice.language for voice in voices} | set(engine.info.languages))
    figures = {"load_s": load_s, "rtf": statistics.median(factors), "peak_mb": peak // 10**6}
    print(json.dumps({"name": name, "info": asdict(engine.info), "languages": languages, "rates": rates, **figures}))


def _peak_bytes() -> int:
    try:
        status = Path("/proc/self/status").read_text()
    except OSError:
        return 0
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024


if __name__ == "__main__":
    main()
