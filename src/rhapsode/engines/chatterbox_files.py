"""The models of Chatterbox: which files of the Hugging Face hub each variant needs, and where they lie in the model cache.

A folder that already holds a variant's files is used without asking the hub.

python -m rhapsode.engines.chatterbox_files MODEL_CACHE VARIANT…     # fetches ahead of need
"""

import sys
from dataclasses import dataclass
from pathlib import Path

from huggingface_hub import snapshot_download

from rhapsode.errors import EngineError


@dataclass(frozen=True, slots=True)
class Variant:
    """Where one variant comes from."""

    repository: str
    needed: tuple[str, ...]
    """Files without which it cannot be loaded."""
    wanted: tuple[str, ...]
    """Patterns of all that is fetched."""


VARIANTS = {
    "turbo": Variant(
        "ResembleAI/chatterbox-turbo",
        ("ve.safetensors", "t3_turbo_v1.safetensors", "s3gen_meanflow.safetensors"),
        ("*.safetensors", "*.json", "*.txt", "*.pt", "*.model"),
    ),
    "original": Variant(
        "ResembleAI/chatterbox",
        ("ve.safetensors", "t3_cfg.safetensors", "s3gen.safetensors", "tokenizer.json"),
        ("ve.safetensors", "t3_cfg.safetensors", "s3gen.safetensors", "tokenizer.json", "conds.pt"),
    ),
    "multilingual": Variant(
        "ResembleAI/chatterbox",
        ("ve.pt", "t3_mtl23ls_v2.safetensors", "s3gen.pt", "grapheme_mtl_merged_expanded_v1.json"),
        (
            "ve.pt", "t3_mtl23ls_v2.safetensors", "s3gen.pt", "grapheme_mtl_merged_expanded_v1.json", "conds.pt",
            "Cangjie5_TC.json",
        ),
    ),
}  # fmt: skip


def folder_of(variant: str, model_cache: Path) -> Path:
    """Where the variant's files lie."""
    return model_cache / VARIANTS[variant].repository.rpartition("/")[2]


def fetched(variant: str, model_cache: Path) -> Path:
    """The folder with the variant's files; what is missing is fetched, and an interrupted download goes on where it was.

    Raises:
        EngineError: It cannot be fetched.
    """
    source, folder = VARIANTS[variant], folder_of(variant, model_cache)
    if all((folder / name).is_file() for name in source.needed):
        return folder
    try:
        snapshot_download(source.repository, local_dir=folder, allow_patterns=list(source.wanted))
    except (OSError, ValueError) as error:  # what the hub library raises is one of these
        reason = next(iter(str(error).strip().splitlines()), "no reason given")
        raise EngineError(
            f"chatterbox {variant} could not be fetched from {source.repository} ({type(error).__name__}: {reason}); "
            f"without a network, put its files into {folder}: {', '.join(source.needed)}"
        ) from error
    return folder


def main() -> None:
    """Fetch the variants named; turbo when none is."""
    cache, *variants = sys.argv[1:]
    for variant in variants or ["turbo"]:
        if variant not in VARIANTS:
            sys.exit(f"{variant!r} is not one of: {', '.join(VARIANTS)}")
        try:
            print(f"chatterbox {variant} is here: {fetched(variant, Path(cache))}")  # noqa: T201
        except EngineError as error:
            sys.exit(str(error))


if __name__ == "__main__":
    main()
