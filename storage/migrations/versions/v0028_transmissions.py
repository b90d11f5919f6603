"""Walkie-talkies: broadcasts as transmissions of a session, and the marks in the timeline that tell who has the floor.

Revision ID: 0028
Revises: 0027
"""

import sqlalchemy as sa
from alembic import op

BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")

revision = "0028"
down_revision = "0027"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("recordings", sa.Column("transmissions", sa.JSON(), nullable=False, server_default="[]"))
    op.create_table(
        "transmissions",
        sa.Column("event_id", sa.String(255), primary_key=True),
        sa.Column("recording_id", BIG, sa.ForeignKey("recordings.id", ondelete="CASCADE"), nullable=False),
    )
    op.create_index("ix_transmissions_recording_id", "transmissions", ["recording_id"])
    op.create_table(
        "floor_marks",
        sa.Column("room_id", sa.String(255), primary_key=True),
        sa.Column("position", BIG, primary_key=True, autoincrement=False),
        sa.Column("kind", sa.String(32), primary_key=True),
        sa.Column("users", sa.JSON(), nullable=False),
        sa.Column("ours", sa.Boolean(), nullable=False),
        sa.Column("locked", sa.Boolean(), nullable=False),
        sa.Column("noted_at", sa.DateTime(), nullable=False),
    )
    op.create_index("ix_floor_marks_noted_at", "floor_marks", ["noted_at"])
