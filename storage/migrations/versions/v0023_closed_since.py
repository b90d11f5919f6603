"""The position since which a room that closed itself to strangers opens nothing new.

Revision ID: 0023
Revises: 0022
"""

import sqlalchemy as sa
from alembic import op

revision = "0023"
down_revision = "0022"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("rooms", sa.Column("closed_since", sa.BigInteger().with_variant(sa.Integer(), "sqlite")))
