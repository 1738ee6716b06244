"""``rhapsode engines``: what can speak."""

import click

from rhapsode.cli.engine_install import install_command, remove_command
from rhapsode.cli.options import Options, print_json
from rhapsode.engines.registry import engine_names
from rhapsode.environment import interpreters, missing


@click.group("engines", invoke_without_command=True)
@click.option("--json", "as_json", is_flag=True, help="For programs.")
@click.pass_context
def engines_command(context: click.Context, as_json: bool) -> None:
    """List engines: those that can speak here, and how to install the others."""
    if context.invoked_subcommand:
        return
    options: Options = context.obj
    settings = options.load().settings
    absent = missing(settings.data_dir)
    own = interpreters(settings.data_dir)
    found = [
        {
            "name": name,
            "active": name == settings.engine.name,
            "python": str(own[name]) if name in own else None,
            "install": absent.get(name),
        }
        for name in engine_names(settings.engine.name)
    ]
    if as_json:
        print_json(found)
        return
    for engine in found:
        state = engine["install"] or ("speaks" if engine["active"] else "installed")
        click.echo(f"{engine['name']:<26}{state}")


engines_command.add_command(install_command)
engines_command.add_command(remove_command)
