"""Episodes: the bytes before the sound, and the loss of a file.

Revision ID: 0040
Revises: 0039
"""

import sqlalchemy as sa
from alembic import op

revision = "0040"
down_revision = "0039"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("episodes", sa.Column("head", sa.Integer(), nullable=False, server_default="0"))
    op.add_column("episodes", sa.Column("lost_at", sa.DateTime()))
