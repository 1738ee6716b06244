"""``rhapsode engines``: what can speak."""

import click

from rhapsode.cli.engine_install import install_command, remove_command
from rhapsode.cli.options import Options, print_json
from rhapsode.compose import installed_engines
from rhapsode.environment import interpreters
from rhapsode.errors import InvalidInput


@click.group("engines", invoke_without_command=True)
@click.option("--json", "as_json", is_flag=True, help="For programs.")
@click.pass_context
def engines_command(context: click.Context, as_json: bool) -> None:
    """List engines: those that can speak here, and how to install the others."""
    if context.invoked_subcommand:
        return
    options: Options = context.obj
    if options.server:
        raise InvalidInput("this looks at the machine that it runs on; what a server has is in its GET /engines")
    settings = options.load().settings
    own = interpreters(settings.data_dir)
    found = [
        {
            "name": name,
            "active": name == settings.engine.name,
            "python": settings.engines.run(name).python or (str(own[name]) if name in own else None),
            "install": lacks or None,
        }
        for name, lacks in installed_engines(settings).items()
    ]
    if as_json:
        print_json(found)
        return
    for engine in found:
        state = engine["install"] or ("speaks" if engine["active"] else "installed")
        click.echo(f"{engine['name']:<26}{state}")


engines_command.add_command(install_command)
engines_command.add_command(remove_command)
