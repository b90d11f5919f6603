"""Cuts: the stems of a window of a call, and the gains that were decided for some of them.

Revision ID: 0037
Revises: 0036
"""

import sqlalchemy as sa
from alembic import op

revision = "0037"
down_revision = "0036"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("cuts", sa.Column("parts", sa.JSON()))
    op.add_column("cuts", sa.Column("kept", sa.LargeBinary()))
