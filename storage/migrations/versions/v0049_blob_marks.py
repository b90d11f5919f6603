"""Marks of blobs on their way into a media store or out of it.

Revision ID: 0049
Revises: 0048
"""

import sqlalchemy as sa
from alembic import op

revision = "0049"
down_revision = "0048"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "blob_marks",
        sa.Column("blob", sa.String(64), primary_key=True),
        sa.Column("token", sa.String(32), primary_key=True),
        sa.Column("leaving", sa.Boolean(), nullable=False),
        sa.Column("since", sa.DateTime(), nullable=False),
    )
    op.create_index("ix_blob_marks_token", "blob_marks", ["token"])
