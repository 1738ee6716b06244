"""What the parent and a worker process say to each other: typed messages in length-prefixed frames on one socket.

A frame is four bytes of length (big-endian) and one message in MessagePack. Every request carries an id, and its one answer
carries the same. Requests are answered in order, one at a time; that a take is stored is said when it is. Standard output
and error are not part of this: they belong to libraries and go to the log.
"""

import struct
from collections.abc import Iterator, Mapping

import msgspec

from rhapsode.engines.base import EngineInfo
from rhapsode.errors import RhapsodeError
from rhapsode.model import Take, Voice

MAX_FRAME = 256 * 1024 * 1024
"""Bytes of one message; an hour of 16-bit sound at 32 kHz."""
_LENGTH = struct.Struct(">I")


class ProtocolError(RhapsodeError):
    """The other side sent something that is no message."""


class Start(msgspec.Struct, tag=True, frozen=True):
    """First message: what to be. Answered by Ready or Failed."""

    id: int
    engine: str
    threads: int
    voices_dir: str
    model_cache: str
    device: str
    nice: int
    heartbeat_s: float
    clips_dir: str | None = None
    takes_dir: str | None = None
    """Where takes are stored that are to be; None: nowhere."""


class Describe(msgspec.Struct, tag=True, frozen=True):
    """Say what the engine is and which voices can be spoken now. Answered by Described."""

    id: int


class Load(msgspec.Struct, tag=True, frozen=True):
    """Bring a voice into memory. Answered by Loaded."""

    id: int
    voice: str


class Synthesise(msgspec.Struct, tag=True, frozen=True):
    """Speak one segment. Answered by Rendered."""

    id: int
    text: str
    voice: str
    seed: int
    controls: Mapping[str, float]
    language: str
    sentence_pause_s: float
    reference: str | None = None
    """Path of the clip whose voice is cloned."""
    rate: int = 0
    """Sample rate that the take shall have, Hz; 0: the voice's own."""
    store: bool = False
    """Store the take, too. Answered once more, by Stored."""


class Stop(msgspec.Struct, tag=True, frozen=True):
    """Finish what is in hand and exit. Not answered."""


class Ready(msgspec.Struct, tag=True, frozen=True):
    """The engine is imported and constructed."""

    id: int


class Described(msgspec.Struct, tag=True, frozen=True):
    """What the engine can do now."""

    id: int
    info: EngineInfo
    voices: tuple[Voice, ...]


class Loaded(msgspec.Struct, tag=True, frozen=True):
    """The voice is in memory."""

    id: int


class Rendered(msgspec.Struct, tag=True, frozen=True):
    """A take and its bytes, and the resident memory of the worker after it, in bytes."""

    id: int
    take: Take
    data: bytes
    rss_bytes: int


class Stored(msgspec.Struct, tag=True, frozen=True):
    """The take of this request is durable, or could not be stored; sent behind Rendered, while other requests are worked on."""

    id: int
    done: bool


class Failed(msgspec.Struct, tag=True, frozen=True):
    """The engine failed at this request, the message says how; the worker goes on."""

    id: int
    message: str


class Heartbeat(msgspec.Struct, tag=True, frozen=True):
    """Sent unasked, from a thread of its own: the process lives."""

    rss_bytes: int
    busy: bool


Request = Start | Describe | Load | Synthesise | Stop
Reply = Ready | Described | Loaded | Rendered | Failed
Message = Reply | Stored | Heartbeat

_encoder = msgspec.msgpack.Encoder()
_requests: msgspec.msgpack.Decoder[Request] = msgspec.msgpack.Decoder(Request)
_messages: msgspec.msgpack.Decoder[Message] = msgspec.msgpack.Decoder(Message)


def frame(message: msgspec.Struct) -> bytearray:
    """The bytes of one message, length first.

    Raises:
        ProtocolError: It is larger than the other side accepts, or holds text that is not Unicode (half a surrogate pair).
    """
    out = bytearray(_LENGTH.size)
    try:
        _encoder.encode_into(message, out, _LENGTH.size)
    except UnicodeEncodeError as error:
        raise ProtocolError(f"the text cannot be sent: {error}") from error
    size = len(out) - _LENGTH.size
    if size > MAX_FRAME:
        raise ProtocolError(f"a message of {size} bytes is larger than {MAX_FRAME}")
    _LENGTH.pack_into(out, 0, size)
    return out


def parse_request(body: bytes | memoryview) -> Request:
    """The request in one frame.

    Raises:
        ProtocolError: It is none.
    """
    try:
        return _requests.decode(body)
    except msgspec.MsgspecError as error:
        raise ProtocolError(f"no request: {error}") from error


def parse_message(body: bytes | memoryview) -> Message:
    """The worker's message in one frame.

    Raises:
        ProtocolError: It is none.
    """
    try:
        return _messages.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise ProtocolError(f"no message of a worker: {error}") from error


class Frames:
    """Cuts a stream of bytes into frames."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Take in ``data`` and yield the body of each frame that is now complete.

        Raises:
            ProtocolError: A frame announces more than MAX_FRAME bytes.
        """
        self._buffer += data
        while len(self._buffer) >= _LENGTH.size:
            size = _LENGTH.unpack_from(self._buffer)[0]
            if size > MAX_FRAME:
                raise ProtocolError(f"a frame announces {size} bytes; at most {MAX_FRAME} are allowed")
            end = _LENGTH.size + size
            if len(self._buffer) < end:
                return
            body = bytes(memoryview(self._buffer)[_LENGTH.size : end])
            del self._buffer[:end]
            yield body
