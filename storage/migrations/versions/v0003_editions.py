"""Editions of chunks and tracks, by which what is kept in memory is known to be right.

Revision ID: 0003
Revises: 0002
"""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    for table, column in (("recordings", "chunks_edition"), ("tracks", "edition")):
        op.add_column(table, sa.Column(column, sa.String(length=16), server_default="", nullable=False))
