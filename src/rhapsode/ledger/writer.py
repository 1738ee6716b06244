"""The one thread that writes: takes all commands that wait, runs them in one transaction, makes it durable, answers.

A command is a function of a :class:`Transaction`. A refusal harms nobody else in its group: what it wrote is undone, by a
savepoint of its own. As refusals that have written are rare, a group is run without savepoints first, and again with them
when one was missed; so a command may run twice, and must not count on anything but the database. Answers and events reach
the event loop after the commit, in order, in one call per group.
"""

import asyncio
import logging
import os
import queue
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Concatenate, ParamSpec, TypeVar

from rhapsode.errors import LedgerError, LedgerUnavailable, RhapsodeError, StorageFull
from rhapsode.failpoints import failpoint
from rhapsode.ledger.backend import Trouble
from rhapsode.ledger.database import Database
from rhapsode.ledger.transaction import Transaction
from rhapsode.model import Event

P = ParamSpec("P")
T = TypeVar("T")

log = logging.getLogger(__name__)

_TURNS = 4
"""Commands of so many turns of the event loop make one group, so that those that one event brings about (a batch is planned, its
first segment is claimed) wake the thread once and sync the disk once."""
GROUP_LIMIT = 256
"""Commands per transaction: bounds how long the first of them waits for the last."""
_TRIES = 3
"""How often a group is begun whose connection breaks off, or that the database undoes for the sake of another one."""
EXIT_CODE = 70
"""Of the process when the ledger can no longer be trusted (EX_SOFTWARE)."""


@dataclass(slots=True)
class _Command:
    function: Callable[[Transaction], Any]
    future: asyncio.Future[Any]
    lasting: bool
    """Whether it must outlive a loss of power once it is answered."""
    result: Any = None
    error: Exception | None = None


class _SavepointMissed(Exception):
    """Do the group again, with savepoints."""


def exit_process(error: LedgerError) -> None:
    """End this process at once: after a failed fsync nobody knows what is on disk; a restart reads it anew."""
    log.critical("%s", error)
    os._exit(EXIT_CODE)


