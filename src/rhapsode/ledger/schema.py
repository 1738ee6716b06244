"""Tables of the ledger. The migrations build them; a test compares the two.

Only types whose Python values need no conversion are used, so that compiled statements can run on the bare driver.
Everything that differs between databases stands in their own modules, in :data:`INTEGER` and in :func:`insert`.
"""

from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

TEXT_PIECE = 65_536
"""Characters of a job's text per row, so that reading a window does not load a whole book."""

INTEGER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
"""64 bits everywhere: 27 hours of samples do not fit into 32. SQLite's own are of any size."""

metadata = sa.MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "ck": "ck_%(constraint_name)s",
    }
)

# One row per opening of the ledger; its number is the epoch that fences writes. Times are of the ledger's clock.
nodes = sa.Table(
    "nodes",
    metadata,
    sa.Column("epoch", INTEGER, primary_key=True),
    sa.Column("opened_at", sa.Float, nullable=False),
    sa.Column("name", sa.Text, nullable=False, server_default=""),
    sa.Column("seen_at", sa.Float, nullable=False, server_default="0"),  # renews the lease of its jobs; 0: it has left
    sa.Column("ended_at", sa.Float),  # when its jobs were given to another node; it can write nothing any more
)

jobs = sa.Table(
    "jobs",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("owner", sa.Text, nullable=False),
    sa.Column("status", sa.Text, nullable=False),
    sa.Column("request", sa.Text, nullable=False),
    sa.Column("priority", INTEGER, nullable=False),
    sa.Column("created_at", sa.Float, nullable=False),
    sa.Column("attached", sa.Boolean, nullable=False),
    sa.Column("run", INTEGER, nullable=False),
    sa.Column("epoch", INTEGER, nullable=False),
    sa.Column("text_chars", INTEGER, nullable=False),
    sa.Column("planned_chars", INTEGER, nullable=False),
    sa.Column("plan_done", sa.Boolean, nullable=False),
    sa.Column("plan_cursor", sa.Text, nullable=False),
    sa.Column("segments_total", INTEGER, nullable=False),
    sa.Column("segments_done", INTEGER, nullable=False),
    sa.Column("chars_done", INTEGER, nullable=False),
    sa.Column("samples_done", INTEGER, nullable=False),
    sa.Column("rate", INTEGER, nullable=False),
    sa.Column("synth_seconds", sa.Float, nullable=False),
    sa.Column("event_seq", INTEGER, nullable=False),
    sa.Column("started_at", sa.Float),
    sa.Column("first_audio_at", sa.Float),
    sa.Column("ended_at", sa.Float),
    sa.Column("expires_at", sa.Float),
    sa.Column("kept", sa.Boolean, nullable=False),
    sa.Column("deleted", sa.Boolean, nullable=False),
    sa.Column("emptied", sa.Boolean, nullable=False),  # of a tombstone: text, segments and events are gone too
    sa.Column("error", sa.Text),
    sa.Column("failed_segment", INTEGER),
    sa.Column("result_name", sa.Text),
    sa.Column("result_format", sa.Text),
    sa.Column("result_size", INTEGER),
    sa.Column("result_digest", sa.Text),
    sa.Column("result_samples", INTEGER),
    sa.Column("result_rate", INTEGER),
    sa.Column("result_revision", INTEGER),
    sa.Column("warnings", sa.Text, nullable=False),
    sa.Column("tags", sa.Text, nullable=False),
    sa.Column("idempotency_key", sa.Text),
    sa.Column("fingerprint", sa.Text, nullable=False),
    sa.Column("voice", sa.Text, nullable=False),  # as in the request, to search by
    sa.Column(
        "reference", sa.Text
    ),  # digest of the clip whose voice it has, as in the request: the clip stays while the job does
    sa.Column("batch_id", sa.Text),
    sa.Column("custom_id", sa.Text),
    sa.Column("webhook_url", sa.Text),
    sa.Column("redo_of", sa.Text),  # the completed job whose segment this one makes again; such a job is in no list
    sa.Column("redo_revision", INTEGER),  # revision of that job's result which its new one replaces
    sa.Column("lexicon", sa.Text),  # as in the request: digest of the dictionary that its words are looked up in
)

