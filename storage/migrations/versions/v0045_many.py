"""Processes beside the bot: workers and the jobs that they have claimed, secrets that all share, live listening.

Revision ID: 0045
Revises: 0044
"""

import sqlalchemy as sa
from alembic import op

BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")

revision = "0045"
down_revision = "0044"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "workers",
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("host", sa.String(255), nullable=False),
        sa.Column("since", sa.DateTime(), nullable=False),
        sa.Column("until", sa.DateTime(), nullable=False),
    )
    op.add_column("jobs", sa.Column("worker", sa.String(64)))
    op.create_table(
        "secrets",
        sa.Column("name", sa.String(32), primary_key=True),
        sa.Column("value", sa.LargeBinary(), nullable=False),
    )
    op.create_table(
        "live_listening",
        sa.Column("recording_id", BIG, primary_key=True, autoincrement=False),
        sa.Column("heard_at", sa.DateTime(), nullable=False, index=True),
    )
