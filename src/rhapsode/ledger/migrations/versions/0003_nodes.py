"""Nodes that share a ledger: their leases, and one counter of all events; what nodes must have in common.

Revision ID: 0003
Revises: 0002
"""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

INTEGER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.add_column("nodes", sa.Column("name", sa.Text(), nullable=False, server_default=""))
    op.add_column("nodes", sa.Column("seen_at", sa.Float(), nullable=False, server_default="0"))
    op.add_column("nodes", sa.Column("ended_at", sa.Float()))
    op.add_column("marks", sa.Column("newest_pos", INTEGER, nullable=False, server_default="0"))
    op.execute(
        "UPDATE marks SET newest_pos = (SELECT max(pos) FROM "
        "(SELECT coalesce(max(pos), 0) AS pos FROM events UNION ALL SELECT pruned_pos FROM marks) AS known)"
    )
    op.create_table(
        "secrets",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_secrets"),
        sqlite_with_rowid=False,
    )
