"""Cuts: the stems of a window of a call, and the gains that were decided for some of them.

Revision ID: 0036
Revises: 0035
"""

import sqlalchemy as sa
from alembic import op

revision = "0036"
down_revision = "0035"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("cuts", sa.Column("parts", sa.JSON()))
    op.add_column("cuts", sa.Column("kept", sa.LargeBinary()))
