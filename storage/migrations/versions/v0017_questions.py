"""Questions know the room that they are about and when they were said; recordings, the event that announced them.

Revision ID: 0017
Revises: 0016
"""

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("questions", sa.Column("about", sa.String(255), nullable=False, server_default=""))
    op.add_column("questions", sa.Column("thread", sa.String(255)))
    op.add_column("questions", sa.Column("sent_at", sa.DateTime()))
    op.add_column("questions", sa.Column("said_at", sa.DateTime()))
    op.add_column("recordings", sa.Column("announced_as", sa.String(255)))
