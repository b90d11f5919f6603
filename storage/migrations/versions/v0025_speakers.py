"""Indexes by which a member's recordings and their part of others are found.

Revision ID: 0025
Revises: 0024
"""

from alembic import op

revision = "0025"
down_revision = "0024"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index("ix_recordings_broadcaster", "recordings", ["broadcaster"])
    op.create_index("ix_chunks_sender", "chunks", ["sender"])
