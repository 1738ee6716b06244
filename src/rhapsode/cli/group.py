"""The command ``rhapsode``: options that all commands share, and what becomes of errors."""

import sys
from pathlib import Path

import click

from rhapsode.cli.backup import backup_command, restore_command
from rhapsode.cli.bench import bench_command
from rhapsode.cli.dictionary import dictionary_command
from rhapsode.cli.doctor import doctor_command
from rhapsode.cli.engines import engines_command
from rhapsode.cli.jobs import cancel_command, jobs_command
from rhapsode.cli.keys import keys_command
from rhapsode.cli.options import EXIT_FAILED, EXIT_INTERRUPTED, Options
from rhapsode.cli.serve import serve_command
from rhapsode.cli.settings import settings_command
from rhapsode.cli.speak import speak_command
from rhapsode.cli.voices import voices_command
from rhapsode.errors import RhapsodeError


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--config", type=click.Path(path_type=Path), help="Configuration file (YAML).")
@click.option("--data-dir", type=click.Path(path_type=Path), help="Folder of everything that lasts.")
@click.option("--server", metavar="URL", help="Speak to this server instead of the data directory's.")
@click.option(
    "--api-key", envvar="RHAPSODE_API_KEY", metavar="KEY", help="Key for --server; better in $RHAPSODE_API_KEY."
)
@click.option("-v", "--verbose", is_flag=True, help="Log everything; show where an error comes from.")
@click.version_option(package_name="rhapsode")
@click.pass_context
def main(
    context: click.Context,
    config: Path | None,
    data_dir: Path | None,
    server: str | None,
    verbose: bool,
    api_key: str | None,
) -> None:
    """Rhapsode: a text-to-speech server that never loses work.

    With a server running on the data directory, the commands speak to it. Without one, they do the work themselves.
    """
    context.obj = Options(config, data_dir, server, verbose, api_key)
    if context.invoked_subcommand != "serve":
        context.obj.set_up_logging()


for command in (
    serve_command, speak_command, jobs_command, cancel_command, voices_command, dictionary_command, settings_command, doctor_command,
    bench_command, keys_command, engines_command, backup_command, restore_command,
):  # fmt: skip
    main.add_command(command)


def entry() -> None:
    """Run the command line. Exit status: 0 done, 1 failed, 2 used wrongly, 130 interrupted. Errors are one line."""
    try:
        status = main.main(standalone_mode=False)
    except click.ClickException as error:
        error.show()
        status = error.exit_code
    except (click.Abort, KeyboardInterrupt):
        click.echo("rhapsode: interrupted", err=True)
        status = EXIT_INTERRUPTED
    except BrokenPipeError:  # whoever read the output has seen enough
        sys.stdout = None
        status = EXIT_FAILED
    except Exception as error:
        if "--verbose" in sys.argv or "-v" in sys.argv:
            raise
        click.echo(f"rhapsode: {_one_line(error)}", err=True)
        status = EXIT_FAILED
    sys.exit(status)


def _one_line(error: Exception) -> str:
    if isinstance(error, RhapsodeError):
        return str(error)
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    return f"{type(error).__name__}: {error} (an error in Rhapsode; --verbose shows where)"
