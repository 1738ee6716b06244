"""``rhapsode settings``."""

from dataclasses import asdict

import click
from rich.console import Console
from rich.table import Table

from rhapsode.cli.options import Options, print_json
from rhapsode.config import Loaded, without_password
from rhapsode.settings_doc import SettingDoc, describe_settings, settings_markdown


@click.command("settings")
@click.option("--markdown", is_flag=True, help="The page docs/configuration.md.")
@click.option("--json", "as_json", is_flag=True, help="For programs.")
@click.pass_obj
def settings_command(options: Options, markdown: bool, as_json: bool) -> None:
    """List every setting: value in force, environment variable, default, unit, bounds, meaning."""
    if markdown:
        click.echo(settings_markdown(), nl=False)
        return
    loaded = options.load()
    for warning in loaded.warnings:
        options.warn(warning)
    rows = describe_settings()
    if as_json:
        print_json([asdict(row) | {"value": _value(loaded, row), "named": row.key in loaded.named} for row in rows])
        return
    _print_table(loaded, rows)


def _value(loaded: Loaded, row: SettingDoc) -> object:
    """The value in force; paths absolute. None also for what stands for "anything" in an open section."""
    section, _, name = row.key.partition(".")
    plain = loaded.settings.model_dump(mode="json")
    plain["ledger"]["url"] = without_password(loaded.settings.ledger.url)
    return plain[section].get(name) if name else plain[section]


def _print_table(loaded: Loaded, rows: list[SettingDoc]) -> None:
    table = Table("setting", "value", "meaning", caption="* named by file, environment or command line")
    for row in rows:
        shown = _plain(_value(loaded, row))
        mark = "*" if row.key in loaded.named else ""
        unit = f" {row.unit}" if row.unit and shown else ""
        table.add_row(f"{row.key}{mark}\n{row.env}", shown + unit, f"{row.help}\n{row.bounds}", end_section=True)
    Console(highlight=False, markup=False).print(table)


def _plain(value: object) -> str:
    """A value as it is written in the file."""
    if value is None:
        return ""
    return str(value).lower() if isinstance(value, bool) else str(value)
