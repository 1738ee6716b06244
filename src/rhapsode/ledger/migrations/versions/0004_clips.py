"""Jobs name the clip that their voice is cloned from.

Revision ID: 0004
Revises: 0003
"""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    op.add_column("jobs", sa.Column("reference", sa.Text()))
    where = sa.column("reference").is_not(None)
    op.create_index("ix_jobs_reference", "jobs", ["reference"], sqlite_where=where, postgresql_where=where)
