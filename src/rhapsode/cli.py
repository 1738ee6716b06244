"""The command line."""

import asyncio
import logging
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import click
import uvloop

from rhapsode.config import Loaded, load_settings
from rhapsode.errors import RhapsodeError
from rhapsode.logs import set_up_logging
from rhapsode.server import listen, serve

log = logging.getLogger(__name__)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--config", type=click.Path(path_type=Path), help="Configuration file (YAML).")
@click.option("--data-dir", type=click.Path(path_type=Path), help="Folder of everything that lasts.")
@click.version_option(package_name="rhapsode")
@click.pass_context
def main(context: click.Context, config: Path | None, data_dir: Path | None) -> None:
    """Rhapsode: a text-to-speech server that never loses work."""
    context.obj = lambda overrides: load_settings(config, data_dir, overrides=overrides)


@main.command("serve")
@click.option("--host", help="Address to listen on.")
@click.option("--port", type=int, help="TCP port to listen on; 0 for any.")
@click.pass_obj
def serve_command(load: Callable[[dict[str, object]], Loaded], host: str | None, port: int | None) -> None:
    """Run the server."""
    loaded = load({"server.host": host, "server.port": port})
    set_up_logging(loaded.settings.server)
    for warning in loaded.warnings:
        log.warning("%s", warning)
    if loaded.host_named and not loaded.settings.server.is_loopback:
        log.warning("open to the network: anybody who reaches %s can use this server", loaded.settings.server.host)
    sock = listen(loaded.settings)
    run(serve(loaded.settings, sock, lambda url, _: log.info("Rhapsode answers at %s", url)))


def run(work: Coroutine[Any, Any, None]) -> None:
    """Run the event loop until ``work`` is done."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(work)


def entry() -> None:
    """Start the command line; errors that a user can mend are one line, exit status 1."""
    try:
        main(standalone_mode=True)
    except RhapsodeError as error:
        click.echo(f"rhapsode: {error}", err=True)
        sys.exit(1)
