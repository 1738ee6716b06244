"""The planner's process: reads plan calls from stdin, answers on stdout, ends with its parent (end of file)."""

import os
import sys
from typing import BinaryIO

import msgspec

from rhapsode.jobs.planner import PlanAnswer, PlanCall
from rhapsode.text.plan import PlanCursor, plan_batch

_HEADER = 4
_NICE = 5
"""Behind the event loop and interactive speech, ahead of bulk speech, which lives on what it plans."""


def serve(source: BinaryIO, sink: BinaryIO) -> None:
    """Answer calls until the other side closes."""
    decode = msgspec.msgpack.Decoder(PlanCall)
    while len(header := source.read(_HEADER)) == _HEADER:
        call = decode.decode(source.read(int.from_bytes(header, "big")))
        batch = plan_batch(call.window, PlanCursor.loads(call.cursor), call.final, call.options)
        answer = msgspec.msgpack.encode(PlanAnswer(batch))
        sink.write(len(answer).to_bytes(_HEADER, "big") + answer)
        sink.flush()


if __name__ == "__main__":
    os.setpgid(0, 0)  # Ctrl-C at a terminal is for the parent to answer; a session of its own would void the niceness
    os.nice(_NICE)
    serve(sys.stdin.buffer, sys.stdout.buffer)
