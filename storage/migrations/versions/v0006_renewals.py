"""A personal address that is renewed works until the new one was said.

Revision ID: 0006
Revises: 0005
"""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("listeners", sa.Column("next_generation", sa.Integer(), nullable=True))
    op.add_column("listeners", sa.Column("next_sha256", sa.String(length=64), nullable=True))
    op.create_index("ix_listeners_next_sha256", "listeners", ["next_sha256"], unique=True)
