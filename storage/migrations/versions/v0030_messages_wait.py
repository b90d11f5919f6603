"""Rooms in which the recording of voice messages waits for the notice.

Revision ID: 0030
Revises: 0029
"""

import sqlalchemy as sa
from alembic import op

revision = "0030"
down_revision = "0029"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("rooms", sa.Column("messages_wait", sa.Boolean(), nullable=False, server_default="0"))
