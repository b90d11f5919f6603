"""Whether who redacted an event that had not come yet had the power for it when they said so.

Revision ID: 0010
Revises: 0009
"""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("redacted", sa.Column("may", sa.Boolean(), nullable=True))
