"""Voices, recordings, keys, and whether a server is there."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

import msgspec

from rhapsode.client.errors import ServerRefused, Unreachable
from rhapsode.client.flow import CONNECT_S, Ask, Do, Flow, ask
from rhapsode.client.values import VoiceInfo
from rhapsode.model import Pronunciation


def voices() -> Flow[Sequence[VoiceInfo]]:
    """Voices that can be spoken now; the first is the engine's own default."""
    return (yield from ask("GET", "/get_predefined_voices", list[VoiceInfo]))


def recordings() -> Flow[Sequence[str]]:
    """Recordings to speak like (``reference_audio_filename``)."""
    return (yield from ask("GET", "/get_reference_files", list[str]))


@dataclass(frozen=True, slots=True)
class _Uploaded:
    uploaded_files: list[str]


def upload_recording(path: str | Path) -> Flow[str]:
    """Add a recording, .wav or .mp3; the name that requests call it. One that is there already is not overwritten."""
    source = Path(path)
    data = yield Do(partial(source.read_bytes))
    files = [("files", (source.name, data))]
    return (yield from ask("POST", "/upload_reference", _Uploaded, files=files)).uploaded_files[0]


@dataclass(frozen=True, slots=True)
class _Dictionary:
    entries: list[Pronunciation]


def dictionary() -> Flow[Sequence[Pronunciation]]:
    """How words are spoken, sorted."""
    return (yield from ask("GET", "/dictionary", _Dictionary)).entries


def add_words(entries: Sequence[Pronunciation]) -> Flow[Sequence[Pronunciation]]:
    """Add words to the dictionary; they win over those there are. The dictionary as it is then."""
    body = {"entries": msgspec.to_builtins(entries)}
    return (yield from ask("PATCH", "/dictionary", _Dictionary, json=body)).entries


def remove_word(word: str) -> Flow[Sequence[Pronunciation]]:
    """Take a word out of the dictionary; the dictionary as it is then."""
    return (yield from ask("DELETE", f"/dictionary/{quote(word, safe='')}", _Dictionary)).entries


def is_alive() -> Flow[bool]:
    """Whether a server answers."""
    try:
        yield Ask("GET", "/livez", silence_s=CONNECT_S)
    except (Unreachable, ServerRefused):
        return False
    return True


def keys() -> Flow[Sequence[dict[str, Any]]]:
    """All keys, as ``GET /keys`` shows them."""
    return (yield from ask("GET", "/keys", list[dict[str, Any]]))


def create_key(body: dict[str, object]) -> Flow[dict[str, Any]]:
    """Make a key; ``secret`` is in this answer only."""
    return (yield from ask("POST", "/keys", dict[str, Any], json=body))


def rotate_key(key_id: str) -> Flow[dict[str, Any]]:
    """Give a key another secret, which is in this answer only."""
    return (yield from ask("POST", f"/keys/{key_id}/rotate", dict[str, Any]))


def revoke_key(key_id: str) -> Flow[None]:
    """End a key."""
    yield Ask("DELETE", f"/keys/{key_id}")
