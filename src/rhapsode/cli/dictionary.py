"""``rhapsode dictionary``: how words are spoken."""

from collections.abc import Sequence
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from rhapsode.cli.connection import patiently, running_server
from rhapsode.cli.options import Options, print_json
from rhapsode.cli.order import decode
from rhapsode.client import Client
from rhapsode.jobs.dictionary import FILE, DictionaryFile
from rhapsode.model import Pronunciation
from rhapsode.text.lexicon import as_rows
from rhapsode.text.pls import read_pls

_SHOWN = 40


@click.group("dictionary", invoke_without_command=True)
@click.option("--json", "as_json", is_flag=True, help="All of it, for programs.")
@click.pass_context
def dictionary_command(context: click.Context, as_json: bool) -> None:
    """Show how words are spoken."""
    if context.invoked_subcommand:
        return
    options: Options = context.obj
    entries = _entries(options)
    if as_json:
        print_json(as_rows(entries))
        return
    if not entries:
        options.say("the dictionary is empty; fill it with: rhapsode dictionary import FILE.pls")
        return
    table = Table("word", "spoken", "language", box=None, pad_edge=False)
    for entry in entries[:_SHOWN]:
        spoken = " ".join(part for part in (entry.say, entry.ipa and f"/{entry.ipa}/") if part)
        table.add_row(entry.word, spoken, entry.language or "")
    Console(highlight=False, markup=False).print(table)
    if len(entries) > _SHOWN:
        options.say(f"and {len(entries) - _SHOWN} more (--json shows all)")


@dictionary_command.command("import")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--encoding", default="utf-8", show_default=True, help="Of the file.")
@click.pass_obj
def import_command(options: Options, file: Path, encoding: str) -> None:
    """Add the words of a W3C pronunciation lexicon (PLS); they win over those there are. Jobs that run keep what they have."""
    document = decode(file.read_bytes(), file.name, encoding)
    entries, told = read_pls(document, file.name)

    def through(client: Client) -> int:
        with client:
            return len(client.add_words(entries))

    def attempt() -> int:
        if options.server:
            return through(Client(options.server, api_key=options.api_key))
        settings = options.load().settings
        client = running_server(settings)
        return through(client) if client else len(_file(options).add(entries).entries)

    total = patiently(attempt)
    for sentence in told:
        options.say(sentence)
    options.say(f"{len(entries)} words were added; the dictionary has {total}")


def _entries(options: Options) -> Sequence[Pronunciation]:
    def attempt() -> Sequence[Pronunciation]:
        client = (
            Client(options.server, api_key=options.api_key)
            if options.server
            else running_server(options.load().settings)
        )
        if client is None:
            return _file(options).now().entries
        with client:
            return client.dictionary()

    return patiently(attempt)


def _file(options: Options) -> DictionaryFile:
    return DictionaryFile(options.load().settings.data_dir / FILE)
