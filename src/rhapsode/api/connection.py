"""Do work only for as long as the client is there."""

import asyncio
from collections.abc import Coroutine
from typing import TypeVar

from fastapi import Request

from rhapsode.errors import RhapsodeError

T = TypeVar("T")


class ClientLeft(RhapsodeError):
    """The client closed the connection before there was an answer; nobody reads what is sent."""


async def while_connected(request: Request, work: Coroutine[object, object, T]) -> T:
    """Do ``work`` for as long as the client is there. Call after the body was read.

    Raises:
        ClientLeft: It closed the connection; ``work`` was cancelled and has ended.
    """
    working = asyncio.ensure_future(work)
    leaving = asyncio.ensure_future(disconnected(request))
    try:
        await asyncio.wait((working, leaving), return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            return await working
        raise ClientLeft("the client closed the connection")
    finally:
        for task in (working, leaving):
            task.cancel()
        await asyncio.gather(working, leaving, return_exceptions=True)


async def disconnected(request: Request) -> None:
    """Wait until the client has closed the connection. Call after the body was read."""
    while (await request.receive())["type"] != "http.disconnect":
        pass
