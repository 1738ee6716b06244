"""What engines that clone have in common: recordings of the voices folder as voices, and files of what was computed of a clip."""

import fcntl
import hashlib
import uuid
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from rhapsode.audio.clip import RATE, make_clip
from rhapsode.audio.probe import read_sound
from rhapsode.errors import EngineError, InvalidInput
from rhapsode.model import Voice

SUFFIXES = (".wav", ".mp3")
_LONGEST_S = 300.0


class Recordings:
    """The recordings of a folder. Each is a voice, called like its file; without the ending unless two differ in that alone.

    Args:
        folder: The folder of voices.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._revisions: dict[tuple[Path, int, int], str] = {}

    def voices(self, language: str) -> list[Voice]:
        """All of them, by name; reads the folder anew. They speak whatever language the engine does: ``language`` unless asked."""
        found = [path for path in sorted(self._folder.glob("*")) if path.suffix.lower() in SUFFIXES]
        found = [path for path in found if path.is_file() and not path.name.startswith(".")]
        names = Counter(name for path in found for name in (path.stem, path.name))
        ids = {path: path.stem if names[path.stem] == 1 else path.name for path in found}
        return [
            Voice(name, path.name, name.replace("_", " "), language, self._revision(path), RATE)
            for path, name in ids.items()
        ]

    def has(self, voice: Voice) -> bool:
        """Whether the voice is one of them."""
        return Path(voice.filename).suffix.lower() in SUFFIXES

    def clip(self, voice: Voice) -> bytes:
        """The clip to clone the voice from, as a WAV file.

        Raises:
            EngineError: It cannot be made of the recording.
        """
        try:
            return make_clip(read_sound(self._folder / voice.filename, _LONGEST_S))
        except InvalidInput as error:
            raise EngineError(f"{voice.filename}: {error}") from error

    def _revision(self, path: Path) -> str:
        """Digest of a recording, read again when it has changed."""
        stat = path.stat()
        stamp = (path, stat.st_size, stat.st_mtime_ns)
        if stamp not in self._revisions:
            self._revisions[stamp] = hashlib.sha256(path.read_bytes()).hexdigest()[:16]
        return self._revisions[stamp]


def computed(path: Path, compute: Callable[[Path], None]) -> Path:
    """A file, made by whichever process comes first and read by all others; whole or not there at all.

    Args:
        path: The file.
        compute: Writes it to the path that it is given.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with (path.parent / ".computing").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # of a dead process nothing stays locked
        if not path.exists():
            draft = path.parent / f".tmp-{uuid.uuid4().hex}"
            try:
                compute(draft)
                draft.replace(path)
            finally:
                draft.unlink(missing_ok=True)
    return path
