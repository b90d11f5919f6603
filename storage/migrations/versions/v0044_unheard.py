"""Times in which the sound of members of a call was not received.

Revision ID: 0044
Revises: 0043
"""

import sqlalchemy as sa
from alembic import op

revision = "0044"
down_revision = "0043"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("recordings", sa.Column("unheard", sa.JSON(), nullable=False, server_default="[]"))
