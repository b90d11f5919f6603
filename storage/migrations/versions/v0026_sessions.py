"""Sessions of voice messages: their thread, the names of their speakers, where they are recorded, and which were erased.

Revision ID: 0026
Revises: 0025
"""

import sqlalchemy as sa
from alembic import op

BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")

revision = "0026"
down_revision = "0025"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("rooms", sa.Column("messages_since", BIG))
    op.add_column("recordings", sa.Column("thread", sa.String(255)))
    op.create_index("ix_recordings_of_kind", "recordings", ["room_id", "kind", "position"])
    op.add_column("chunks", sa.Column("sender_name", sa.Text()))
    op.add_column("chunks", sa.Column("transmission", sa.String(255)))
    op.create_index("ix_chunks_transmission", "chunks", ["transmission"])
    op.create_table(
        "erased_messages",
        sa.Column("event_id", sa.String(255), primary_key=True),
        sa.Column("recording_id", BIG, sa.ForeignKey("recordings.id", ondelete="CASCADE"), nullable=False),
    )
