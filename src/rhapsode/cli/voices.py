"""``rhapsode voices``: what can be spoken with, and how to get more."""

import asyncio
from collections.abc import Sequence
from dataclasses import asdict

import click
from rich.console import Console
from rich.table import Table

from rhapsode.cli.connection import patiently, running_server
from rhapsode.cli.engine import list_voices
from rhapsode.cli.options import Options, human_size, print_json
from rhapsode.client import Client, VoiceInfo
from rhapsode.engines import kokoro_files
from rhapsode.engines.piper_download import download_voice, remove_voice, search
from rhapsode.errors import InvalidInput


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
    """Fetch voices: of Piper by name, such as en_GB-alba-medium; of Kokoro as af_heart, or all of them: kokoro."""
    if options.server:
        raise InvalidInput("voices are fetched on the machine that speaks; run this command there")
    cache = options.load().settings.paths.model_cache
    for name in names:
        if name == kokoro_files.FOLDER:
            click.echo(kokoro_files.download(cache))
        elif kokoro_files.VOICE_NAME.fullmatch(name):
            click.echo(kokoro_files.download(cache, [name]))
        else:
            click.echo(download_voice(name, cache))


@voices_command.command("search")
@click.argument("words", nargs=-1)
@click.option("--refresh", is_flag=True, help="Fetch the list of voices again.")
@click.option("--json", "as_json", is_flag=True, help="For programs.")
@click.pass_obj
def search_command(options: Options, words: tuple[str, ...], refresh: bool, as_json: bool) -> None:
    """Search the Piper voices that can be fetched by name, language and country: `rhapsode voices search german`."""
    found = search(words, options.load().settings.paths.model_cache, refresh)
    if as_json:
        print_json([asdict(offer) for offer in found])
        return
    table = Table("voice", "language", "quality", "speakers", "size", "", box=None, pad_edge=False)
    for offer in found:
        size = human_size(offer.bytes)
        here = "installed" if offer.installed else ""
        table.add_row(offer.name, offer.language, offer.quality, str(offer.speakers), size, here)
    Console(highlight=False, markup=False).print(table)
    options.say("fetch one with: rhapsode voices install NAME" if found else "no voice has all these words")


@voices_command.command("remove")
@click.argument("names", metavar="NAME…", nargs=-1, required=True)
@click.pass_obj
def remove_command(options: Options, names: tuple[str, ...]) -> None:
    """Delete voices that were fetched by name."""
    if options.server:
        raise InvalidInput("voices are deleted on the machine that speaks; run this command there")
    cache = options.load().settings.paths.model_cache
    for name in names:
        if kokoro_files.VOICE_NAME.fullmatch(name):
            kokoro_files.remove(cache, name)
        else:
            remove_voice(name, cache)
        options.say(f"removed {name}")


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
