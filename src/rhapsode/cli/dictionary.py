"""``rhapsode dictionary``: how words are spoken."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from rhapsode.cli.connection import patiently, running_server
from rhapsode.cli.options import Options, print_json
from rhapsode.cli.order import decode
from rhapsode.client import Client
from rhapsode.jobs.dictionary import FILE, DictionaryFile, Frozen
from rhapsode.model import Pronunciation
from rhapsode.text.lexicon import as_rows, checked, from_short
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
    entries = _change(options, lambda client: client.dictionary(), lambda file: file.now())
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


@dictionary_command.command("add")
@click.argument("word")
@click.argument("spoken")
@click.option("--language", help="Only in texts of this language.")
@click.pass_obj
def add_command(options: Options, word: str, spoken: str, language: str | None) -> None:
    """Say how a word is spoken: as a respelling, or in IPA between slashes, such as GIF /dʒɪf/."""
    entry = checked(replace(from_short(word, spoken), language=language), "the word")
    _say_total(options, len(_change(options, lambda client: client.add_words([entry]), lambda file: file.add([entry]))))


@dictionary_command.command("remove")
@click.argument("word")
@click.pass_obj
def remove_command(options: Options, word: str) -> None:
    """Take out a word, written as it is there."""
    _say_total(options, len(_change(options, lambda client: client.remove_word(word), lambda file: file.remove(word))))


@dictionary_command.command("import")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--encoding", default="utf-8", show_default=True, help="Of the file.")
@click.pass_obj
def import_command(options: Options, file: Path, encoding: str) -> None:
    """Add the words of a W3C pronunciation lexicon (PLS); they win over those there are. Jobs that run keep what they have."""
    document = decode(file.read_bytes(), file.name, encoding)
    entries, told = read_pls(document, file.name)

    now = _change(options, lambda client: client.add_words(entries), lambda file: file.add(entries))
    for sentence in told:
        options.say(sentence)
    options.say(f"{len(entries)} words were added; the dictionary has {len(now)}")


def _say_total(options: Options, total: int) -> None:
    options.say(f"the dictionary has {total} words" if total != 1 else "the dictionary has one word")


def _change(
    options: Options,
    through: Callable[[Client], Sequence[Pronunciation]],
    alone: Callable[[DictionaryFile], Frozen],
) -> Sequence[Pronunciation]:
    """Do something with the dictionary of the server, or with the file when none runs; its entries then."""

    def attempt() -> Sequence[Pronunciation]:
        client = (
            Client(options.server, api_key=options.api_key)
            if options.server
            else running_server(options.load().settings)
        )
        if client is None:
            return alone(DictionaryFile(options.load().settings.data_dir / FILE)).entries
        with client:
            return through(client)

    return patiently(attempt)
