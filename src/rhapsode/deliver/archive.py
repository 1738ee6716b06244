"""Finished files as one ZIP archive, made while it is sent: memory does not grow with it."""

import io
import json
import re
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

_LONGEST = 100
"""Characters of a name."""
_UNSAFE = re.compile(r'[\x00-\x1f\x7f<>:"/\\|?*]+')
_RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)
"""Names that Windows keeps for devices."""
Stamp = tuple[int, int, int, int, int, int]
"""Year, month, day, hour, minute, second."""
_OLDEST: Stamp = (1980, 1, 1, 0, 0, 0)
"""ZIP knows no earlier time."""


@dataclass(frozen=True, slots=True)
class Member:
    """A file in an archive."""

    name: str
    pieces: Callable[[], Iterator[bytes]]
    """Gives its bytes."""
    size: int
    """How many; a file that has another size is not the one that was meant."""
    modified: Stamp


def safe_names(wanted: Sequence[tuple[str, str]]) -> list[str]:
    """File names for (what the user calls it, extension): without paths, unique on every system, of bounded length."""
    names: list[str] = []
    taken: set[str] = set()
    for label, extension in wanted:
        stem = _UNSAFE.sub("_", label).strip(". ")[:_LONGEST].rstrip(". ") or "_"
        if _RESERVED.fullmatch(stem):
            stem = f"_{stem}"
        name, number = f"{stem}.{extension}", 1
        while name.casefold() in taken:
            number += 1
            name = f"{stem} ({number}).{extension}"
        taken.add(name.casefold())
        names.append(name)
    return names


def archive(manifest: Mapping[str, object], members: Sequence[Member]) -> Iterator[bytes]:
    """The archive, piece by piece: ``manifest.json`` first, then the files as they are (audio does not shrink).

    Raises:
        OSError: A file has not the size that it should have; so for what ``pieces`` raise: what was given so far is no archive.
    """
    drain = _Drain()
    with zipfile.ZipFile(drain, "w", zipfile.ZIP_STORED) as made:
        text = json.dumps(manifest, ensure_ascii=False, indent=1).encode()
        made.writestr(zipfile.ZipInfo("manifest.json", _stamp(members[0].modified) if members else _OLDEST), text)
        yield drain.take()
        for member in members:
            info = zipfile.ZipInfo(member.name, _stamp(member.modified))
            info.file_size = member.size
            info.external_attr = 0o644 << 16
            with made.open(info, "w", force_zip64=member.size >= 2**31) as target:
                yield from _copy(target.write, drain, member)
    yield drain.take()


def _stamp(modified: Stamp) -> Stamp:
    return max(modified, _OLDEST)


def _copy(write: Callable[[bytes], object], drain: "_Drain", member: Member) -> Iterator[bytes]:
    left = member.size
    for data in member.pieces():
        left -= len(data)
        write(data)
        yield drain.take()
    if left:
        raise OSError(f"{member.name} has {member.size - left} bytes, not {member.size}")


class _Drain(io.RawIOBase):
    """Something to write to whose content is taken away."""

    def __init__(self) -> None:
        self._data = bytearray()

    def writable(self) -> bool:
        return True

    def write(self, data: bytes) -> int:  # type: ignore[override]  # zipfile writes bytes only
        self._data += data
        return len(data)

    def take(self) -> bytes:
        """What was written since the last call."""
        data = bytes(self._data)
        self._data.clear()
        return data
