"""Where a list goes on: opaque to clients, the sort key of the last entry they saw."""

import base64

from rhapsode.errors import InvalidInput
from rhapsode.model import is_job_id


def cursor_of(created_at: float, entry_id: str) -> str:
    """The cursor behind an entry."""
    return base64.urlsafe_b64encode(f"{created_at.hex()} {entry_id}".encode()).decode().rstrip("=")


def read_cursor(text: str) -> tuple[float, str]:
    """(created_at, id) of the entry.

    Raises:
        InvalidInput: This is no cursor.
    """
    try:
        raw = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)).decode("ascii")
        at, _, entry_id = raw.partition(" ")
        created_at = float.fromhex(at)
    except (ValueError, OverflowError):
        entry_id = ""
    if not is_job_id(entry_id):
        raise InvalidInput("cursor must be the next_cursor of an earlier answer", "cursor")
    return created_at, entry_id
