"""Calls: what rooms want of them, their stems, times away, turns and events, and whom they were told to.

Revision ID: 0035
Revises: 0034
"""

import sqlalchemy as sa
from alembic import op

BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")

revision = "0035"
down_revision = "0034"
branch_labels = None
depends_on = None


def upgrade() -> None:
    for name in ("calls_on", "call_wanted"):
        op.add_column("rooms", sa.Column(name, sa.Boolean(), nullable=False, server_default="0"))
    op.add_column("recordings", sa.Column("protocol", sa.String(32)))
    op.add_column("recordings", sa.Column("call_id", sa.String(255)))
    for name in ("stems", "aways", "turns"):
        op.add_column("recordings", sa.Column(name, sa.JSON(), nullable=False, server_default="[]"))
    op.add_column("recordings", sa.Column("notice", sa.String(255)))
    op.add_column("chunks", sa.Column("stem", sa.Integer()))
    op.add_column("chunks", sa.Column("at", BIG))
    op.create_table(
        "call_events",
        sa.Column("id", BIG, primary_key=True, autoincrement=True),
        sa.Column("recording_id", BIG, sa.ForeignKey("recordings.id", ondelete="CASCADE"), nullable=False, index=True),
        sa.Column("at", BIG, nullable=False),
        sa.Column("user_id", sa.String(255), nullable=False),
        sa.Column("what", sa.String(32), nullable=False),
        sa.Column("device_id", sa.String(255), nullable=False),
    )
    op.create_table(
        "call_told",
        sa.Column("recording_id", BIG, sa.ForeignKey("recordings.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("user_id", sa.String(255), primary_key=True),
    )
