"""Heirs count once the old room's tombstone confirms them; those who let the bot in by `record on` are kept.

Revision ID: 0005
Revises: 0004
"""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("heirs", sa.Column("confirmed", sa.Boolean(), server_default="0", nullable=False))
    op.create_table(
        "hosts",
        sa.Column("room_id", sa.String(length=255), nullable=False),
        sa.Column("user_id", sa.String(length=255), nullable=False),
        sa.PrimaryKeyConstraint("room_id", "user_id", name="pk_hosts"),
    )
