"""``rhapsode doctor``."""

from dataclasses import asdict

import click
from rich.console import Console
from rich.text import Text

from rhapsode.cli.checks import examine
from rhapsode.cli.finding import Finding, Verdict
from rhapsode.cli.options import EXIT_FAILED, Options, print_json

_STYLES = {Verdict.OK: "green", Verdict.WARN: "yellow", Verdict.FAIL: "bold red"}


@click.command("doctor")
@click.option("--json", "as_json", is_flag=True, help="For programs.")
@click.pass_obj
def doctor_command(options: Options, as_json: bool) -> None:
    """Check this machine, its data directory and its engine, and say how to mend what is wrong."""
    findings: list[Finding] = []
    console = Console(highlight=False, soft_wrap=True)
    for finding in examine(options.load()):
        findings.append(finding)
        if not as_json:
            _show(console, finding)
    if as_json:
        print_json([asdict(finding) for finding in findings])
    if any(finding.verdict is Verdict.FAIL for finding in findings):
        click.get_current_context().exit(EXIT_FAILED)


def _show(console: Console, finding: Finding) -> None:
    verdict = Text(f"{finding.verdict:<5}", _STYLES[finding.verdict])
    console.print(verdict + Text(f"{finding.name:<16}{finding.found}"))
    if finding.mend:
        console.print(Text(f"{'':<21}→ {finding.mend}"))
