"""Ended addresses, editions of feeds, earlier public addresses, original sound, portraits.

Revision ID: 0038
Revises: 0037
"""

import sqlalchemy as sa
from alembic import op

BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")

revision = "0038"
down_revision = "0037"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "ended_addresses",
        sa.Column("token_sha256", sa.String(64), primary_key=True),
        sa.Column("ended_at", sa.DateTime(), nullable=False),
    )
    op.create_table(
        "feed_editions",
        sa.Column("name", sa.String(255), primary_key=True),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("changed_at", sa.DateTime(), nullable=False),
    )
    op.create_table(
        "public_urls",
        sa.Column("url", sa.String(512), primary_key=True),
        sa.Column("since", sa.DateTime(), nullable=False),
    )
    op.create_table(
        "originals",
        sa.Column("recording_id", BIG, sa.ForeignKey("recordings.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("fingerprint", sa.String(64), nullable=False),
        sa.Column("blob", sa.String(64), nullable=False, index=True),
        sa.Column("bytes", BIG, nullable=False),
        sa.Column("sha384", sa.String(64), nullable=False),
    )
    op.create_table(
        "portraits",
        sa.Column("room_id", sa.String(255), primary_key=True),
        sa.Column("user_id", sa.String(255), primary_key=True),
        sa.Column("avatar", sa.Text(), nullable=False),
        sa.Column("blob", sa.String(64), index=True),
    )
