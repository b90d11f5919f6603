"""Policies of rooms, the log of changes, opt-outs, questions, and the notices that told rooms what is recorded.

Revision ID: 0016
Revises: 0015
"""

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None


def upgrade() -> None:
    for column in (
        sa.Column("announce", sa.String(32), nullable=False, server_default="quiet"),
        sa.Column("language", sa.String(16)),
        sa.Column("retention", sa.JSON(), nullable=False, server_default="{}"),
        sa.Column("review", sa.Boolean(), nullable=False, server_default="0"),
        sa.Column("replay", sa.Boolean(), nullable=False, server_default="0"),
        sa.Column("speakers", sa.JSON()),
        sa.Column("podcast", sa.JSON(), nullable=False, server_default="{}"),
        sa.Column("own_cover", sa.String(64)),
    ):
        op.add_column("rooms", column)
    for name in ("kept", "unreviewed"):
        op.add_column("recordings", sa.Column(name, sa.Boolean(), nullable=False, server_default="0"))
    op.add_column("recordings", sa.Column("expiry_told_at", sa.DateTime()))
    op.create_table(
        "changes",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), primary_key=True, autoincrement=True),
        sa.Column("at", sa.DateTime(), nullable=False),
        sa.Column("room_id", sa.String(255)),
        sa.Column("by", sa.String(255)),
        sa.Column("what", sa.String(32), nullable=False),
        sa.Column("subject", sa.String(255)),
        sa.Column("before", sa.Text()),
        sa.Column("after", sa.Text()),
        sa.Column("event_id", sa.String(255)),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_changes_newest", "changes", ["room_id", "id"])
    op.create_table(
        "optouts",
        sa.Column("user_id", sa.String(255), primary_key=True),
        sa.Column("room_id", sa.String(255), primary_key=True),
        sa.Column("at", sa.DateTime(), nullable=False),
        sa.Column("event_id", sa.String(255)),
    )
    op.create_table(
        "questions",
        sa.Column("command", sa.String(255), primary_key=True),
        sa.Column("room_id", sa.String(255), nullable=False),
        sa.Column("asker", sa.String(255), nullable=False),
        sa.Column("verb", sa.String(32), nullable=False),
        sa.Column("words", sa.JSON(), nullable=False),
        sa.Column("asked_at", sa.DateTime(), nullable=False),
        sa.Column("encrypted", sa.Boolean(), nullable=False),
        sa.Column("event_id", sa.String(255)),
        sa.Column("answered", sa.Boolean(), nullable=False),
    )
    op.create_index("ix_questions_room_id", "questions", ["room_id"])
    op.create_index("ix_questions_asked_at", "questions", ["asked_at"])
    op.create_table(
        "consent_notices",
        sa.Column("event_id", sa.String(255), primary_key=True),
        sa.Column("room_id", sa.String(255), nullable=False),
        sa.Column("said_at", sa.DateTime(), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("pinned", sa.Boolean(), nullable=False),
    )
    op.create_index("ix_consent_notices_room_id", "consent_notices", ["room_id"])
