"""When a room was told what is recorded there, and by which notice; those that are known count as told.

Revision ID: 0008
Revises: 0007
"""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.add_column("rooms", sa.Column("told_at", BIG, server_default="0", nullable=True))
    op.add_column("rooms", sa.Column("told_by", sa.String(length=255), nullable=True))
