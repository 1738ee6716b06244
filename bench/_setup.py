"""How a run is to be measured."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Setup:
    """Given to every benchmark."""

    folder: Path
    """Empty, on the disk that is to be measured."""
    runs: int
    """Interleaved rounds."""
    quick: bool
    """Only to see that it works."""
    chars: int = 60_000
    """Characters of the long text."""

    @property
    def models(self) -> Path:
        """Prepared models, shared by all."""
        return self.folder / "models"

    def size(self, full: int, quick: int) -> int:
        """How much of something."""
        return quick if self.quick else full
