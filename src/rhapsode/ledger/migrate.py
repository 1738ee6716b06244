"""The schema's revisions, as Alembic finds them in ``migrations/``."""

from pathlib import Path

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory


def revisions() -> frozenset[str]:
    """All that this version knows."""
    return frozenset(script.revision for script in ScriptDirectory.from_config(_config()).walk_revisions())


def head() -> str | None:
    """The newest one."""
    return ScriptDirectory.from_config(_config()).get_current_head()


def upgrade(connection: sa.Connection) -> None:
    """Bring the schema up to date, in the transaction that the connection has open."""
    config = _config()
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations").replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    return config
