"""What the fleet and its Ray driver process say to each other: typed messages in the frames of :mod:`rhapsode.fleet.protocol`.

Every request but Fire carries an id, and its one answer carries the same; answers come in any order. What is said to a worker's
engine passes through unread: a request or reply of :mod:`rhapsode.fleet.protocol` in MessagePack.
"""

from collections.abc import Mapping
from typing import Literal, TypeVar

import msgspec

from rhapsode.fleet.protocol import ProtocolError

T = TypeVar("T")

Why = Literal["lost", "died", "refused"]
"""The node or the cluster is gone, nobody's fault · the worker's process has ended · it lives, but what was asked cannot be done."""


class Connect(msgspec.Struct, tag=True, frozen=True):
    """First message: join this cluster. Answered by Connected or Broken."""

    id: int
    address: str
    """``auto``, ``host:port``, or ``local`` for a cluster of its own on this machine."""
    namespace: str


class Hire(msgspec.Struct, tag=True, frozen=True):
    """Have a worker placed by what it needs. Answered by Hired once it runs, however long the cluster has no room."""

    id: int
    worker: str
    cpus: float
    gpus: float
    resources: Mapping[str, float]
    python: str | None
    """Interpreter of its own."""
    cache: str
    """Folder for files on its node; empty: in the node's temporary folder."""


class Share(msgspec.Struct, tag=True, frozen=True):
    """Bring files to a worker's node, those that it lacks. Answered by Shared."""

    id: int
    worker: str
    folder: str
    """Name of the folder there."""
    source: str
    """Folder here; need not exist."""
    only: tuple[str, ...] | None = None
    """Names of the files that are meant, beside whatever lies there; None: all, and no others."""


class Ask(msgspec.Struct, tag=True, frozen=True):
    """Put a request to one of the worker's engines. Answered by Answered."""

    id: int
    worker: str
    engine: str
    body: bytes


class Fire(msgspec.Struct, tag=True, frozen=True):
    """End a worker now, whatever it does. Not answered."""

    worker: str


class Connected(msgspec.Struct, tag=True, frozen=True):
    """Part of the cluster."""

    id: int


class Hired(msgspec.Struct, tag=True, frozen=True):
    """The worker runs."""

    id: int
    host: str
    pid: int


class Shared(msgspec.Struct, tag=True, frozen=True):
    """The files are there."""

    id: int
    path: str
    """Where, on the node."""


class Answered(msgspec.Struct, tag=True, frozen=True):
    """What the engine answers."""

    id: int
    body: bytes


class Broken(msgspec.Struct, tag=True, frozen=True):
    """The request came to nothing."""

    id: int
    cause: str
    why: Why


class Gone(msgspec.Struct, tag=True, frozen=True):
    """Said unasked: a worker has ended by itself; without a name: so has the cluster."""

    worker: str
    cause: str
    why: Why


Request = Connect | Hire | Share | Ask | Fire
Reply = Connected | Hired | Shared | Answered | Broken
Message = Reply | Gone

_requests: msgspec.msgpack.Decoder[Request] = msgspec.msgpack.Decoder(Request)
_messages: msgspec.msgpack.Decoder[Message] = msgspec.msgpack.Decoder(Message)


def parse_request(body: bytes | memoryview) -> Request:
    """The fleet's message in one frame.

    Raises:
        ProtocolError: It is none.
    """
    return _decoded(_requests, body)


def parse_message(body: bytes | memoryview) -> Message:
    """The driver's message in one frame.

    Raises:
        ProtocolError: It is none.
    """
    return _decoded(_messages, body)


def _decoded(decoder: "msgspec.msgpack.Decoder[T]", body: bytes | memoryview) -> T:
    try:
        return decoder.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise ProtocolError(f"no message of the Ray driver: {error}") from error
