"""Where log lines go."""

import logging
from logging.handlers import RotatingFileHandler

from rhapsode.settings import Server

_FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"
_MB = 1_000_000


def set_up_logging(server: Server) -> None:
    """Log to the standard error output and, when one is named, to a rotated file."""
    handlers: list[logging.Handler] = [logging.StreamHandler()]
    if server.log_file_path:
        server.log_file_path.parent.mkdir(parents=True, exist_ok=True)
        size = server.log_file_max_size_mb * _MB
        handlers.append(
            RotatingFileHandler(server.log_file_path, maxBytes=size, backupCount=server.log_file_backup_count)
        )
    logging.basicConfig(level=server.log_level.upper(), format=_FORMAT, handlers=handlers, force=True)
    logging.getLogger("uvicorn").setLevel(logging.WARNING)
    logging.getLogger("alembic").setLevel(logging.WARNING)
