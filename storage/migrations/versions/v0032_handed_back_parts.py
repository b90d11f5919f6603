"""Transmissions that were handed back as voice messages, each by itself.

Revision ID: 0032
Revises: 0031
"""

import sqlalchemy as sa
from alembic import op

revision = "0032"
down_revision = "0031"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("handed_back", sa.Column("transmission", sa.String(255)))
