"""What is in a sound file that somebody sent: decoded in a process of its own, which may crash, hang or grow without harm.

python -m rhapsode.audio.probe FILE MAX_SECONDS [CLIP]     # prints one line of JSON; CLIP: where a copy to clone from goes
"""

import asyncio
import contextlib
import json
import math
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

from rhapsode.audio.clip import RATE, make_clip
from rhapsode.audio.wav import HEADER
from rhapsode.errors import InvalidInput
from rhapsode.spawn import spawn

with contextlib.suppress(ImportError):  # Windows has no such limits
    import resource

_CPU_S = 30
_MEMORY = 1_500_000_000
_FILES = 64
_PATIENCE_S = 60.0
_ANSWER_BYTES = 4_096
_CONTAINERS = "wav,w64,mp3,flac,ogg,aac,aiff,mov,matroska"
"""What may be in the file. Above all no playlist: FFmpeg would open whatever file or address stands in it."""
_RATES = (4_000, 384_000)
_MOST_CHANNELS = 8
_SILENCE = 1e-4
_SHORTEST_S = 0.1


@dataclass(frozen=True, slots=True)
class Sound:
    """A sound file that can be decoded from its beginning to its end."""

    codec: str
    sample_rate: int
    """Hz."""
    channels: int
    duration_s: float


async def probe(path: Path, max_s: float, clip: Path | None = None) -> Sound:
    """Decode the file in a child process.

    Args:
        path: The file.
        max_s: Longest sound that is allowed, seconds.
        clip: Where to write the copy that voices are cloned from (see :func:`rhapsode.audio.clip.make_clip`).

    Raises:
        InvalidInput: It is no sound, is damaged, silent, too short or long, or of a rate or number of channels that no recording has.
    """
    child = await spawn(
        sys.executable, "-P", "-m", "rhapsode.audio.probe", str(path), str(max_s), *([str(clip)] if clip else ()),
        stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    assert child.stdout is not None  # noqa: S101 - it is a pipe
    out = b""
    try:
        async with asyncio.timeout(_PATIENCE_S):
            await child.stdout.readexactly(_ANSWER_BYTES)  # which no answer has
    except asyncio.IncompleteReadError as answer:
        out = answer.partial
    except TimeoutError:
        raise InvalidInput("it takes too long to decode") from None
    finally:
        if child.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                child.kill()
        await child.communicate()
    try:
        found = json.loads(out)
    except ValueError:
        raise InvalidInput("it cannot be decoded") from None
    if "error" in found:
        raise InvalidInput(found["error"])
    return Sound(**found)


def inspect(path: Path, max_s: float, clip: Path | None = None) -> Sound:
    """Decode the file here; see :func:`probe`.

    Raises:
        InvalidInput: As :func:`probe`.
    """
    found: list[Sound] = []
    peak = 0.0
    kept: list[NDArray[np.float32]] = []
    for block in _decode(path, max_s, RATE if clip else None, found):
        peak = max(peak, float(np.abs(block).max(initial=0.0)))
        if clip:
            kept.append(block)
    if peak < _SILENCE:
        raise InvalidInput("it is silent")
    if clip:
        clip.write_bytes(make_clip(np.concatenate(kept)))
    return found[0]


def read_sound(path: Path, max_s: float) -> NDArray[np.float32]:
    """Mono samples at :data:`rhapsode.audio.clip.RATE`, decoded here: for processes that may crash, hang or grow without harm.

    Raises:
        InvalidInput: As :func:`probe`.
    """
    return np.concatenate([np.zeros(0, np.float32), *_decode(path, max_s, RATE, [])])


def _decode(path: Path, max_s: float, rate: int | None, found: list[Sound]) -> Iterator[NDArray[np.float32]]:
    """The sound in mono blocks, at ``rate`` or its own; at its end, what it was goes into ``found``.

    Raises:
        InvalidInput: As :func:`probe`, but for silence.
    """
    samples = 0
    try:
        limits = {"format_whitelist": _CONTAINERS, "protocol_whitelist": "file"}
        with av.open(f"file:{path}", mode="r", options=limits) as container:
            if not container.streams.audio:
                raise InvalidInput("there is no sound in it")
            stream = container.streams.audio[0]
            own, channels, codec = stream.rate or 0, stream.channels, stream.codec_context.name
            if not _RATES[0] <= own <= _RATES[1]:
                raise InvalidInput(f"its sample rate is {own} Hz; it must be {_RATES[0]:,}–{_RATES[1]:,}")
            if not 1 <= channels <= _MOST_CHANNELS:
                raise InvalidInput(f"it has {channels} channels; there may be {_MOST_CHANNELS}")
            resampler = av.AudioResampler(format="flt", layout="mono", rate=rate)
            for frame in container.decode(stream):
                samples += frame.samples
                if samples > max_s * own:
                    raise InvalidInput(f"it is longer than {max_s:g} s")
                yield from _blocks(resampler, frame)
            if samples:
                yield from _blocks(resampler, None)
    except (
        av.FFmpegError,
        AttributeError,
        ValueError,
        EOFError,
    ) as error:  # attributes are what a stream without codec lacks
        why = getattr(error, "strerror", None) or str(error)  # the whole would name our temporary file
        raise InvalidInput(f"it cannot be decoded: {why[:100]}") from None
    if not samples:
        raise InvalidInput("there is no sound in it")
    if samples < _SHORTEST_S * own:
        raise InvalidInput(f"it is shorter than {_SHORTEST_S:g} s")
    found.append(Sound(codec, own, channels, round(samples / own, 3)))


def _blocks(resampler: av.AudioResampler, frame: av.AudioFrame | None) -> Iterator[NDArray[np.float32]]:
    """A frame resampled; None: what the resampler still holds."""
    for plain in resampler.resample(frame):
        block = plain.to_ndarray().reshape(-1).astype(np.float32, copy=False)
        if not np.isfinite(block).all():
            raise InvalidInput("it holds numbers that are no sound")
        yield block


def limit(written: int = 0) -> None:
    """What this process may use from here on: time, memory, open files; it writes no file of more than that many bytes and leaves no core."""
    limits = {"CPU": _CPU_S, "AS": _MEMORY, "NOFILE": _FILES, "FSIZE": written, "CORE": 0}
    for name, most in limits.items():
        with contextlib.suppress(NameError, AttributeError, ValueError, OSError):  # not every system has all of them
            resource.setrlimit(getattr(resource, f"RLIMIT_{name}"), (most, most))


def main() -> None:
    """Entry point of the child."""
    file, max_s, *clip = sys.argv[1:]
    limit(HEADER.size + 2 * RATE * math.ceil(float(max_s)) if clip else 0)
    try:
        answer: dict[str, object] = asdict(inspect(Path(file), float(max_s), *map(Path, clip)))
    except InvalidInput as error:
        answer = {"error": str(error)}
    except MemoryError:
        answer = {"error": "it needs too much memory to decode"}
    sys.stdout.write(json.dumps(answer))


if __name__ == "__main__":
    main()
