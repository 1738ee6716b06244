"""Planning in a process of its own, one window of text at a time, so that a 5 MB text and a short one take turns."""

import asyncio
import contextlib
import logging
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace

import msgspec

from rhapsode.errors import RhapsodeError
from rhapsode.model import Pronunciation
from rhapsode.spawn import spawn
from rhapsode.text.plan import PlanBatch, PlanCursor, PlanOptions

log = logging.getLogger(__name__)

_HEADER = 4
_TRIES = 3
_LONGEST_S = 60.0
"""A window takes milliseconds; a process that does not answer for so long hangs."""


class PlannerFailed(RhapsodeError):
    """The planner's process died, or hung, three times over one window of text."""


@dataclass(frozen=True, slots=True)
class PlanCall:
    """What the planner's process is asked: the arguments of :func:`rhapsode.text.plan.plan_batch`."""

    window: str
    cursor: str
    final: bool
    options: PlanOptions
    lexicon: str | None = None
    """Digest of the dictionary, which the process may have already."""
    stored: str | None = None
    """The dictionary as it is stored, when the process asked for it."""
    own: tuple[Pronunciation, ...] = ()
    """Entries of the job alone; they win."""


@dataclass(frozen=True, slots=True)
class PlanAnswer:
    """What it answers."""

    batch: PlanBatch | None
    """None: it does not have the dictionary."""


@dataclass(frozen=True, slots=True)
class Wording:
    """How words of a job are spoken, as it was when the job was submitted."""

    lexicon: str | None = None
    """Digest of the dictionary; None: there is none."""
    own: tuple[Pronunciation, ...] = ()
    """Entries of the job alone; they win."""
    stored: Callable[[str], Awaitable[str]] | None = None
    """Gives the dictionary as it is stored, by its digest; asked when the planner's process does not have it."""


AS_WRITTEN = Wording()


class Planner:
    """Parent's side of the planner's process; starts it on the first call and again when it dies."""

    def __init__(self) -> None:
        self._process: asyncio.subprocess.Process | None = None
        self._stopped = False
        self._turn = asyncio.Lock()
        self._decode = msgspec.msgpack.Decoder(PlanAnswer)

    async def start(self) -> None:
        """Start the process now, so that the first text does not wait for it."""
        async with self._turn:
            await self._ensure()

    async def stop(self) -> None:
        """End the process, whatever it is busy with, for good."""
        self._stopped = True
        if self._process and self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()
        async with self._turn:
            await self._end()

    async def plan(
        self, window: str, cursor: str, final: bool, options: PlanOptions, wording: Wording = AS_WRITTEN
    ) -> PlanBatch:
        """Plan one window (see :func:`rhapsode.text.plan.plan_batch`); callers take turns in order.

        Raises:
            PlannerFailed: The process died over it again and again.
        """
        call = PlanCall(window, cursor, final, options, wording.lexicon, None, wording.own)
        batch = await self._shielded(call)
        while batch is None and wording.stored and wording.lexicon:
            batch = await self._shielded(replace(call, stored=await wording.stored(wording.lexicon)))
        if batch is None:
            raise PlannerFailed(f"dictionary {wording.lexicon} is not there")
        return batch

    async def _shielded(self, call: PlanCall) -> PlanBatch | None:
        request = msgspec.msgpack.encode(call)
        # Shielded: an answer that nobody waits for any more must still be read, or it would be taken for the next one.
        asking = asyncio.ensure_future(self._ask(request, PlanCursor.loads(call.cursor).offset))
        asking.add_done_callback(lambda done: done.cancelled() or done.exception())
        return await asyncio.shield(asking)

    async def _ask(self, request: bytes, offset: int) -> PlanBatch | None:
        for _ in range(_TRIES):
            async with self._turn:
                if self._stopped:
                    break
                process = await self._ensure()
                try:
                    async with asyncio.timeout(_LONGEST_S):
                        return await self._exchange(process, request)
                except (ConnectionError, asyncio.IncompleteReadError, msgspec.DecodeError, TimeoutError) as error:
                    log.warning("the planner's process failed (%s); starting it again", type(error).__name__)
                    await self._end()
                except asyncio.CancelledError:
                    await self._end()
                    raise
        raise PlannerFailed(f"planning failed {_TRIES} times at character {offset}")

    async def _exchange(self, process: asyncio.subprocess.Process, request: bytes) -> PlanBatch | None:
        if process.stdin is None or process.stdout is None:
            raise ConnectionError
        process.stdin.write(len(request).to_bytes(_HEADER, "big") + request)
        await process.stdin.drain()
        size = int.from_bytes(await process.stdout.readexactly(_HEADER), "big")
        return self._decode.decode(await process.stdout.readexactly(size)).batch

    async def _ensure(self) -> asyncio.subprocess.Process:
        if self._process is None or self._process.returncode is not None:
            self._process = await spawn(
                sys.executable,
                "-m",
                "rhapsode.jobs.planner_main",
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
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
