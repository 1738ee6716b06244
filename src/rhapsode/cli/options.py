"""What every command is given, and how it speaks to the user."""

import json
import logging
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.logging import RichHandler

from rhapsode.config import Loaded, load_settings

EXIT_FAILED = 1
EXIT_INTERRUPTED = 130
"""As shells have it: 128 and the number of SIGINT."""


@dataclass(frozen=True, slots=True)
class Options:
    """The options before the command's name."""

    config: Path | None = None
    data_dir: Path | None = None
    server: str | None = None
    verbose: bool = False
    api_key: str | None = field(default=None, repr=False)
    """For the server that ``server`` names."""
    console: Console = field(default_factory=lambda: Console(stderr=True, highlight=False, soft_wrap=True))
    """Everything but results: the standard error output."""

    def load(self, overrides: dict[str, object] | None = None) -> Loaded:
        """Read all settings.

        Raises:
            ConfigError: See :func:`rhapsode.config.load_settings`.
        """
        return load_settings(self.config, self.data_dir, overrides=overrides)

    def say(self, text: str, style: str = "") -> None:
        """A line for the user, never a result."""
        self.console.print(text, style=style, markup=False)

    def warn(self, text: str) -> None:
        """Something that is odd but no error."""
        self.say(f"warning: {text}", "yellow")

    def set_up_logging(self) -> None:
        """Log what is wrong, or with ``--verbose`` everything, without breaking a progress bar."""
        level = logging.DEBUG if self.verbose else logging.WARNING
        handler = RichHandler(level, self.console, show_path=False, show_time=self.verbose, highlighter=None)
        handler.setFormatter((logging.Formatter if self.verbose else _OneLine)("%(name)s: %(message)s"))
        logging.basicConfig(level=level, handlers=[handler], force=True)
        for noisy in ("httpcore", "httpx", "asyncio", "alembic", "uvicorn"):
            logging.getLogger(noisy).setLevel(logging.WARNING)


class _OneLine(logging.Formatter):
    """Names an exception, without the way it took."""

    def formatException(self, ei: object) -> str:  # noqa: N802 - logging's name
        """Nothing more than what happened."""
        error = ei[1] if isinstance(ei, tuple) else None
        return f"{type(error).__name__}: {error}"


def print_json(value: Any) -> None:
    """A result, for programs."""
    click.echo(json.dumps(value, indent=2, ensure_ascii=False))


def human_time(seconds: float) -> str:
    """``0.4 s``, ``12 s``, ``3:05`` or ``1:02:03``."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def human_size(size: float) -> str:
    """``12 kB``, ``3.4 MB``."""
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if size >= 10 or unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} TB"
