"""The speakers of sessions, and the names that an episode's file holds.

Revision ID: 0027
Revises: 0026
"""

import sqlalchemy as sa
from alembic import op

revision = "0027"
down_revision = "0026"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("recordings", sa.Column("speakers", sa.JSON(), nullable=False, server_default="[]"))
    op.add_column("episodes", sa.Column("credited", sa.Text()))
