"""Where Kokoro's model and voices lie, and how they get there from the Hugging Face hub.

Imports no model library, so that the command line can use it.
"""

import hashlib
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rhapsode.engines import hub
from rhapsode.errors import EngineError, NotFound

FOLDER = "kokoro"
"""In the model cache, and in the folder of voices: one ``.onnx`` file, and tables of voices beside it or below it."""
REPOSITORY = "onnx-community/Kokoro-82M-v1.0-ONNX"
MODEL = "onnx/model_quantized.onnx"
"""Eight bits: 92 MB, and on a CPU as fast as the large one is not."""
STYLE = 256
"""Numbers of one style vector."""
VOICE_NAME = re.compile(r"[a-z][fm]_[a-z0-9_]+")
"""Language, sex, name: ``af_heart``."""

Table = NDArray[np.float32]
"""Style vectors of a voice by number of phonemes, shape (n, 256)."""


def folders(voices_dir: Path, model_cache: Path) -> Sequence[Path]:
    """Where the files may be; the operator's own come first."""
    return [voices_dir / FOLDER, model_cache / FOLDER]


def find_model(voices_dir: Path, model_cache: Path) -> Path | None:
    """The model file, the first by name where there are several."""
    for folder in folders(voices_dir, model_cache):
        found = sorted(folder.rglob("*.onnx"))
        if found:
            return found[0]
    return None


def find_tables(voices_dir: Path, model_cache: Path) -> dict[str, Path]:
    """Files that hold voices, by the voice they hold; one with several under each."""
    found: dict[str, Path] = {}
    for folder in folders(voices_dir, model_cache):
        for path in sorted([*folder.rglob("*.bin"), *folder.rglob("*.npz"), *folder.rglob("*.npy")]):
            for name in _names_in(path):
                found.setdefault(name, path)
    return dict(sorted(found.items()))


def read_table(path: Path, voice: str) -> Table:
    """The style vectors of a voice.

    Raises:
        EngineError: The file is damaged, or holds something else.
    """
    try:
        if _is_archive(path):
            with np.load(path, allow_pickle=False) as archive:
                table = np.asarray(archive[voice], np.float32)
        elif path.suffix == ".npy":
            table = np.asarray(np.load(path, allow_pickle=False), np.float32)
        else:
            table = np.fromfile(path, "<f4")
        table = table.reshape(-1, STYLE)
    except (OSError, ValueError, KeyError) as error:
        raise EngineError(f"voice {voice!r} in {path.name} cannot be read: {error}") from error
    if not table.size or not np.isfinite(table).all():
        raise EngineError(f"voice {voice!r} in {path.name} holds no style vectors")
    return np.ascontiguousarray(table)


def revision_of(path: Path) -> str:
    """Short digest of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:16]


def download(model_cache: Path, voices: Sequence[str] = ()) -> Path:
    """Fetch the model and voices into the model cache; what is there is not fetched twice, what broke off goes on.

    Progress is shown, and each file checked against the hub's digest.

    Args:
        model_cache: Folder of the cache.
        voices: Such as ``af_heart``; none: all there are.

    Returns:
        The model file.

    Raises:
        NotFound: No such voice, or the hub cannot be reached; says what was tried.
    """
    folder = model_cache / FOLDER
    tried = REPOSITORY
    try:
        names = voices or [Path(name).stem for name in hub.names(REPOSITORY) if re.fullmatch(r"voices/\w+\.bin", name)]
        for voice in names:
            tried = f"voices/{voice}.bin of {REPOSITORY}"
            hub.fetch(REPOSITORY, f"voices/{voice}.bin", folder)
        tried = f"{MODEL} of {REPOSITORY}"
        return hub.fetch(REPOSITORY, MODEL, folder)
    except EngineError as error:
        raise NotFound(
            f"Kokoro could not be fetched: tried {tried} on the Hugging Face hub ({error}). "
            f"Without a network, put its .onnx file and its voices (.bin, .npz) into {folder}",
            "voice",
        ) from error


def remove(model_cache: Path, voice: str) -> None:
    """Delete a voice that was fetched.

    Raises:
        NotFound: It was not fetched.
    """
    path = model_cache / FOLDER / "voices" / f"{voice}.bin"
    if not path.is_file():
        here = ", ".join(sorted(file.stem for file in path.parent.glob("*.bin"))) or "none"
        raise NotFound(f"voice {voice!r} was not fetched from the hub; those that were: {here}", "voice")
    path.unlink()


def _is_archive(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(2) == b"PK"


def _names_in(path: Path) -> list[str]:
    try:
        if _is_archive(path):
            with np.load(path, allow_pickle=False) as archive:
                return [name for name in archive.files if VOICE_NAME.fullmatch(name)]
        return [path.stem] if VOICE_NAME.fullmatch(path.stem) and path.stat().st_size >= STYLE * 4 else []
    except (OSError, ValueError):
        return []
