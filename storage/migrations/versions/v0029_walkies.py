"""Walkie-talkies: their floors, the power levels to be put back, and the permits of members.

Revision ID: 0029
Revises: 0028
"""

import sqlalchemy as sa
from alembic import op

BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")

revision = "0029"
down_revision = "0028"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "walkies",
        sa.Column("room_id", sa.String(255), primary_key=True),
        sa.Column("on", sa.Boolean(), nullable=False),
        sa.Column("floor_s", sa.Float(), nullable=False),
        sa.Column("guard_s", sa.Float(), nullable=False),
        sa.Column("floor", sa.JSON(), nullable=False),
        sa.Column("panel", sa.String(255)),
        sa.Column("locked", sa.Boolean(), nullable=False),
        sa.Column("saved", sa.JSON(), nullable=False),
        sa.Column("raised", sa.JSON(), nullable=False),
        sa.Column("shown", sa.JSON()),
        sa.Column("delayed", sa.JSON()),
        sa.Column("hindered", sa.Boolean(), nullable=False),
    )
    op.create_table(
        "permits",
        sa.Column("room_id", sa.String(255), primary_key=True),
        sa.Column("user_id", sa.String(255), primary_key=True),
        sa.Column("source", sa.String(32), primary_key=True),
        sa.Column("position", BIG, nullable=False),
        sa.Column("receive", sa.Boolean(), nullable=False),
        sa.Column("send", sa.Boolean(), nullable=False),
        sa.Column("expires_at", sa.DateTime()),
        sa.Column("devices", sa.JSON()),
        sa.Column("written", sa.Boolean(), nullable=False),
    )
