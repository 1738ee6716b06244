"""A deterministic engine for tests: text in, exactly predictable samples out, at almost no cost.

Never offered to users: it serves only when the configuration names it.

Voices (all mono, amplitude :data:`AMPLITUDE` throughout, so that trimming finds nothing to cut):

- ``tone``: 0.1 s whatever the text, at 22,050 Hz. Different for every text, seed and temperature. Zero cost.
- ``tone-chars``: :data:`CHAR_SAMPLES` samples per character, at 22,050 Hz, with word timings; sentences (lines) are
  kept apart by the sentence pause asked for.
- ``tone-slow``: of the same length, but it sleeps :data:`SLOW_S_PER_CHAR` for each character first.
- ``tone-24k``: the same length in samples, at 24,000 Hz.
- any ``<name>.tone`` file in the voices folder: as ``tone-chars``, its content mixed in and its digest as revision.

Special words in the text steer what goes wrong. ``!word!`` acts always; ``!word-N!`` acts on the first N attempts at the same text, seed
and controls (``!word once!`` on one: for whole texts, in which numbers are written out), counted across processes in files under
``EngineOptions.model_cache``:

- ``!crash!`` kills its own process (SIGKILL) · ``!hang!`` never returns · ``!raise!`` and ``!flaky-N!`` raise EngineError
- ``!empty!`` gives no samples · ``!nan!`` gives NaN · ``!long!`` gives an hour of sound
- ``!leak!`` keeps :data:`LEAK_BYTES` more each time · ``!print!`` writes to standard output

The words are spoken like any other text when they do not act.
"""

import hashlib
import os
import re
import signal
import threading
import time
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from rhapsode.engines.base import Control, Determinism, EngineInfo, EngineOptions, Speech, Utterance
from rhapsode.errors import EngineError, NotFound
from rhapsode.model import Voice, WordTiming

RATE = 22_050
CHAR_SAMPLES = 441
FIXED_SAMPLES = 2_205
SLOW_S_PER_CHAR = 0.005
LEAK_BYTES = 64 * 1024 * 1024
AMPLITUDE = 0.5
MAX_CHARS = 500

_RATES = {"tone": RATE, "tone-chars": RATE, "tone-slow": RATE, "tone-24k": 24_000}
_PITCHES = 48
_FIXED_PIECES = 21
_FIXED_PITCHES = 16
_SPECIAL = re.compile(r"!(crash|hang|raise|flaky|empty|nan|long|leak|print)(?:-(\d+)| (once))?!")


def _pitches(samples: int, first: int, count: int) -> NDArray[np.float32]:
    """Shape (count, samples): cosines of ``first``, ``first`` + 1 … whole periods, so that pieces join without a click."""
    periods = np.arange(first, first + count)[:, None]
    wave = AMPLITUDE * np.cos(2 * np.pi * periods * np.arange(samples)[None, :] / samples)
    return wave.astype(np.float32)


