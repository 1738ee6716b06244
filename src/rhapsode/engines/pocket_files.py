"""The files of Pocket TTS: a model for each language, and voices that were made with it.

They lie in the model cache as on the Hugging Face hub: ``pocket-tts/languages/<language>/model.safetensors`` clones voices, the
model under ``pocket-tts-without-voice-cloning/`` does not. What is missing is fetched from there, once; what is there is used
without asking, so that a folder filled by hand serves a machine without a network. A ``config.yaml`` beside a model takes the
place of the package's own configuration.

python -m rhapsode.engines.pocket_files MODEL_CACHE LANGUAGE…     # fetches ahead of need
"""

import hashlib
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml
from huggingface_hub import constants
from pocket_tts.utils.config import CONFIGS_DIR
from pocket_tts.utils.utils import get_predefined_voice

from rhapsode.engines import hub
from rhapsode.errors import EngineError

LANGUAGES: Mapping[str, str] = {
    "en": "english",
    "de": "german",
    "es": "spanish",
    "fr": "french",
    "it": "italian",
    "nl": "dutch",
    "pt": "portuguese",
}
"""The package's name of each language's model."""
CLONING = "pocket-tts"
"""Folder, and repository of the hub, of the models that clone. Access is asked for there, once."""
PLAIN = "pocket-tts-without-voice-cloning"
_WEIGHTS = "model.safetensors"
_CONFIG = "config.yaml"


class PocketFiles:
    """Finds and fetches files.

    Args:
        model_cache: Folder of the cache.
    """

    def __init__(self, model_cache: Path) -> None:
        self._cache = model_cache

    def can_clone(self, language: str) -> bool:
        """Whether the language's model clones; what is not here yet is taken for one that does."""
        return self._local(language, _WEIGHTS, CLONING) is not None or self._local(language, _WEIGHTS, PLAIN) is None

    def is_here(self, language: str) -> bool:
        """Whether the language's model needs no fetching."""
        return self._local(language, _WEIGHTS, CLONING, PLAIN) is not None

    def revision(self) -> str:
        """Digest of what an operator put beside the models, which the package's version does not tell; empty when nothing."""
        own = sorted(self._cache.glob(f"*/languages/*/{_CONFIG}"))
        return hashlib.sha256(b"".join(path.read_bytes() for path in own)).hexdigest()[:12] if own else ""

    def voices(self, language: str) -> list[str]:
        """Names of the language's voices that need no fetching, sorted."""
        folders = [self._folder(language, repository) / "embeddings" for repository in (CLONING, PLAIN)]
        return sorted({path.stem for folder in folders for path in folder.glob("*.safetensors")})

    def voice(self, language: str, name: str) -> Path:
        """The state of a voice of the catalogue, fetched when it is not here.

        Raises:
            EngineError: It cannot be had.
        """
        here = self._local(language, f"embeddings/{name}.safetensors", CLONING, PLAIN)
        return here or self._fetch(get_predefined_voice(LANGUAGES[language], name), f"voice {name}")

    @contextmanager
    def configuration(self, language: str, best: bool = False) -> Iterator[Path]:
        """A configuration of the language's model that names local files only, for as long as the block runs.

        Args:
            language: The language.
            best: Ask for the model that clones even if the other one is here.

        Raises:
            EngineError: A file cannot be had; says which and what to do.
        """
        own = self._local(language, _CONFIG, CLONING, PLAIN) or CONFIGS_DIR / f"{LANGUAGES[language]}.yaml"
        config: dict[str, Any] = yaml.safe_load(own.read_text(encoding="utf-8"))
        table = config["flow_lm"]["lookup_table"]
        plain = config.pop("weights_path_without_voice_cloning", None)
        config["weights_path"] = str(self._weights(language, config.get("weights_path"), plain, best))
        here = self._local(language, Path(table["tokenizer_path"].partition("@")[0]).name, CLONING, PLAIN)
        table["tokenizer_path"] = str(here or self._fetch(table["tokenizer_path"], f"the tokenizer of {language}"))
        with tempfile.TemporaryDirectory(prefix="rhapsode-pocket-") as folder:
            path = Path(folder) / "model.yaml"
            path.write_text(yaml.safe_dump(config), encoding="utf-8")
            yield path

    def _weights(self, language: str, cloning: str | None, plain: str | None, best: bool) -> Path:
        here = self._local(language, _WEIGHTS, *([CLONING] if best else [CLONING, PLAIN]))
        if here or not cloning:
            return here or self._missing(language)
        try:
            return self._fetch(cloning, f"the model of {language} that clones voices")
        except EngineError as error:
            if plain is None:
                raise
            print(f"{error}; without that, it does not clone voices", file=sys.stderr)  # noqa: T201
            try:
                return self._fetch(plain, f"the model of {language}")
            except EngineError:
                raise error from None

    def _missing(self, language: str) -> Path:
        raise EngineError(f"there is no model in {self._folder(language, CLONING)}: put {_WEIGHTS} there")

    def _folder(self, language: str, repository: str) -> Path:
        return self._cache / repository / "languages" / LANGUAGES[language]

    def _local(self, language: str, name: str, *repositories: str) -> Path | None:
        paths = (self._folder(language, repository) / name for repository in repositories)
        return next((path for path in paths if path.is_file()), None)

    def _fetch(self, address: str, what: str) -> Path:
        """A file of the hub (``hf://owner/repository/path@revision``); an interrupted download goes on where it was.

        Raises:
            EngineError: It cannot be fetched.
        """
        path, _, revision = address.removeprefix("hf://").partition("@")
        owner, repository, name = path.split("/", 2)
        folder = self._cache / repository
        try:
            return hub.fetch(f"{owner}/{repository}", name, folder, revision or None)
        except EngineError as error:
            terms = f"accept its terms at {constants.ENDPOINT}/{owner}/{repository} and set HF_TOKEN; "
            raise EngineError(
                f"{what} could not be fetched ({error}); {terms if repository == CLONING else ''}"
                f"without a network, put it at {folder / name}"
            ) from error


def main() -> None:
    """Fetch the models of the languages named; of English when none is."""
    cache, *languages = sys.argv[1:]
    files = PocketFiles(Path(cache))
    for language in languages or ["en"]:
        if language not in LANGUAGES:
            sys.exit(f"language {language!r} is not one of: {', '.join(LANGUAGES)}")
        try:
            with files.configuration(language, best=True):
                clones = "clones voices" if files.can_clone(language) else "does not clone voices"
                print(f"the model of {language} is here; it {clones}")  # noqa: T201
        except EngineError as error:
            sys.exit(str(error))


if __name__ == "__main__":
    main()
