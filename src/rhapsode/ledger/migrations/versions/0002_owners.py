"""One order of all events, batches, keys with their quotas, webhooks, segments made again.

Revision ID: 0002
Revises: 0001
"""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

INTEGER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def _given(column: str) -> dict[str, Any]:
    where = sa.column(column).is_not(None)
    return {"sqlite_where": where, "postgresql_where": where}


def upgrade() -> None:
    op.add_column("jobs", sa.Column("voice", sa.Text(), nullable=False, server_default=""))
    if op.get_bind().dialect.name == "sqlite":  # in no other database are there jobs from before
        op.execute("UPDATE jobs SET voice = coalesce(json_extract(request, '$.voice'), '')")
    op.add_column("jobs", sa.Column("batch_id", sa.Text()))
    op.add_column("jobs", sa.Column("custom_id", sa.Text()))
    op.add_column("jobs", sa.Column("webhook_url", sa.Text()))
    op.add_column("jobs", sa.Column("redo_of", sa.Text()))
    op.add_column("jobs", sa.Column("redo_revision", INTEGER))
    op.create_index("ix_jobs_batch", "jobs", ["batch_id", "id"], **_given("batch_id"))
    op.create_index("ix_jobs_redo", "jobs", ["redo_of", "id"], **_given("redo_of"))
    _number_events()
    op.create_table(
        "marks",
        sa.Column("id", INTEGER, nullable=False),
        sa.Column("pruned_pos", INTEGER, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_marks"),
    )
    op.execute("INSERT INTO marks (id, pruned_pos) VALUES (1, 0)")
    op.create_table(
        "batches",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column("created_at", sa.Float(), nullable=False),
        sa.Column("ended_at", sa.Float()),
        sa.Column("total", INTEGER, nullable=False),
        sa.Column("errors", sa.Text(), nullable=False),
        sa.Column("webhook_url", sa.Text()),
        sa.Column("idempotency_key", sa.Text()),
        sa.Column("fingerprint", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_batches"),
        sqlite_with_rowid=False,
    )
    op.create_index(
        "ux_batches_idempotency", "batches", ["owner", "idempotency_key"], unique=True, **_given("idempotency_key")
    )
    _access()
    _webhooks()


def _number_events() -> None:
    """The events of before are put in the order of their times."""
    op.rename_table("events", "old_events")
    if op.get_bind().dialect.name == "postgresql":  # where the index of a primary key needs a name of its own
        op.execute("ALTER INDEX pk_events RENAME TO pk_old_events")
    op.create_table(
        "events",
        sa.Column("pos", INTEGER, nullable=False),
        sa.Column("job_id", sa.Text(), nullable=False),
        sa.Column("seq", INTEGER, nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("at", sa.Float(), nullable=False),
        sa.Column("data", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name="fk_events_job_id"),
        sa.PrimaryKeyConstraint("pos", name="pk_events"),
        sqlite_autoincrement=True,
    )
    op.execute(
        "INSERT INTO events (job_id, seq, type, at, data) "
        "SELECT job_id, seq, type, at, data FROM old_events ORDER BY at, job_id, seq"
    )
    op.drop_table("old_events")
    op.create_index("ux_events_seq", "events", ["job_id", "seq"], unique=True)


def _access() -> None:
    op.create_table(
        "api_keys",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("hint", sa.Text(), nullable=False),
        sa.Column("scopes", sa.Text(), nullable=False),
        sa.Column("limits", sa.Text(), nullable=False),
        sa.Column("created_at", sa.Float(), nullable=False),
        sa.Column("expires_at", sa.Float()),
        sa.Column("revoked_at", sa.Float()),
        sa.Column("last_used_at", sa.Float()),
        sa.PrimaryKeyConstraint("id", name="pk_api_keys"),
        sqlite_with_rowid=False,
    )
    op.create_index("ux_api_keys_digest", "api_keys", ["digest"], unique=True)
    op.create_table(
        "sessions",
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("key_id", sa.Text(), nullable=False),
        sa.Column("created_at", sa.Float(), nullable=False),
        sa.Column("expires_at", sa.Float(), nullable=False),
        sa.ForeignKeyConstraint(["key_id"], ["api_keys.id"], name="fk_sessions_key_id", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("digest", name="pk_sessions"),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_sessions_key", "sessions", ["key_id"])
    op.create_table(
        "usage",
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column("day", INTEGER, nullable=False),
        sa.Column("chars", INTEGER, nullable=False),
        sa.Column("jobs", INTEGER, nullable=False),
        sa.PrimaryKeyConstraint("owner", "day", name="pk_usage"),
        sqlite_with_rowid=False,
    )


def _webhooks() -> None:
    op.create_table(
        "webhook_endpoints",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column("url", sa.Text(), nullable=False),
        sa.Column("secret", sa.Text(), nullable=False),
        sa.Column("types", sa.Text(), nullable=False),
        sa.Column("created_at", sa.Float(), nullable=False),
        sa.Column("disabled_at", sa.Float()),
        sa.Column("disabled_because", sa.Text()),
        sa.PrimaryKeyConstraint("id", name="pk_webhook_endpoints"),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_webhook_endpoints_owner", "webhook_endpoints", ["owner"])
    op.create_table(
        "deliveries",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column("endpoint_id", sa.Text()),
        sa.Column("job_id", sa.Text()),
        sa.Column("batch_id", sa.Text()),
        sa.Column("url", sa.Text(), nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("payload", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("tries", INTEGER, nullable=False),
        sa.Column("created_at", sa.Float(), nullable=False),
        sa.Column("next_at", sa.Float()),
        sa.Column("delivered_at", sa.Float()),
        sa.Column("last_try_at", sa.Float()),
        sa.Column("last_status", INTEGER),
        sa.Column("last_error", sa.Text()),
        sa.PrimaryKeyConstraint("id", name="pk_deliveries"),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_deliveries_due", "deliveries", ["next_at", "id"], **_given("next_at"))
    op.create_index("ix_deliveries_owner", "deliveries", ["owner", "created_at", "id"])
    op.create_index("ix_deliveries_job", "deliveries", ["job_id"])