_CHAR_TABLE = _pitches(CHAR_SAMPLES, 3, _PITCHES)
_FIXED_TABLE = _pitches(FIXED_SAMPLES // _FIXED_PIECES, 1, _FIXED_PITCHES)


def expected_samples(text: str, voice: str = "tone-chars", sentence_pause_s: float = 0.0) -> int:
    """Samples that ``voice`` gives for ``text`` at ``speed_factor`` 1.

    2,205 for ``tone``; else 441 per character (line ends do not count) and round(pause · rate) between lines.
    """
    if voice == "tone":
        return FIXED_SAMPLES
    lines = text.split("\n")
    pause = round(sentence_pause_s * _RATES.get(voice, RATE))
    return CHAR_SAMPLES * sum(map(len, lines)) + pause * (len(lines) - 1)


class ToneEngine:
    """Speaks tones; see the module's docstring."""

    def __init__(self, options: EngineOptions) -> None:
        self._options = options
        self._leaked: list[bytearray] = []

    @property
    def info(self) -> EngineInfo:
        """What it can do."""
        return EngineInfo(
            name="tone",
            revision="1",
            determinism=Determinism.EXACT,
            max_chars=MAX_CHARS,
            can_clone=False,
            controls=(
                Control("speed_factor", 0.25, 4.0, 1.0, "How fast it speaks; 2 is twice as fast."),
                Control("temperature", 0.0, 1.5, 0.8, "Changes the sound, and nothing else."),
            ),
        )

    def voices(self) -> Sequence[Voice]:
        """The four built-in voices, then the ``.tone`` files of the voices folder, by name."""
        built_in = [Voice(name, f"{name}.tone", name, "en", "1", rate) for name, rate in _RATES.items()]
        files = sorted(self._options.voices_dir.glob("*.tone"))
        return built_in + [
            Voice(f.stem, f.name, f.stem, "en", hashlib.sha256(f.read_bytes()).hexdigest()[:16], RATE)
            for f in files
            if f.stem not in _RATES
        ]

    def load(self, voice: str) -> None:
        """Nothing to load, but the voice must exist."""
        self._revision(voice)

    def synthesise(self, utterance: Utterance) -> Speech:
        """Speak, or go wrong as the special words in the text say."""
        voice, text = utterance.voice, utterance.text
        if voice == "tone-slow":
            time.sleep(SLOW_S_PER_CHAR * len(text))
        temperature = utterance.controls.get("temperature", 0.8)
        key = f"{self._revision(voice)}/{utterance.seed}/{temperature}/{text}"
        digest = hashlib.sha256(key.encode("utf-8", "surrogatepass")).digest()
        odd = self._misbehave(text, digest.hex()) if "!" in text else None
        if odd is not None:
            return odd
        if voice == "tone":
            pieces = np.frombuffer(digest, np.uint8)[:_FIXED_PIECES] % _FIXED_PITCHES
            return Speech(_FIXED_TABLE[pieces].reshape(-1), RATE)
        rate = _RATES.get(voice, RATE)
        pause = round(utterance.sentence_pause_s * rate)
        return _speak_characters(text, int.from_bytes(digest[:4], "big"), pause, rate)

    def _revision(self, voice: str) -> str:
        """What makes one voice sound unlike another."""
        if voice in _RATES:
            return voice
        for known in self.voices():
            if known.id == voice:
                return known.revision
        raise NotFound(f"voice {voice!r} is not one of: {', '.join(v.id for v in self.voices())}", "voice")

    def _misbehave(self, text: str, key: str) -> Speech | None:
        """Act on the special words; a Speech when that is to be the answer."""
        for match in _SPECIAL.finditer(text):
            word, limit = match[1], match[2] or (match[3] and "1")
            if limit is not None and self._count_attempt(f"{key}-{match.start()}") > int(limit):
                continue
            if word in {"raise", "flaky"}:
                raise EngineError(f"the tone engine was asked to fail by {match.group()}")
            if word == "crash":
                os.kill(os.getpid(), signal.SIGKILL)
            elif word == "hang":
                threading.Event().wait()
            elif word == "leak":
                self._leaked.append(bytearray(b"\x01") * LEAK_BYTES)
            elif word == "print":
                os.write(1, b"printed by the tone engine\n")
            else:
                size, value = {"empty": (0, 0.0), "nan": (RATE, np.nan), "long": (3_600 * RATE, AMPLITUDE)}[word]
                return Speech(np.full(size, value, np.float32), RATE)
        return None

    def _count_attempt(self, name: str) -> int:
        """How often this has been called with that name, in all processes, this time included."""
        folder = self._options.model_cache / "tone-attempts"
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / name).open("ab") as file:
            file.write(b".")
            file.flush()
            return file.tell()


def _speak_characters(text: str, shift: int, pause: int, rate: int) -> Speech:
    """One piece of sound per character, ``pause`` samples of silence at each line end."""
    parts: list[NDArray[np.float32]] = []
    words: list[WordTiming] = []
    position = 0
    for number, line in enumerate(text.split("\n")):
        if number:
            parts.append(np.zeros(pause, np.float32))
            position += pause
        codes = np.array([ord(c) for c in line], np.int64)
        parts.append(_CHAR_TABLE[(codes + shift + np.arange(codes.size) * (shift % 7)) % _PITCHES].reshape(-1))
        words += [
            WordTiming(m.group(), position + m.start() * CHAR_SAMPLES, position + m.end() * CHAR_SAMPLES)
            for m in re.finditer(r"\S+", line)
        ]
        position += codes.size * CHAR_SAMPLES
    return Speech(np.concatenate(parts), rate, tuple(words))
