"""Jobs name the clip that their voice is cloned from.

Revision ID: 0005
Revises: 0004
"""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    op.add_column("jobs", sa.Column("reference", sa.Text()))
    where = sa.column("reference").is_not(None)
    op.create_index("ix_jobs_reference", "jobs", ["reference"], sqlite_where=where, postgresql_where=where)