LIVE = jobs.c.deleted.is_(sa.false())
"""Not a tombstone. Literal, like the conditions below, so that partial indexes apply."""
UNFINISHED = jobs.c.status.in_([sa.literal_column("'queued'"), sa.literal_column("'running'")])
RETRIABLE = jobs.c.status.in_([sa.literal_column("'failed'"), sa.literal_column("'cancelled'")])
LISTED = sa.and_(LIVE, jobs.c.redo_of.is_(None))
"""What a history shows."""
LEFTOVER = sa.and_(jobs.c.deleted.is_(sa.true()), jobs.c.emptied.is_(sa.false()))
"""A tombstone whose text, segments and events are still being deleted."""


def _partial(name: str, where: sa.ColumnElement[bool], *columns: sa.Column[Any], unique: bool = False) -> sa.Index:
    return sa.Index(name, *columns, unique=unique, sqlite_where=where, postgresql_where=where)


_partial("ix_jobs_created", LIVE, jobs.c.created_at, jobs.c.id)
_partial("ix_jobs_owner", LIVE, jobs.c.owner, jobs.c.created_at, jobs.c.id)
_partial("ix_jobs_status", LIVE, jobs.c.status, jobs.c.created_at, jobs.c.id)
_partial("ix_jobs_expiry", jobs.c.expires_at.is_not(None), jobs.c.expires_at)
_partial("ix_jobs_leftover", LEFTOVER, jobs.c.id)
_partial("ix_jobs_result", jobs.c.result_name.is_not(None), jobs.c.result_name)
_partial("ux_jobs_idempotency", jobs.c.idempotency_key.is_not(None), jobs.c.owner, jobs.c.idempotency_key, unique=True)

_partial("ix_jobs_reference", jobs.c.reference.is_not(None), jobs.c.reference)
_partial("ix_jobs_batch", jobs.c.batch_id.is_not(None), jobs.c.batch_id, jobs.c.id)
_partial("ix_jobs_redo", jobs.c.redo_of.is_not(None), jobs.c.redo_of, jobs.c.id)

_partial("ix_jobs_lexicon", jobs.c.lexicon.is_not(None), jobs.c.lexicon)

# Dictionaries as they were when jobs were submitted.
lexicons = sa.Table(
    "lexicons",
    metadata,
    sa.Column("digest", sa.Text, primary_key=True),
    sa.Column("content", sa.Text, nullable=False),
    sa.Column("used_at", sa.Float, nullable=False),  # when a job was last submitted with it
    sqlite_with_rowid=False,
)

job_texts = sa.Table(
    "job_texts",
    metadata,
    sa.Column("job_id", sa.Text, sa.ForeignKey(jobs.c.id), primary_key=True),
    sa.Column("piece", INTEGER, primary_key=True),
    sa.Column("text", sa.Text, nullable=False),
    sqlite_with_rowid=False,
)

takes = sa.Table(
    "takes",
    metadata,
    sa.Column("digest", sa.Text, primary_key=True),
    sa.Column("samples", INTEGER, nullable=False),
    sa.Column("rate", INTEGER, nullable=False),
    sa.Column("size", INTEGER, nullable=False),
    sa.Column("synth_seconds", sa.Float, nullable=False),
    sa.Column("words", sa.Text, nullable=False),
    sa.Column("created_at", sa.Float, nullable=False),
    sqlite_with_rowid=False,
)

# Several keys may lead to one take: two texts can sound the same, bit for bit.
take_keys = sa.Table(
    "take_keys",
    metadata,
    sa.Column("input_key", sa.Text, primary_key=True),
    sa.Column("digest", sa.Text, sa.ForeignKey(takes.c.digest, ondelete="CASCADE"), nullable=False),
    sqlite_with_rowid=False,
)

