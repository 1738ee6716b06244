"""Where log lines go, in which form, and which job and request stand on them."""

import json
import logging
from collections.abc import Mapping
from contextvars import ContextVar
from datetime import UTC, datetime
from logging.handlers import RotatingFileHandler

from rhapsode.settings import Server

_FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"
_MB = 1_000_000
_SILENT = ("alembic", "asyncio", "httpcore", "httpx", "python_multipart", "uvicorn", "websockets")
"""Libraries that would write addresses with secrets in them, headers or bodies into our log."""
_CONTROLS = {code: f"\\x{code:02x}" for code in (*range(32), *range(0x7F, 0xA0), 0x2028, 0x2029)}
"""What is sent to us must not end a line and begin another, nor steer a terminal."""

_about: ContextVar[Mapping[str, str]] = ContextVar("log_about", default={})  # noqa: B039 - it is never changed


def log_about(**ids: str) -> None:
    """From here on, log lines of this task are about these ids and no others, such as ``job_id`` and ``request_id``."""
    _about.set(ids)


def log_also_about(**ids: str) -> None:
    """From here on, log lines of this task are about these ids too."""
    _about.set({**_about.get(), **ids})


def set_up_logging(server: Server) -> None:
    """Log to the standard error output and, when one is named, to a rotated file."""
    handlers: list[logging.Handler] = [logging.StreamHandler()]
    if server.log_file_path:
        server.log_file_path.parent.mkdir(parents=True, exist_ok=True)
        size = server.log_file_max_size_mb * _MB
        handlers.append(
            RotatingFileHandler(server.log_file_path, maxBytes=size, backupCount=server.log_file_backup_count)
        )
    formatter = JsonLines() if server.log_format == "json" else Lines(_FORMAT)
    for handler in handlers:
        handler.setFormatter(formatter)
    logging.basicConfig(level=server.log_level.upper(), handlers=handlers, force=True)
    for name in _SILENT:
        logging.getLogger(name).setLevel(logging.WARNING)


class Lines(logging.Formatter):
    """For people: one line per message, with those ids behind it that it does not name itself, then what was raised."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's name
        """The first line."""
        line = super().formatMessage(record)
        ids = " ".join(f"{name}={value}" for name, value in _about.get().items() if value not in line)
        return (f"{line} [{ids}]" if ids else line).translate(_CONTROLS)


class JsonLines(logging.Formatter):
    """For programs: one object per line."""

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        found: dict[str, str] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **_about.get(),
        }
        if record.exc_info:
            found["exception"] = self.formatException(record.exc_info)
        return json.dumps(found)
