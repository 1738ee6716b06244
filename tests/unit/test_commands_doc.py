"""Every command that a page shows is one: its name, its options and the number of its arguments. Every command there is stands in docs/cli.md."""

import re
import shlex
from contextlib import suppress
from pathlib import Path

import click
import pytest

from rhapsode.cli import main

ROOT = Path(__file__).parents[2]
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").rglob("*.md")])
_BLOCK = re.compile(r"```(?:sh|ini)?\n(.*?)```", re.DOTALL)
_INLINE = re.compile(r"`((?:\./start\.sh|rhapsode) [^`]+)`")
_SHOWN = re.compile(
    r"(?:^\s*|\$\(|ExecStart=\S*/|&& |; )(?:\./start\.sh|(?<![\w/.-])rhapsode) (?P<words>[^\n|;&<>]*)", re.MULTILINE
)


def shown(page: Path) -> list[str]:
    """What stands behind ``rhapsode`` wherever a page shows it."""
    text = page.read_text(encoding="utf-8")
    code = [*_BLOCK.findall(text), *_INLINE.findall(text)]
    found = [match["words"] for piece in code for match in _SHOWN.finditer(piece.replace("\\\n", " "))]
    found = [words.partition("  #")[0].strip() for words in found if not words.startswith(("COMMAND", "import"))]
    return [words for words in found if words and not words.startswith("#")]


SHOWN = sorted({(page.name, words) for page in PAGES for words in shown(page)})


def parse(words: str) -> click.Context:
    """What click makes of it; nothing is run.

    Raises:
        click.UsageError: It is none of our commands.
    """
    args = shlex.split(re.sub(r"\$\([^)]*\)?|…", "anything", words), comments=True)
    context = main.make_context("rhapsode", [arg.rstrip(")") for arg in args])
    command: click.Command = main
    while isinstance(command, click.Group):
        rest = [*context._protected_args, *context.args]
        if not rest and command.invoke_without_command:
            break
        name, found, rest = command.resolve_command(context, rest)
        assert found is not None
        command = found
        context = command.make_context(name, rest, parent=context)
    return context


@pytest.mark.parametrize(("page", "words"), SHOWN)
def test_what_a_page_shows_can_be_typed(page: str, words: str) -> None:
    with suppress(click.exceptions.Exit):  # --help
        parse(words if " " in words else f"{words} --help")  # a name alone stands for the command


def test_the_pages_are_read() -> None:
    told = {words.split()[0] for page, words in SHOWN if page == "operations.md"}
    assert {"doctor", "serve", "backup", "restore", "keys", "speak"} <= told
    assert len(SHOWN) > 25
    for wrong in ("bakup x", "backup", "restore --chek x", "keys create a b"):
        with pytest.raises(click.UsageError):
            parse(wrong)


def test_every_command_is_on_its_page() -> None:
    page = (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| ((?:`\w+`(?:, )?)+) \|", page, re.MULTILINE)
    assert set(re.findall(r"\w+", " ".join(rows))) == set(main.commands)