sa.Index("ix_take_keys_digest", take_keys.c.digest)

segments = sa.Table(
    "segments",
    metadata,
    sa.Column("job_id", sa.Text, sa.ForeignKey(jobs.c.id), primary_key=True),
    sa.Column("idx", INTEGER, primary_key=True),
    sa.Column("start", INTEGER, nullable=False),
    sa.Column("end", INTEGER, nullable=False),
    sa.Column("chars", INTEGER, nullable=False),  # what it adds to progress: its span and the white space before it
    sa.Column("text", sa.Text, nullable=False),
    sa.Column("spoken", sa.Text, nullable=False),
    sa.Column("boundary", sa.Text, nullable=False),
    sa.Column("status", sa.Text, nullable=False),
    sa.Column("attempt", INTEGER, nullable=False),
    sa.Column("failures", INTEGER, nullable=False),
    sa.Column("variant", INTEGER, nullable=False),
    sa.Column("take_digest", sa.Text, sa.ForeignKey(takes.c.digest)),
    sa.Column("error", sa.Text),
    sa.Column("voice", sa.Text),  # none: the job's own
    sa.Column("lead_ms", INTEGER),  # silence before it that the text asks for
    sa.Column("speed", sa.Float, nullable=False, server_default="1"),
    sqlite_with_rowid=False,
)

RUNNING_SEGMENT = segments.c.status == sa.literal_column("'running'")

# The status is repeated because SQLite prefers the primary key to an index that names no more columns than that.
_partial("ix_segments_running", RUNNING_SEGMENT, segments.c.status, segments.c.job_id, segments.c.idx)
_partial("ix_segments_take", segments.c.take_digest.is_not(None), segments.c.take_digest)

events = sa.Table(
    "events",
    metadata,
    sa.Column("pos", INTEGER, primary_key=True),  # place among the events of all jobs: grows, is never used again
    sa.Column("job_id", sa.Text, sa.ForeignKey(jobs.c.id), nullable=False),
    sa.Column("seq", INTEGER, nullable=False),
    sa.Column("type", sa.Text, nullable=False),
    sa.Column("at", sa.Float, nullable=False),
    sa.Column("data", sa.Text, nullable=False),
    sqlite_autoincrement=True,
)

sa.Index("ux_events_seq", events.c.job_id, events.c.seq, unique=True)

# One row: what is known of the whole ledger.
marks = sa.Table(
    "marks",
    metadata,
    sa.Column("id", INTEGER, primary_key=True),  # always 1
    sa.Column("pruned_pos", INTEGER, nullable=False),  # no event up to here is certain to be there still
    sa.Column("newest_pos", INTEGER, nullable=False, server_default="0"),  # counts events in the order of their commits
)

# What all nodes must know alike.
secrets = sa.Table(
    "secrets",
    metadata,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("value", sa.Text, nullable=False),  # hex
    sqlite_with_rowid=False,
)

batches = sa.Table(
    "batches",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("owner", sa.Text, nullable=False),
    sa.Column("created_at", sa.Float, nullable=False),
    sa.Column("ended_at", sa.Float),
    sa.Column("total", INTEGER, nullable=False),  # items that were sent, those that were refused included
    sa.Column("errors", sa.Text, nullable=False),  # of the refused items
    sa.Column("webhook_url", sa.Text),
    sa.Column("idempotency_key", sa.Text),
    sa.Column("fingerprint", sa.Text, nullable=False),
    sqlite_with_rowid=False,
)

_partial(
    "ux_batches_idempotency",
    batches.c.idempotency_key.is_not(None),
    batches.c.owner,
    batches.c.idempotency_key,
    unique=True,
)

