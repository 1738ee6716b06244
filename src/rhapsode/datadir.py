"""The data directory: one server at a time, known by its address."""

import fcntl
import json
import os
import secrets
import time
from pathlib import Path
from typing import Self

from rhapsode.durable import named, sync_folder
from rhapsode.errors import ConfigError, DataDirInUse

LOCK_NAME = "server.lock"
_MOMENT_S = 1.0
_KEY_BYTES = 32


class DataDirLock:
    """Exclusive use of a data directory, for as long as this process lives; a dead process leaves nothing locked.

    Raises:
        DataDirInUse: Another server holds it; the message names its process and address.
    """

    def __init__(self, data_dir: Path) -> None:
        data_dir.mkdir(parents=True, exist_ok=True)
        self._path = data_dir / LOCK_NAME
        self.token = secrets.token_urlsafe(32)
        """Opens the server to whoever can read the lock file, which only this user can."""
        self._file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        if not self._acquire():
            os.close(self._file)
            holder = read_holder(data_dir)
            where = f" at {holder['url']}" if holder.get("url") else ""
            raise DataDirInUse(
                f"another server (process {holder.get('pid', '?')}){where} holds {data_dir}; "
                "use that one, stop it, or choose another --data-dir"
            )
        os.fchmod(self._file, 0o600)
        self.publish(None)

    def _acquire(self) -> bool:
        """Take the lock; True when it could be had. Those who look whether a server runs hold it for a moment, too."""
        deadline = time.monotonic() + _MOMENT_S
        while True:
            try:
                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() > deadline:
                    return False
                time.sleep(_MOMENT_S / 100)
            else:
                return True

    def publish(self, url: str | None) -> None:
        """Write down at which address the server answers."""
        data = json.dumps({"pid": os.getpid(), "url": url, "token": self.token}).encode()
        with named(self._path):
            os.ftruncate(self._file, 0)
            os.pwrite(self._file, data, 0)

    def close(self) -> None:
        """Give the directory free."""
        os.ftruncate(self._file, 0)
        os.close(self._file)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def secret_key(path: Path) -> bytes:
    """The 32 random bytes in ``path``, readable by nobody else; made once, whole or not at all.

    Raises:
        ConfigError: The file holds something else.
    """
    if not path.exists():
        fresh = path.with_name(f"{path.name}.tmp")
        fresh.unlink(missing_ok=True)
        _write_durably(fresh, secrets.token_bytes(_KEY_BYTES))
        fresh.replace(path)
        sync_folder(path.parent)
    key = path.read_bytes()
    if len(key) != _KEY_BYTES:
        raise ConfigError(
            f"{path} must hold {_KEY_BYTES} bytes; it has {len(key)}: restore it, or delete it for a new one"
        )
    return key


def _write_durably(path: Path, data: bytes) -> None:
    """Make a file that only this user can read."""
    path.touch(mode=0o600, exist_ok=False)
    with named(path), path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def read_holder(data_dir: Path) -> dict[str, object]:
    """Who wrote the lock file last: ``pid``, ``url`` and ``token``; empty when nobody."""
    try:
        found = json.loads((data_dir / LOCK_NAME).read_bytes() or b"{}")
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def running_url(data_dir: Path) -> str | None:
    """Address of the server that holds the data directory now, or None when there is none."""
    path = data_dir / LOCK_NAME
    if not path.exists():
        return None
    with path.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            url = read_holder(data_dir).get("url")
            return url if isinstance(url, str) else None
    return None
