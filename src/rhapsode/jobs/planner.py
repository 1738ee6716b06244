"""Planning in a process of its own, one window of text at a time, so that a 5 MB text and a short one take turns."""

import asyncio
import contextlib
import logging
import sys
from dataclasses import dataclass

import msgspec

from rhapsode.errors import RhapsodeError
from rhapsode.text.plan import PlanBatch, PlanCursor, PlanOptions

log = logging.getLogger(__name__)

_HEADER = 4
_TRIES = 3


class PlannerFailed(RhapsodeError):
    """The planner's process died three times over one window of text."""


@dataclass(frozen=True, slots=True)
class PlanCall:
    """What the planner's process is asked: the arguments of :func:`rhapsode.text.plan.plan_batch`."""

    window: str
    cursor: str
    final: bool
    options: PlanOptions


@dataclass(frozen=True, slots=True)
class PlanAnswer:
    """What it answers."""

    batch: PlanBatch


class Planner:
    """Parent's side of the planner's process; starts it on the first call and again when it dies."""

    def __init__(self) -> None:
        self._process: asyncio.subprocess.Process | None = None
        self._turn = asyncio.Lock()
        self._decode = msgspec.msgpack.Decoder(PlanAnswer)

    async def start(self) -> None:
        """Start the process now, so that the first text does not wait for it."""
        async with self._turn:
            await self._ensure()

    async def stop(self) -> None:
        """End the process."""
        async with self._turn:
            await self._end()

    async def plan(self, window: str, cursor: str, final: bool, options: PlanOptions) -> PlanBatch:
        """Plan one window (see :func:`rhapsode.text.plan.plan_batch`); callers take turns in order.

        Raises:
            PlannerFailed: The process died over it again and again.
        """
        request = msgspec.msgpack.encode(PlanCall(window, cursor, final, options))
        for _ in range(_TRIES):
            async with self._turn:
                process = await self._ensure()
                try:
                    return await self._exchange(process, request)
                except (ConnectionError, asyncio.IncompleteReadError, msgspec.DecodeError) as error:
                    log.warning("the planner's process died (%s); starting it again", type(error).__name__)
                    await self._end()
                except asyncio.CancelledError:
                    await self._end()  # an answer that nobody reads would be taken for the next one
                    raise
        raise PlannerFailed(f"planning failed {_TRIES} times at character {PlanCursor.loads(cursor).offset}")

    async def _exchange(self, process: asyncio.subprocess.Process, request: bytes) -> PlanBatch:
        if process.stdin is None or process.stdout is None:
            raise ConnectionError
        process.stdin.write(len(request).to_bytes(_HEADER, "big") + request)
        await process.stdin.drain()
        size = int.from_bytes(await process.stdout.readexactly(_HEADER), "big")
        return self._decode.decode(await process.stdout.readexactly(size)).batch

    async def _ensure(self) -> asyncio.subprocess.Process:
        if self._process is None or self._process.returncode is not None:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "rhapsode.jobs.planner_main",
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                start_new_session=True,
            )
        return self._process

    async def _end(self) -> None:
        process, self._process = self._process, None
        if process and process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()


def split_cursor(cursor: str) -> int:
    """Offset in the text at which a stored cursor goes on."""
    return PlanCursor.loads(cursor).offset