api_keys = sa.Table(
    "api_keys",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("owner", sa.Text, nullable=False),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("digest", sa.Text, nullable=False),  # SHA-256 of the secret, hex
    sa.Column("hint", sa.Text, nullable=False),  # how the secret begins, to tell keys apart
    sa.Column("scopes", sa.Text, nullable=False),
    sa.Column("limits", sa.Text, nullable=False),
    sa.Column("created_at", sa.Float, nullable=False),
    sa.Column("expires_at", sa.Float),
    sa.Column("revoked_at", sa.Float),
    sa.Column("last_used_at", sa.Float),
    sqlite_with_rowid=False,
)

sa.Index("ux_api_keys_digest", api_keys.c.digest, unique=True)

# Browsers that signed in with a key.
sessions = sa.Table(
    "sessions",
    metadata,
    sa.Column("digest", sa.Text, primary_key=True),  # SHA-256 of the cookie's value, hex
    sa.Column("key_id", sa.Text, sa.ForeignKey(api_keys.c.id, ondelete="CASCADE"), nullable=False),
    sa.Column("created_at", sa.Float, nullable=False),
    sa.Column("expires_at", sa.Float, nullable=False),
    sqlite_with_rowid=False,
)

sa.Index("ix_sessions_key", sessions.c.key_id)

# What an owner had spoken on a day, UTC, to hold against a quota.
usage = sa.Table(
    "usage",
    metadata,
    sa.Column("owner", sa.Text, primary_key=True),
    sa.Column("day", INTEGER, primary_key=True),  # days since the epoch
    sa.Column("chars", INTEGER, nullable=False),
    sa.Column("jobs", INTEGER, nullable=False),
    sqlite_with_rowid=False,
)

webhook_endpoints = sa.Table(
    "webhook_endpoints",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("owner", sa.Text, nullable=False),
    sa.Column("url", sa.Text, nullable=False),
    sa.Column("secret", sa.Text, nullable=False),  # "whsec_…"; needed in the clear to sign with
    sa.Column("types", sa.Text, nullable=False),
    sa.Column("created_at", sa.Float, nullable=False),
    sa.Column("disabled_at", sa.Float),
    sa.Column("disabled_because", sa.Text),
    sqlite_with_rowid=False,
)

sa.Index("ix_webhook_endpoints_owner", webhook_endpoints.c.owner)

# The outbox: written with the transition that they tell of, sent afterwards.
deliveries = sa.Table(
    "deliveries",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),  # "msg_…": the webhook-id, the same in every try
    sa.Column("owner", sa.Text, nullable=False),
    sa.Column("endpoint_id", sa.Text),  # none for the webhook_url of a job or batch
    sa.Column("job_id", sa.Text),
    sa.Column("batch_id", sa.Text),
    sa.Column("url", sa.Text, nullable=False),
    sa.Column("type", sa.Text, nullable=False),
    sa.Column("payload", sa.Text, nullable=False),
    sa.Column("status", sa.Text, nullable=False),  # pending, delivered, failed
    sa.Column("tries", INTEGER, nullable=False),
    sa.Column("created_at", sa.Float, nullable=False),
    sa.Column("next_at", sa.Float),
    sa.Column("delivered_at", sa.Float),
    sa.Column("last_try_at", sa.Float),
    sa.Column("last_status", INTEGER),  # of HTTP
    sa.Column("last_error", sa.Text),
    sqlite_with_rowid=False,
)

_partial("ix_deliveries_due", deliveries.c.next_at.is_not(None), deliveries.c.next_at, deliveries.c.id)
sa.Index("ix_deliveries_owner", deliveries.c.owner, deliveries.c.created_at, deliveries.c.id)
sa.Index("ix_deliveries_job", deliveries.c.job_id)


def insert(table: sa.Table) -> postgresql.Insert:
    """An INSERT that can say ON CONFLICT; Core has no common word for it, though SQLite and PostgreSQL write it alike."""
    return postgresql.insert(table)
