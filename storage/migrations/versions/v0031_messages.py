"""Indexes that lead to the messages beside one, and the messages that wait for their keys.

Revision ID: 0031
Revises: 0030
"""

import sqlalchemy as sa
from alembic import op

BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")

revision = "0031"
down_revision = "0030"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.drop_index("ix_recordings_of_kind", "recordings")
    op.create_index("ix_recordings_of_kind", "recordings", ["room_id", "kind", "thread", "position"])
    op.drop_index("ix_chunks_recording_id", "chunks")
    op.create_index("ix_chunks_in_order", "chunks", ["recording_id", "position"])
    op.create_table(
        "sealed_messages",
        sa.Column("id", BIG, primary_key=True, autoincrement=True),
        sa.Column("event_id", sa.String(255), nullable=False, unique=True),
        sa.Column("room_id", sa.String(255), nullable=False),
        sa.Column("sender", sa.String(255), nullable=False),
        sa.Column("heard_at", sa.DateTime(), nullable=False),
    )
    op.create_index("ix_sealed_messages_room", "sealed_messages", ["room_id", "id"])
    op.create_index("ix_sealed_messages_sender", "sealed_messages", ["sender"])
    op.create_index("ix_sealed_messages_heard_at", "sealed_messages", ["heard_at"])
