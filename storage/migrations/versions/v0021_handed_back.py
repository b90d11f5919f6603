"""Voice messages that hold recordings.

Revision ID: 0021
Revises: 0020
"""

import sqlalchemy as sa
from alembic import op

revision = "0021"
down_revision = "0020"
branch_labels = None
depends_on = None

BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "handed_back",
        sa.Column("id", BIG, primary_key=True, autoincrement=True),
        sa.Column("recording_id", BIG, sa.ForeignKey("recordings.id", ondelete="CASCADE"), nullable=False),
        sa.Column("fingerprint", sa.String(64), nullable=False),
        sa.Column("part", sa.Integer(), nullable=False),
        sa.Column("parts", sa.Integer(), nullable=False),
        sa.Column("first", BIG, nullable=False),
        sa.Column("samples", BIG, nullable=False),
        sa.Column("bytes", BIG, nullable=False),
        sa.Column("sha256", sa.String(64), nullable=False),
        sa.Column("replaces", sa.String(255)),
        sa.Column("source", sa.JSON()),
        sa.Column("event_id", sa.String(255)),
        sa.Column("withdrawn", sa.Boolean(), nullable=False),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_handed_back_recording_id", "handed_back", ["recording_id"])
