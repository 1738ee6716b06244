"""Voices, pauses and speeds of segments; dictionaries as they were when jobs were submitted.

Revision ID: 0004
Revises: 0003
"""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"

INTEGER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.add_column("segments", sa.Column("voice", sa.Text()))
    op.add_column("segments", sa.Column("lead_ms", INTEGER))
    op.add_column("segments", sa.Column("speed", sa.Float(), nullable=False, server_default="1"))
    op.add_column("jobs", sa.Column("lexicon", sa.Text()))
    given = sa.column("lexicon").is_not(None)
    op.create_index("ix_jobs_lexicon", "jobs", ["lexicon"], sqlite_where=given, postgresql_where=given)
    op.create_table(
        "lexicons",
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("content", sa.Text(), nullable=False),
        sa.Column("used_at", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("digest", name="pk_lexicons"),
        sqlite_with_rowid=False,
    )
