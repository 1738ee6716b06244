"""What happens, as it happens: a lost connection is taken up again where it broke, without gap or duplicate."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import msgspec

from rhapsode.client.errors import ServerRefused, Unreachable
from rhapsode.client.flow import Ask, Flow, Give, Pause, Read
from rhapsode.client.values import JobEvent

_SILENCE_S = 30.0
"""The server says something every ten seconds."""
_PAUSES_S = (0.2, 0.5, 1.0, 2.0, 5.0)
_FRUITLESS = 15
"""Tries in a row without an event before it is given up: about a minute, time for a server to restart."""
_PASSING = frozenset({502, 503, 504})
"""What a proxy answers while its server restarts."""
_NO_CONTENT = 204


@dataclass(frozen=True, slots=True)
class Message:
    """One server-sent event."""

    id: str
    type: str
    data: str


class MessageParser:
    """Bytes of ``text/event-stream`` to events (WHATWG HTML, section 9.2.6); lines end as this server ends them, with LF or CRLF."""

    def __init__(self) -> None:
        self._rest = b""
        self._fields: dict[str, str] = {}
        self._id = ""

    def feed(self, data: bytes) -> Iterator[Message]:
        """The events that are whole now."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        for raw in lines:
            line = raw.decode("utf-8", "replace").removesuffix("\r")
            name, _, value = line.partition(":")
            value = value.removeprefix(" ")
            if not line:
                fields, self._fields = self._fields, {}
                if "data" in fields:
                    yield Message(self._id, fields.get("event", "message"), fields["data"])
            elif name == "id":
                self._id = value
            elif name == "data" and "data" in self._fields:
                self._fields["data"] += "\n" + value
            elif name:
                self._fields[name] = value


def events(job_id: str, after: int = 0) -> Flow[None]:
    """What happened to a job and happens, to its end.

    Args:
        job_id: The job.
        after: ``seq`` of the last event that was seen; 0: from the beginning.
    """
    yield from _follow(f"/tts/{job_id}/events", str(after) if after else "")


def all_events(cursor: str = "") -> Flow[None]:
    """What happens to all your jobs, for ever.

    Args:
        cursor: Of the last event that was seen; empty: from now on.
    """
    yield from _follow("/events", cursor)


def _follow(path: str, seen: str) -> Flow[None]:
    connected, fruitless = False, 0
    while True:
        try:
            headers = {"Last-Event-ID": seen} if seen else {}
            answer = yield Ask("GET", path, headers=headers, silence_s=_SILENCE_S, open=True)
            if answer.status_code == _NO_CONTENT:
                return
            connected, parser = True, MessageParser()
            while data := (yield Read()):
                for message in parser.feed(data):
                    seen, fruitless = message.id or seen, 0
                    if message.type == "hello":
                        continue
                    event = msgspec.json.decode(message.data, type=JobEvent)
                    yield Give(replace(event, type=message.type, cursor=message.id))
                    if event.type == "job.deleted" and path != "/events":
                        return
        except (Unreachable, ServerRefused) as error:
            passing = isinstance(error, Unreachable) or error.status in _PASSING
            if not (connected and passing) or fruitless >= _FRUITLESS:
                raise
        yield Pause(_PAUSES_S[min(fruitless, len(_PAUSES_S) - 1)])
        fruitless += 1
