"""The planner's process: reads plan calls from stdin, answers on stdout, ends with its parent (end of file)."""

import os
import sys
from collections import OrderedDict
from typing import BinaryIO, TypeVar

import msgspec

from rhapsode.jobs.planner import PlanAnswer, PlanCall
from rhapsode.model import Pronunciation
from rhapsode.text.lexicon import Dictionary, loads
from rhapsode.text.plan import NO_DICTIONARY, PlanCursor, plan_batch

K = TypeVar("K")
V = TypeVar("V")

_HEADER = 4
_NICE = 5
"""Behind the event loop and interactive speech, ahead of bulk speech, which lives on what it plans."""
_KEPT = 8
"""Dictionaries, and those of jobs with entries of their own."""


class Dictionaries:
    """What calls have brought along, ready to look words up in."""

    def __init__(self) -> None:
        self._entries: OrderedDict[str, tuple[Pronunciation, ...]] = OrderedDict()
        self._ready: OrderedDict[tuple[str | None, tuple[Pronunciation, ...]], Dictionary] = OrderedDict()

    def of(self, call: PlanCall) -> Dictionary | None:
        """The dictionary of a call; None when it is not there."""
        if call.lexicon is None and not call.own:
            return NO_DICTIONARY
        if call.lexicon and call.stored is not None:
            _keep(self._entries, call.lexicon, loads(call.stored))
        if call.lexicon and call.lexicon not in self._entries:
            return None
        key = call.lexicon, call.own
        ready = self._ready.get(key)
        if ready is None:
            ready = Dictionary((*self._entries.get(call.lexicon or "", ()), *call.own))
        _keep(self._ready, key, ready)
        return ready


def _keep(kept: "OrderedDict[K, V]", key: K, value: V) -> None:
    kept[key] = value
    kept.move_to_end(key)
    while len(kept) > _KEPT:
        kept.popitem(last=False)


def serve(source: BinaryIO, sink: BinaryIO) -> None:
    """Answer calls until the other side closes."""
    decode = msgspec.msgpack.Decoder(PlanCall)
    dictionaries = Dictionaries()
    while len(header := source.read(_HEADER)) == _HEADER:
        call = decode.decode(source.read(int.from_bytes(header, "big")))
        dictionary = dictionaries.of(call)
        batch = (
            None
            if dictionary is None
            else plan_batch(call.window, PlanCursor.loads(call.cursor), call.final, call.options, dictionary)
        )
        answer = msgspec.msgpack.encode(PlanAnswer(batch))
        sink.write(len(answer).to_bytes(_HEADER, "big") + answer)
        sink.flush()


if __name__ == "__main__":
    os.setpgid(0, 0)  # Ctrl-C at a terminal is for the parent to answer; a session of its own would void the niceness
    os.nice(_NICE)
    serve(sys.stdin.buffer, sys.stdout.buffer)
