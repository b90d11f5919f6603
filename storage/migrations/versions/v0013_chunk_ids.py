"""Ids of chunks that are not their events', and a sender for each: a recording may have several speakers.

Revision ID: 0013
Revises: 0012
"""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
KEPT = [
    "recording_id",
    "position",
    "state",
    "reason",
    "source",
    "session_id",
    "announced_ms",
    "announced_bytes",
    "sent_at",
    "blob",
    "bytes",
    "facts",
    "answer",
    "sequence",
]
COPY = f"""
    INSERT INTO new_chunks (id, event_id, sender, attached, {", ".join(KEPT)})
    SELECT event_id, event_id, broadcaster, adopted, {", ".join(KEPT)}
    FROM chunks JOIN (SELECT id, broadcaster FROM recordings) AS owners ON owners.id = chunks.recording_id
    ORDER BY chunks.position
"""  # noqa: S608  names of columns
"""The chunks of all recordings so far are chunks of broadcasts: their senders are the broadcasters."""


def upgrade() -> None:
    if op.get_bind().dialect.name == "postgresql":  # where the names of keys are unique in the whole schema
        op.execute("ALTER TABLE chunks RENAME CONSTRAINT pk_chunks TO pk_old_chunks")
    op.create_table(
        "new_chunks",
        sa.Column("id", sa.String(length=255), nullable=False),
        sa.Column("recording_id", BIG, nullable=False),
        sa.Column("event_id", sa.String(length=255), nullable=True),
        sa.Column("sender", sa.String(length=255), nullable=False),
        sa.Column("position", BIG, nullable=False),
        sa.Column("state", sa.String(length=32), nullable=False),
        sa.Column("reason", sa.String(length=64), nullable=True),
        sa.Column("source", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("session_id", sa.String(length=255), nullable=True),
        sa.Column("announced_ms", BIG, nullable=True),
        sa.Column("announced_bytes", BIG, nullable=True),
        sa.Column("sent_at", sa.DateTime(), nullable=True),
        sa.Column("blob", sa.String(length=64), nullable=True),
        sa.Column("bytes", BIG, nullable=True),
        sa.Column("facts", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("answer", sa.String(length=160), nullable=True),
        sa.Column("sequence", BIG, nullable=True),
        sa.Column("attached", sa.Boolean(), nullable=False),
        sa.ForeignKeyConstraint(
            ["recording_id"], ["recordings.id"], name=op.f("fk_chunks_recording_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_chunks")),
        sa.UniqueConstraint("event_id", name=op.f("uq_chunks_event_id")),
    )
    op.execute(COPY)
    op.drop_table("chunks")
    op.rename_table("new_chunks", "chunks")
    for column in ("recording_id", "session_id", "blob"):
        op.create_index(op.f(f"ix_chunks_{column}"), "chunks", [column])
    candidates = sa.text("state = 'candidate'")
    op.create_index("ix_chunks_candidates", "chunks", ["state"], sqlite_where=candidates, postgresql_where=candidates)
