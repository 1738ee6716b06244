"""The configuration file of a running server: what is in force, and changes that are written into it.

What the page remembers (``ui_state``: the whole text, soon after every edit) goes into a file of its own beside the ledger, so that the
configuration file keeps its size and its comments.
"""

import contextlib
import errno
import json
import logging
import os
import shutil
import threading
import uuid
from collections.abc import Iterator, Mapping
from io import StringIO
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap
from ruamel.yaml.error import YAMLError

from rhapsode.config import FILE_NAME, Loaded, effective, load_settings, read_file
from rhapsode.errors import ConfigError, Forbidden
from rhapsode.plain import require_plain
from rhapsode.settings import UIState

log = logging.getLogger(__name__)

LIVE = frozenset({"generation_defaults", "audio_output", "audio_processing", "ui", "ui_state", "debug"})
"""Sections that are heeded at once; all others at the next start of the engine or of the server."""
FILE_ONLY = frozenset(
    {
        "data_dir", "auth.mode", "auth.allowed_origins", "fleet.python", "ledger.node", "ledger.url", "server.allowed_hosts",
        "server.log_file_path", "server.ssl_certfile", "server.ssl_keyfile", "server.trusted_proxies", "webhooks.allow_private",
        "webhooks.allowed_hosts",
    }
)  # fmt: skip
"""What must not be changed over HTTP: programs to run (those of single engines too), files to write, and who may do what."""

STATE_NAME = "ui_state.json"
_STATE = "ui_state"
_IN_PLACE = frozenset({errno.EBUSY, errno.EXDEV, errno.EPERM, errno.EACCES, errno.EROFS})
"""What renaming over a bind-mounted file, or making a file next to it, fails with."""


class ConfigFile:
    """Reads and writes one configuration file. Its methods block; calls from several threads follow each other.

    Args:
        loaded: What is in force.
    """

    def __init__(self, loaded: Loaded) -> None:
        self._lock = threading.Lock()
        self._origin = loaded.origin
        self._loaded = loaded
        self._state_path = loaded.settings.data_dir / STATE_NAME
        self._state = _read_state(self._state_path)

    @property
    def path(self) -> Path:
        """The file, which need not be there yet."""
        return self._loaded.source or self._loaded.settings.data_dir / FILE_NAME

    @property
    def loaded(self) -> Loaded:
        """The settings as the file now has them."""
        return self._loaded

    def view(self) -> dict[str, Any]:
        """All settings as plain values without secrets, paths as written, and what the page remembers."""
        plain = effective(self._loaded)
        _merge(plain[_STATE], self._state)
        for key, row in UIState.model_fields.items():
            if plain[_STATE].get(key) is None:  # the old page sends null for "none", and wants none back
                plain[_STATE][key] = row.default
        return plain

    def save(self, changes: Mapping[str, Any]) -> Loaded:
        """Merge changes into the file; comments and unknown keys stay. All or nothing.

        Raises:
            ConfigError: A value is wrong; names it and its bound.
            Forbidden: One of :data:`FILE_ONLY` would change.
            OSError: It cannot be written.
        """
        try:
            require_plain(changes)
        except ValueError as error:
            raise ConfigError(f"settings: {error}") from None
        with self._lock:
            rest = {key: value for key, value in changes.items() if key != _STATE}
            state = changes.get(_STATE)
            self._require_allowed(rest)
            rest = _without_file_only(rest)  # as they are, or as they are shown, which is less
            if rest:
                text = _merged(read_file(self.path) if self.path.exists() else "", rest)
                loaded = self._read(text)
                _write(self.path, text)
                self._loaded = loaded
            if isinstance(state, Mapping):
                _merge(self._state, state)
                _write(self._state_path, json.dumps(self._state, ensure_ascii=False))
            return self._loaded

    def reset(self) -> Loaded:
        """Every setting to its default. The old file stays beside it as ``<name>.bak``; what only the file may say stays in force.

        Raises:
            OSError: It cannot be written.
        """
        with self._lock:
            kept: dict[str, Any] = {}
            if self.path.exists():
                old = YAML(typ="safe", pure=True).load(read_file(self.path)) or {}
                for key, value in _leaves(old):
                    if is_file_only(key):
                        *sections, name = key.split(".")
                        into = kept
                        for section in sections:
                            into = into.setdefault(section, {})
                        into[name] = value
            text = _merged("# Rhapsode's settings; what is not named here has its default.\n", kept)
            loaded = self._read(text)
            if self.path.exists():
                shutil.copy2(self.path, self.path.with_name(self.path.name + ".bak"))
            _write(self.path, text)
            self._state = {}
            self._state_path.unlink(missing_ok=True)
            self._loaded = loaded
            return loaded

    def reload(self) -> Loaded:
        """Read the file again, as an operator may have edited it.

        Raises:
            ConfigError: It is wrong.
        """
        with self._lock:
            self._loaded = self._read(None)
            return self._loaded

    def _read(self, content: str | None) -> Loaded:
        origin = self._origin
        return load_settings(origin.config, origin.data_dir, origin.env, origin.overrides, content)

    def _require_allowed(self, changes: Mapping[str, Any]) -> None:
        now = effective(self._loaded)
        for key, value in _leaves(changes):
            known: Any = now
            for part in key.split("."):
                known = known.get(part) if isinstance(known, Mapping) else None
            if is_file_only(key) and value != known and (value or known):
                raise Forbidden(f"{key} can only be changed in {self.path.name} itself, not over HTTP")


