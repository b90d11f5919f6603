"""The files of stems that are whole: an index by blob of what recordings of calls list.

Revision ID: 0036
Revises: 0035
"""

import sqlalchemy as sa
from alembic import op

BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")

revision = "0036"
down_revision = "0035"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "stem_blobs",
        sa.Column("recording_id", BIG, sa.ForeignKey("recordings.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("number", sa.Integer(), primary_key=True),
        sa.Column("blob", sa.String(64), nullable=False, index=True),
        sa.Column("bytes", BIG, nullable=False),
    )
