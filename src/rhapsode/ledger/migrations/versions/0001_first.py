"""The first schema: jobs with their texts, segments, takes and events.

Revision ID: 0001
Revises: none
"""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

INTEGER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")

_deleted = sa.column("deleted", sa.Boolean)
_emptied = sa.column("emptied", sa.Boolean)
LIVE = _deleted.is_(sa.false())
LEFTOVER = sa.and_(_deleted.is_(sa.true()), _emptied.is_(sa.false()))
RUNNING = sa.text("status = 'running'")


def _partial(where: Any) -> dict[str, Any]:
    return {"sqlite_where": where, "postgresql_where": where}


def _given(column: str) -> dict[str, Any]:
    return _partial(sa.column(column).is_not(None))


def upgrade() -> None:
    op.create_table(
        "jobs",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("request", sa.Text(), nullable=False),
        sa.Column("priority", INTEGER, nullable=False),
        sa.Column("created_at", sa.Float(), nullable=False),
        sa.Column("attached", sa.Boolean(), nullable=False),
        sa.Column("run", INTEGER, nullable=False),
        sa.Column("epoch", INTEGER, nullable=False),
        sa.Column("text_chars", INTEGER, nullable=False),
        sa.Column("planned_chars", INTEGER, nullable=False),
        sa.Column("plan_done", sa.Boolean(), nullable=False),
        sa.Column("plan_cursor", sa.Text(), nullable=False),
        sa.Column("segments_total", INTEGER, nullable=False),
        sa.Column("segments_done", INTEGER, nullable=False),
        sa.Column("chars_done", INTEGER, nullable=False),
        sa.Column("samples_done", INTEGER, nullable=False),
        sa.Column("rate", INTEGER, nullable=False),
        sa.Column("synth_seconds", sa.Float(), nullable=False),
        sa.Column("event_seq", INTEGER, nullable=False),
        sa.Column("started_at", sa.Float()),
        sa.Column("first_audio_at", sa.Float()),
        sa.Column("ended_at", sa.Float()),
        sa.Column("expires_at", sa.Float()),
        sa.Column("kept", sa.Boolean(), nullable=False),
        sa.Column("deleted", sa.Boolean(), nullable=False),
        sa.Column("emptied", sa.Boolean(), nullable=False),
        sa.Column("error", sa.Text()),
        sa.Column("failed_segment", INTEGER),
        sa.Column("result_name", sa.Text()),
        sa.Column("result_format", sa.Text()),
        sa.Column("result_size", INTEGER),
        sa.Column("result_digest", sa.Text()),
        sa.Column("result_samples", INTEGER),
        sa.Column("result_rate", INTEGER),
        sa.Column("result_revision", INTEGER),
        sa.Column("warnings", sa.Text(), nullable=False),
        sa.Column("tags", sa.Text(), nullable=False),
        sa.Column("idempotency_key", sa.Text()),
        sa.Column("fingerprint", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_jobs"),
    )
    op.create_index("ix_jobs_created", "jobs", ["created_at", "id"], **_partial(LIVE))
    op.create_index("ix_jobs_expiry", "jobs", ["expires_at"], **_given("expires_at"))
    op.create_index("ix_jobs_leftover", "jobs", ["id"], **_partial(LEFTOVER))
    op.create_index("ix_jobs_owner", "jobs", ["owner", "created_at", "id"], **_partial(LIVE))
    op.create_index("ix_jobs_result", "jobs", ["result_name"], **_given("result_name"))
    op.create_index("ix_jobs_status", "jobs", ["status", "created_at", "id"], **_partial(LIVE))
    op.create_index(
        "ux_jobs_idempotency", "jobs", ["owner", "idempotency_key"], unique=True, **_given("idempotency_key")
    )
    op.create_table(
        "nodes",
        sa.Column("epoch", INTEGER, nullable=False),
        sa.Column("opened_at", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("epoch", name="pk_nodes"),
    )
    op.create_table(
        "takes",
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("samples", INTEGER, nullable=False),
        sa.Column("rate", INTEGER, nullable=False),
        sa.Column("size", INTEGER, nullable=False),
        sa.Column("synth_seconds", sa.Float(), nullable=False),
        sa.Column("words", sa.Text(), nullable=False),
        sa.Column("created_at", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("digest", name="pk_takes"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "events",
        sa.Column("job_id", sa.Text(), nullable=False),
        sa.Column("seq", INTEGER, nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("at", sa.Float(), nullable=False),
        sa.Column("data", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name="fk_events_job_id"),
        sa.PrimaryKeyConstraint("job_id", "seq", name="pk_events"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "job_texts",
        sa.Column("job_id", sa.Text(), nullable=False),
        sa.Column("piece", INTEGER, nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name="fk_job_texts_job_id"),
        sa.PrimaryKeyConstraint("job_id", "piece", name="pk_job_texts"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "segments",
        sa.Column("job_id", sa.Text(), nullable=False),
        sa.Column("idx", INTEGER, nullable=False),
        sa.Column("start", INTEGER, nullable=False),
        sa.Column("end", INTEGER, nullable=False),
        sa.Column("chars", INTEGER, nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("spoken", sa.Text(), nullable=False),
        sa.Column("boundary", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("attempt", INTEGER, nullable=False),
        sa.Column("failures", INTEGER, nullable=False),
        sa.Column("variant", INTEGER, nullable=False),
        sa.Column("take_digest", sa.Text()),
        sa.Column("error", sa.Text()),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name="fk_segments_job_id"),
        sa.ForeignKeyConstraint(["take_digest"], ["takes.digest"], name="fk_segments_take_digest"),
        sa.PrimaryKeyConstraint("job_id", "idx", name="pk_segments"),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_segments_running", "segments", ["status", "job_id", "idx"], **_partial(RUNNING))
    op.create_index("ix_segments_take", "segments", ["take_digest"], **_given("take_digest"))
    op.create_table(
        "take_keys",
        sa.Column("input_key", sa.Text(), nullable=False),
        sa.Column("digest", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["digest"], ["takes.digest"], name="fk_take_keys_digest", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("input_key", name="pk_take_keys"),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_take_keys_digest", "take_keys", ["digest"])