def needs_restart(changes: Mapping[str, Any]) -> bool:
    """Whether changes are heeded only after the engine, or the server, is started again."""
    copies = isinstance(output := changes.get("audio_output"), Mapping) and "save_to_disk" in output
    return copies or any(key not in LIVE for key in changes)


def _without_file_only(changes: Mapping[str, Any]) -> dict[str, Any]:
    return {
        section: {name: value for name, value in values.items() if not is_file_only(f"{section}.{name}")}
        if isinstance(values, Mapping)
        else values
        for section, values in changes.items()
        if section not in FILE_ONLY
    }


def is_file_only(key: str) -> bool:
    """Whether a setting must not be changed over HTTP."""
    return key in FILE_ONLY or (key.startswith("engines.") and key.endswith(".python"))


def _leaves(content: object) -> Iterator[tuple[str, Any]]:
    """Values by key, ``section.name`` and ``engines.kokoro.device``."""
    for section, values in content.items() if isinstance(content, Mapping) else ():
        if isinstance(values, Mapping):
            for name, value in _leaves(values) if section == "engines" else values.items():
                yield f"{section}.{name}", value
        else:
            yield str(section), values


def _merge(into: Any, changes: Mapping[str, Any]) -> None:
    for key, value in changes.items():
        if isinstance(value, Mapping) and isinstance(into.get(key), dict):
            _merge(into[key], value)
        else:
            into[key] = value


def _merged(text: str, changes: Mapping[str, Any]) -> str:
    """The text of a configuration file with changes in it.

    Raises:
        ConfigError: It is no YAML.
    """
    yaml = YAML()
    yaml.preserve_quotes = True
    yaml.width = 10**6
    try:
        content = yaml.load(text)
    except YAMLError as error:
        raise ConfigError(f"the configuration file is not valid YAML: {' '.join(str(error).split())}") from None
    if content is None and not changes:
        return text
    if content is None:
        content, comment = CommentedMap(), text
    else:
        comment = ""
    _merge(content, changes)
    out = StringIO()
    yaml.dump(content, out)
    return comment + out.getvalue()


def _read_state(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        log.warning("what the page remembered in %s cannot be read: %s", path, error)
        return {}
    return found if isinstance(found, dict) else {}


def _write(path: Path, text: str) -> None:
    """Replace a file in one step; where that is refused, as for a bind-mounted file, in place behind a backup."""
    path = path.resolve()
    path.parent.mkdir(parents=True, exist_ok=True)
    data = text.encode()
    draft = path.with_name(f".tmp-{uuid.uuid4().hex}")
    try:
        with draft.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        if path.exists():
            shutil.copymode(path, draft)
        draft.replace(path)
    except OSError as error:
        draft.unlink(missing_ok=True)
        if error.errno not in _IN_PLACE or not path.exists():
            raise
        with contextlib.suppress(OSError):
            shutil.copy2(path, path.with_name(path.name + ".bak"))
        with path.open("r+b") as file:
            file.write(data)
            file.truncate()
            file.flush()
            os.fsync(file.fileno())
