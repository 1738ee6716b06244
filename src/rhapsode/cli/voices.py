"""``rhapsode voices``: what can be spoken with, and how to get more."""

import asyncio
from collections.abc import Sequence

import click
from rich.console import Console
from rich.table import Table

from rhapsode.cli.connection import patiently, running_server
from rhapsode.cli.engine import list_voices
from rhapsode.cli.options import Options, print_json
from rhapsode.client import Client, VoiceInfo
from rhapsode.engines.piper_download import download_voice
from rhapsode.errors import InvalidInput

_PIPER = "piper"


@click.group("voices", invoke_without_command=True)
@click.option("--json", "as_json", is_flag=True, help="For programs.")
@click.pass_context
def voices_command(context: click.Context, as_json: bool) -> None:
    """List voices, the engine's own default first."""
    if context.invoked_subcommand:
        return
    options: Options = context.obj
    voices = _voices(options)
    if as_json:
        print_json([{"display_name": voice.display_name, "filename": voice.filename} for voice in voices])
        return
    if not voices:
        folder = options.load().settings.tts_engine.predefined_voices_path
        options.say(f"no voices: put some into {folder}, or fetch one with: rhapsode voices install NAME")
        return
    table = Table("voice", "file", box=None, pad_edge=False)
    for voice in voices:
        table.add_row(voice.display_name, voice.filename)
    Console(highlight=False, markup=False).print(table)


@voices_command.command("install")
@click.argument("names", metavar="NAME…", nargs=-1, required=True)
@click.pass_obj
def install_command(options: Options, names: tuple[str, ...]) -> None:
    """Fetch Piper voices by name, such as en_GB-alba-medium; a running server has them at once."""
    if options.server:
        raise InvalidInput("voices are fetched on the machine that speaks; run this command there")
    settings = options.load().settings
    if settings.engine.name != _PIPER:
        raise InvalidInput(f"only Piper's voices can be fetched by name; engine.name is {settings.engine.name!r}")
    for name in names:
        click.echo(download_voice(name, settings.paths.model_cache))


def _voices(options: Options) -> Sequence[VoiceInfo]:
    if options.server:
        with Client(options.server, api_key=options.api_key) as client:
            return client.voices()
    settings = options.load().settings

    def attempt() -> Sequence[VoiceInfo]:
        client = running_server(settings)
        if client is None:
            found = asyncio.run(list_voices(settings))
            return [VoiceInfo(voice.display_name, voice.filename) for voice in found]
        with client:
            return client.voices()

    return patiently(attempt)
