"""``rhapsode serve``."""

import asyncio
import logging
import signal
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any

import click
import uvloop

from rhapsode.cli.options import Options
from rhapsode.logs import set_up_logging
from rhapsode.server import listen, serve

log = logging.getLogger(__name__)


@click.command("serve")
@click.option("--host", help="Address to listen on.")
@click.option("--port", type=int, help="TCP port to listen on; 0 for any.")
@click.pass_obj
def serve_command(options: Options, host: str | None, port: int | None) -> None:
    """Run the server until it is interrupted or terminated."""
    loaded = options.load({"server.host": host, "server.port": port})
    server = loaded.settings.server
    set_up_logging(server.model_copy(update={"log_level": "debug"}) if options.verbose else server)
    for warning in loaded.warnings:
        log.warning("%s", warning)
    if loaded.host_named and not server.is_loopback:
        log.warning("open to the network: anybody who reaches %s can use this server", server.host)
    with (
        listen(loaded.settings) as sock,
        suppress(asyncio.CancelledError, KeyboardInterrupt),
        asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner,
    ):
        runner.run(_until_told(serve(loaded, sock, _say_where)))
    log.info("stopped")


def _say_where(url: str, _: object) -> None:
    log.info("Rhapsode answers at %s", url)


async def _until_told(work: Coroutine[Any, Any, None]) -> None:
    """Do ``work`` until it ends or SIGTERM cancels it, also while the server starts or is put down.

    While requests are answered, uvicorn catches the signal.
    """
    loop, working = asyncio.get_running_loop(), asyncio.ensure_future(work)

    def on_terminate(*_: object) -> None:
        working.cancel()
        loop.call_soon_threadsafe(lambda: None)  # wake it up

    signal.signal(signal.SIGTERM, on_terminate)
    await working
