"""``rhapsode engines install | remove``: environments for engines whose libraries are better kept apart."""

import subprocess
import sys
from pathlib import Path

import click

from rhapsode.cli.options import Options
from rhapsode.environment import family, install, interpreters, remove
from rhapsode.errors import EngineError, InvalidInput

_FETCHERS = {"pocket": "rhapsode.engines.pocket_files", "chatterbox": "rhapsode.engines.chatterbox_variants"}
"""Modules that fetch an engine's models into the model cache, run by its own interpreter; by what the engine comes with."""
_MODELS = {"chatterbox": "turbo", "chatterbox-turbo": "turbo", "chatterbox-multilingual": "multilingual"}
"""What is spoken with when no model is named."""
_ENGINES = {"turbo": "chatterbox-turbo", "original": "chatterbox", "multilingual": "chatterbox-multilingual"}
"""Which engine speaks with a model, where that is not the engine that was named."""


@click.command("install")
@click.argument("name")
@click.option("--python", default=sys.executable, help="Interpreter to make the environment from; default: this one.")
@click.option(
    "--constraint", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="Versions that pip must keep to."
)
@click.option("--model", "models", multiple=True, metavar="NAME", help="Fetch this model of the engine; repeatable.")
@click.option("--no-models", is_flag=True, help="Fetch no model now: it is fetched when it is first spoken with.")
@click.pass_obj
def install_command(
    options: Options, name: str, python: str, constraint: Path | None, models: tuple[str, ...], no_models: bool
) -> None:
    """Give an engine a Python environment of its own under the data directory, and fetch its model.

    Settings of pip count, such as PIP_INDEX_URL and PIP_EXTRA_INDEX_URL. Where it stopped it can be started again.
    """
    _require_here(options)
    settings = options.load().settings
    interpreter = install(settings.data_dir, name, options.say, python, constraint)
    models = models or tuple(filter(None, [_MODELS.get(name)]))
    if (fetcher := _FETCHERS.get(family(name))) and not no_models:
        options.say(f"fetching the model of {name} into {settings.paths.model_cache}")
        command = [str(interpreter), "-P", "-m", fetcher, str(settings.paths.model_cache), *models]
        if subprocess.run(command, check=False).returncode:  # progress and errors are shown as they come
            raise EngineError(f"{name} is installed, but its model could not be fetched; run this again to go on")
    name = _ENGINES.get(models[0], name) if models else name
    options.say(f'speak with it: rhapsode --config … with engine.name: {name}, or in a request: "engine": "{name}"')


@click.command("remove")
@click.argument("name")
@click.pass_obj
def remove_command(options: Options, name: str) -> None:
    """Delete the environment of an engine; its models stay in the model cache."""
    _require_here(options)
    settings = options.load().settings
    active = settings.engine.name
    if family(active) == family(name) and active in interpreters(settings.data_dir):
        options.warn(
            f"engine.name is {active}: the server will not start before it is installed again, or another is named"
        )
    remove(settings.data_dir, name, options.say)


def _require_here(options: Options) -> None:
    if options.server:
        raise InvalidInput("engines are installed on the machine that speaks; run this command there")
