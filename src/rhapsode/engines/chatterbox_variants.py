"""The variants of Chatterbox: what each can do, which files of the Hugging Face hub it needs, and where they lie in the model cache.

A folder that already holds a variant's files is used without asking the hub. Imports no model library.

python -m rhapsode.engines.chatterbox_variants MODEL_CACHE VARIANT…     # fetches ahead of need
"""

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from rhapsode.engines import hub
from rhapsode.engines.base import Control
from rhapsode.errors import EngineError

SPEED = Control("speed_factor", 0.25, 4.0, 1.0, "How fast it speaks; 2 is twice as fast.")
TEMPERATURE = Control("temperature", 0.05, 1.5, 0.8, "How lively it speaks.")
EXAGGERATION = Control("exaggeration", 0.0, 2.0, 0.5, "How much feeling it puts into it; from 1 on it may break.")
CFG_WEIGHT = Control(
    "cfg_weight", 0.0, 2.0, 0.5, "How closely it keeps to the voice's pace; less is slower and calmer."
)
_LEAST_CFG_WEIGHT = 1e-6
"""With none at all ``ChatterboxTTS`` 0.1.7 fails; with so little it speaks as it would."""
TAGS = (
    "[clear throat]", "[sigh]", "[shush]", "[cough]", "[groan]", "[sniff]", "[gasp]", "[chuckle]", "[laugh]",
)  # fmt: skip
"""What turbo performs instead of reading it."""
LANGUAGES = (
    "ar", "da", "de", "el", "en", "es", "fi", "fr", "he", "hi", "it", "ja", "ko", "ms", "nl", "no", "pl", "pt", "ru",
    "sv", "sw", "tr", "zh",
)  # fmt: skip
"""What multilingual speaks."""


@dataclass(frozen=True, slots=True)
class Variant:
    """One of the engines."""

    name: str
    engine: str
    module: str
    model: str
    """Its class in ``module``."""
    repository: str
    needed: tuple[str, ...]
    """Files without which it cannot be loaded."""
    vocabulary: tuple[tuple[str, ...], ...]
    """And all of one of these."""
    wanted: tuple[str, ...]
    """Patterns of all that is fetched."""
    controls: tuple[Control, ...]
    languages: tuple[str, ...] = ("en",)
    tags: tuple[str, ...] = ()
    min_clip_s: float = 0.0
    """Shorter recordings are refused."""

    def folder(self, model_cache: Path) -> Path:
        """Where its files lie."""
        return model_cache / self.repository.rpartition("/")[2]

    def fetched(self, model_cache: Path) -> Path:
        """The folder with its files; what is missing is fetched, and an interrupted download goes on where it was.

        Raises:
            EngineError: It cannot be fetched.
        """
        folder = self.folder(model_cache)
        if self._is_whole(folder):
            return folder
        try:
            for name in hub.names(self.repository):
                if any(fnmatchcase(name, pattern) for pattern in self.wanted):
                    hub.fetch(self.repository, name, folder)
        except EngineError as error:
            raise EngineError(
                f"{self.engine} could not be fetched from {self.repository} ({error}); "
                f"without a network, put its files into {folder}: "
                f"{', '.join(self.needed)}, {', or '.join(' and '.join(files) for files in self.vocabulary)}"
            ) from error
        return folder

    def _is_whole(self, folder: Path) -> bool:
        return any(all((folder / name).is_file() for name in (*self.needed, *files)) for files in self.vocabulary)

    def arguments(self, controls: Mapping[str, float], language: str) -> dict[str, Any]:
        """What ``generate`` is called with, besides the text: the controls as asked for, and the language if it has several."""
        given: dict[str, Any] = {
            control.name: controls.get(control.name, control.default)
            for control in self.controls
            if control is not SPEED  # the worker's time-stretch does that
        }
        if "cfg_weight" in given:
            given["cfg_weight"] = max(given["cfg_weight"], _LEAST_CFG_WEIGHT)
        if len(self.languages) > 1:
            given["language_id"] = language.lower().replace("_", "-").partition("-")[0]
        return given


TURBO = Variant(
    "turbo",
    "chatterbox-turbo",
    "chatterbox.tts_turbo",
    "ChatterboxTurboTTS",
    "ResembleAI/chatterbox-turbo",
    ("ve.safetensors", "t3_turbo_v1.safetensors", "s3gen_meanflow.safetensors", "tokenizer_config.json"),
    (("vocab.json", "merges.txt"), ("tokenizer.json",)),
    (
        "ve.safetensors", "t3_turbo_v1.safetensors", "s3gen_meanflow.safetensors",
        "*.json", "*.txt", "*.pt", "*.model",
    ),
    (SPEED, TEMPERATURE),
    tags=TAGS,
    min_clip_s=5.1,
)  # fmt: skip
ORIGINAL = Variant(
    "original",
    "chatterbox",
    "chatterbox.tts",
    "ChatterboxTTS",
    "ResembleAI/chatterbox",
    ("ve.safetensors", "t3_cfg.safetensors", "s3gen.safetensors"),
    (("tokenizer.json",),),
    ("ve.safetensors", "t3_cfg.safetensors", "s3gen.safetensors", "tokenizer.json", "conds.pt"),
    (SPEED, TEMPERATURE, EXAGGERATION, CFG_WEIGHT),
)
MULTILINGUAL = Variant(
    "multilingual",
    "chatterbox-multilingual",
    "chatterbox.mtl_tts",
    "ChatterboxMultilingualTTS",
    "ResembleAI/chatterbox",
    ("ve.pt", "t3_mtl23ls_v2.safetensors", "s3gen.pt"),
    (("grapheme_mtl_merged_expanded_v1.json",),),
    (
        "ve.pt", "t3_mtl23ls_v2.safetensors", "s3gen.pt", "grapheme_mtl_merged_expanded_v1.json", "conds.pt",
        "Cangjie5_TC.json",
    ),
    (SPEED, TEMPERATURE, EXAGGERATION, CFG_WEIGHT),
    languages=LANGUAGES,
)  # fmt: skip
VARIANTS = {variant.name: variant for variant in (TURBO, ORIGINAL, MULTILINGUAL)}


def main() -> None:
    """Fetch the variants named; turbo when none is."""
    cache, *names = sys.argv[1:]
    for name in names or [TURBO.name]:
        if name not in VARIANTS:
            sys.exit(f"{name!r} is not one of: {', '.join(VARIANTS)}")
        try:
            print(f"chatterbox {name} is here: {VARIANTS[name].fetched(Path(cache))}")  # noqa: T201
        except EngineError as error:
            sys.exit(str(error))


if __name__ == "__main__":
    main()
