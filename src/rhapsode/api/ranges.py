"""Parts of an answer (RFC 9110, section 14): bytes in memory, and the refusals for all."""

import re
from collections.abc import Mapping

from fastapi import Request, Response

from rhapsode.api.errors import problem

_PART = r"(?:\d{1,18}-\d{0,18}|-\d{1,18})"
_RANGE = re.compile(rf"bytes=\s*{_PART}(?:\s*,\s*{_PART})*\s*", re.IGNORECASE)
_ONE = re.compile(r"bytes=\s*(\d*)-(\d*)\s*", re.IGNORECASE)


def is_range(header: str) -> bool:
    """Whether a Range header says something; what does not is to be ignored, and the whole be sent."""
    if not _RANGE.fullmatch(header):
        return False
    parts = [part.strip().partition("-") for part in header.partition("=")[2].split(",")]
    return all(not (first and last) or int(first) <= int(last) for first, _, last in parts)


def not_satisfiable(header: str, size: int, headers: Mapping[str, str] | None = None) -> Response:
    """The answer to a range that lies outside of what there is: 416."""
    detail = f"Range: there are {size} bytes, 0 … {max(size - 1, 0)}; {header[:80]!r} asks for others"
    errors = [{"pointer": "/Range", "detail": detail}]
    return problem(416, "invalid_input", detail, errors, {**(headers or {}), "Content-Range": f"bytes */{size}"})


def matches(request: Request, etag: str) -> bool:
    """Whether the client has this version already (If-None-Match)."""
    tags = [tag.strip().removeprefix("W/") for tag in request.headers.get("if-none-match", "").split(",")]
    return etag in tags or "*" in tags


def bytes_response(request: Request, data: bytes, media_type: str, headers: Mapping[str, str]) -> Response:
    """Bytes with ranges: one range as 206, several as the whole.

    Args:
        request: Its Range and If-Range are heeded.
        data: All of it.
        media_type: Of the data.
        headers: More headers, ETag among them.
    """
    headers = {**headers, "Accept-Ranges": "bytes"}
    wanted = request.headers.get("range", "")
    is_one = is_range(wanted) and _ONE.fullmatch(wanted)
    if not is_one or request.headers.get("if-range", headers["ETag"]) != headers["ETag"]:
        return Response(data, headers=headers, media_type=media_type)
    part = one_part(wanted, len(data))
    if part is None:
        return not_satisfiable(wanted, len(data), {"ETag": headers["ETag"], "Accept-Ranges": "bytes"})
    headers["Content-Range"] = f"bytes {part[0]}-{part[1] - 1}/{len(data)}"
    return Response(data[slice(*part)], 206, headers=headers, media_type=media_type)


def one_part(header: str, size: int) -> tuple[int, int] | None:
    """First byte, and the one behind the last, of the one range that a valid Range header asks for.

    None when it asks for several, or for what is not there.
    """
    one = _ONE.fullmatch(header)
    if one is None:
        return None
    first, last = one.groups()
    start = int(first) if first else max(size - int(last), 0)
    end = min(int(last) + 1, size) if first and last else size
    return (start, end) if start < size else None