class Writer:
    """Runs commands in the order in which they were called. Used from one event loop.

    Args:
        database: Open; its writing session belongs to this thread from now on.
        epoch: Of this node.
        clock: Seconds since the epoch.
        publish: Called on the event loop with the events of each commit.
        on_commit: Called in the thread with the seconds that a transaction took until it was durable.
        on_fatal: Called in the thread when a commit failed for another reason than a full disk.
    """

    def __init__(
        self,
        database: Database,
        epoch: int,
        clock: Callable[[], float],
        publish: Callable[[Sequence[Event]], None],
        on_fatal: Callable[[LedgerError], None],
        on_commit: Callable[[float], None] = lambda _: None,
    ) -> None:
        self._database = database
        self._transaction = Transaction(database, epoch, clock)
        self._publish = publish
        self._on_fatal = on_fatal
        self._on_commit = on_commit
        self._loop = asyncio.get_running_loop()
        self._called: list[_Command] = []
        self._queue: queue.SimpleQueue[list[_Command] | None] = queue.SimpleQueue()
        self._closed = False
        self._fatal: LedgerError | None = None
        self._thread = threading.Thread(target=self._run, name="ledger-writer", daemon=True)
        self._thread.start()

    @property
    def epoch(self) -> int:
        """Under which commands write; a new one counts from the next transaction on."""
        return self._transaction.epoch

    @epoch.setter
    def epoch(self, epoch: int) -> None:
        self._transaction.epoch = epoch

    async def call(self, function: Callable[Concatenate[Transaction, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run ``function(transaction, …)`` in the thread; its result once it is durable.

        Raises:
            LedgerError: The ledger is closed, or the commit failed.
            LedgerUnavailable: The database cannot be reached; nothing was written.
            StorageFull: The disk is full; nothing was written.
        """
        return await self._call(lambda transaction: function(transaction, *args, **kwargs), lasting=True)

    async def call_fleeting(
        self, function: Callable[Concatenate[Transaction, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """The same for what may be lost with the machine's power, though not with this process: the disk is not awaited.

        It never outlives something that was written before it, and is durable once something behind it is.
        """
        return await self._call(lambda transaction: function(transaction, *args, **kwargs), lasting=False)

    async def _call(self, function: Callable[[Transaction], T], lasting: bool) -> T:
        if self._closed:
            raise LedgerError("The ledger is closed.")
        if self._database.settling:
            raise LedgerUnavailable(f"The database {self._database.name} cannot be reached just now.")
        future: asyncio.Future[T] = self._loop.create_future()
        if not self._called:
            self._loop.call_soon(self._linger, _TURNS)
        self._called.append(_Command(function, future, lasting))
        return await future

    async def close(self, last: Callable[[Transaction], object] | None = None) -> None:
        """Finish what was called, then ``last``, whether that succeeds or not; then end the thread."""
        if last is not None:
            done: asyncio.Future[object] = self._loop.create_future()
            done.add_done_callback(lambda future: future.exception())
            self._called.append(_Command(last, done, lasting=True))
        self._closed = True
        self._hand_over()
        self._queue.put(None)
        await asyncio.to_thread(self._thread.join)

    def _linger(self, turns: int) -> None:
        if turns > 1:
            self._loop.call_soon(self._linger, turns - 1)
        else:
            self._hand_over()

    def _hand_over(self) -> None:
        if self._called:
            self._queue.put(self._called)
            self._called = []

    def _run(self) -> None:
        waiting: list[_Command] = []
        last = False
        while waiting or not last:
            if not waiting:
                last = self._take(waiting)
            while not last and len(waiting) < GROUP_LIMIT and not self._queue.empty():
                last = self._take(waiting)
            group, waiting = waiting[:GROUP_LIMIT], waiting[GROUP_LIMIT:]
            if group:
                self._settle(group)

    def _take(self, waiting: list[_Command]) -> bool:
        """Add the next commands to ``waiting``; whether it was the sign to end."""
        commands = self._queue.get()
        waiting.extend(commands or ())
        return commands is None

    def _settle(self, group: Sequence[_Command]) -> None:
        """Run a group, make it durable, and hand out results and events, or one error to all."""
        try:
            self._commit_once(group)
        except Exception as error:  # noqa: BLE001 - whatever it is, the callers must hear of it
            failure = self._give_up(error)
            for command in group:
                command.error = failure
        events, self._transaction.events = self._transaction.events, []
        with suppress(RuntimeError):  # the event loop was closed without closing the ledger: nobody is left to tell
            self._loop.call_soon_threadsafe(self._deliver, group, events)
        if self._fatal is not None:
            self._on_fatal(self._fatal)

    def _commit_once(self, group: Sequence[_Command]) -> None:
        """Run a group and make it durable; do it again only when it is certain that nothing of it was stored."""
        tries = _TRIES
        while True:
            try:
                return self._commit(group)
            except Exception as error:
                tries -= 1
                trouble = self._database.trouble(error)
                if trouble not in (Trouble.LOST, Trouble.AGAIN):
                    raise
                log.warning("A transaction of the ledger was broken off: %s", error)
                if trouble is Trouble.LOST and self._database.was_committed():
                    return None
                if not tries:
                    raise
                self._start_over(group)

    def _commit(self, group: Sequence[_Command]) -> None:
        try:
            self._run_all(group, savepoints=False)
        except _SavepointMissed:
            self._start_over(group)
            self._run_all(group, savepoints=True)

    def _start_over(self, group: Sequence[_Command]) -> None:
        self._transaction.events.clear()
        for command in group:
            command.result = command.error = None
        if self._database.in_transaction():
            self._database.rollback()

    def _run_all(self, group: Sequence[_Command], savepoints: bool) -> None:
        if self._fatal is not None:
            raise self._fatal
        began = time.perf_counter()
        transaction = self._transaction
        self._database.begin(any(command.lasting for command in group), transaction.epoch)
        for command in group:
            self._attempt(command, savepoints, alone=len(group) == 1)
        failpoint("ledger.written")
        if self._database.in_transaction():
            transaction.store_events()
            self._database.commit(told=bool(transaction.events))
        failpoint("ledger.committed")
        self._on_commit(time.perf_counter() - began)

    def _attempt(self, command: _Command, savepoint: bool, alone: bool) -> None:
        """Run one command; when it raises, undo what it did and keep the error as its outcome.

        Raises:
            _SavepointMissed: There is something to undo, and no savepoint to go back to.
        """
        transaction, database = self._transaction, self._database
        transaction.tick()
        emitted = len(transaction.events)
        if savepoint:
            database.savepoint()
        try:
            command.result = command.function(transaction)
            database.keep(savepoint=savepoint)
        except Exception as error:
            if database.trouble(error) is not Trouble.COMMAND:
                raise
            command.error = database.explain(error)
            del transaction.events[emitted:]
            if savepoint:
                database.undo()
            elif alone:
                database.rollback()
            elif transaction.has_written or command.error is not error:
                raise _SavepointMissed from error

    def _give_up(self, error: Exception) -> RhapsodeError:
        """Roll the group back; what its callers are told."""
        database = self._database
        self._transaction.events.clear()
        trouble = database.trouble(error)
        try:
            if database.in_transaction():
                database.rollback()
        except Exception as second:
            log.exception("Rolling back failed")
            error, trouble = second, Trouble.FATAL if trouble is not Trouble.LOST else trouble
        if isinstance(error, LedgerUnavailable):
            return error
        log.error("A transaction of the ledger failed", exc_info=error)
        if trouble is Trouble.FULL:
            return StorageFull(
                f"The disk that holds the ledger {database.name} is full: nothing was stored. Free some space."
            )
        if trouble is Trouble.LOST:
            return LedgerUnavailable(f"The database {database.name} broke off just now: {error}.")
        if trouble in (Trouble.GROUP, Trouble.AGAIN) or database.shared:  # what a server cannot store, it knows itself
            return LedgerError(f"The ledger {database.name} could not be written just now: {error}.")
        if self._fatal is None:
            self._fatal = LedgerError(
                f"The ledger {database.name} could not be made durable: {error}. Check the disk, then start again."
            )
        return self._fatal

    def _deliver(self, group: Sequence[_Command], events: Sequence[Event]) -> None:
        """On the event loop: publish what is durable now and wake the callers."""
        if events:
            self._publish(events)
        for command in group:
            if command.future.done():  # its caller was cancelled
                continue
            if command.error is not None:
                command.future.set_exception(command.error)
            else:
                command.future.set_result(command.result)
