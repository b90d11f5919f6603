"""Which encrypted messages were read; and what `publish private` has closed stays closed.

Revision ID: 0004
Revises: 0003
"""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "messages",
        sa.Column("session_id", sa.String(length=255), nullable=False),
        sa.Column("message_index", BIG, autoincrement=False, nullable=False),
        sa.Column("event_id", sa.String(length=255), nullable=False),
        sa.Column("heard_at", sa.DateTime(), nullable=False),
        sa.PrimaryKeyConstraint("session_id", "message_index", name=op.f("pk_messages")),
    )
    op.create_index(op.f("ix_messages_event_id"), "messages", ["event_id"])
    op.create_index(op.f("ix_messages_heard_at"), "messages", ["heard_at"])
    close_what_is_private()


def close_what_is_private() -> None:
    """Make recordings private that belong to podcasts which are private now, or that began before their room was last
    made public: nobody can tell which of them `publish private` had closed. Recordings found in the history (`past`)
    were made public by their speaker, and stay so in a public podcast."""
    op.execute(
        """
        WITH RECURSIVE line(room_id, present) AS (
            SELECT room_id, room_id FROM rooms WHERE room_id NOT IN (SELECT room_id FROM heirs)
            UNION ALL
            SELECT heirs.room_id, line.present FROM heirs JOIN line ON heirs.heir = line.room_id
        )
        UPDATE recordings SET public = FALSE
        WHERE public AND room_id IN (
            SELECT line.room_id FROM line JOIN rooms ON rooms.room_id = line.present WHERE rooms.visibility = 'private'
        )
        """
    )
    op.execute(
        """
        UPDATE recordings SET public = FALSE
        WHERE public AND NOT past AND position <= (
            SELECT public_since FROM rooms WHERE rooms.room_id = recordings.room_id AND rooms.visibility = 'public'
        )
        """
    )
