"""Studios: broadcasts that are made beside the homeserver.

Revision ID: 0052
Revises: 0051
"""

import sqlalchemy as sa
from alembic import op

revision = "0052"
down_revision = "0051"
branch_labels = None
depends_on = None

BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.execute("CREATE TABLE live_listening_before AS SELECT recording_id, heard_at FROM live_listening")
    op.drop_table("live_listening")
    op.create_table(
        "live_listening",
        sa.Column("recording_id", BIG, primary_key=True, autoincrement=False),
        sa.Column("process", sa.String(16), primary_key=True),
        sa.Column("heard_at", sa.DateTime(), nullable=False, index=True),
        sa.Column("listeners", sa.Integer(), nullable=False),
    )
    op.execute(
        "INSERT INTO live_listening (recording_id, process, heard_at, listeners)"
        " SELECT recording_id, '', heard_at, 1 FROM live_listening_before"
    )
    op.drop_table("live_listening_before")
    op.add_column("rooms", sa.Column("studio", sa.Boolean(), nullable=False, server_default="1"))
    op.add_column("rooms", sa.Column("studio_events", sa.Boolean(), nullable=False, server_default="0"))
    op.add_column("recordings", sa.Column("via", sa.String(32)))
    op.add_column("recordings", sa.Column("cover", sa.String(64)))
    op.create_table(
        "studios",
        sa.Column("id", BIG, primary_key=True, autoincrement=True),
        sa.Column("key", sa.String(32), nullable=False, unique=True),
        sa.Column("room_id", sa.String(255), nullable=False),
        sa.Column("user_id", sa.String(255), nullable=False),
        sa.Column("source", sa.String(32), nullable=False),
        sa.Column("state", sa.String(32), nullable=False),
        sa.Column("made_at", sa.DateTime(), nullable=False),
        sa.Column("expires_at", sa.DateTime(), nullable=False),
        sa.Column("token_sha256", sa.String(64)),
        sa.Column("client", sa.String(64)),
        sa.Column("started_at", sa.DateTime()),
        sa.Column("heard_at", sa.DateTime()),
        sa.Column("ended_at", sa.DateTime()),
        sa.Column("changes", sa.Integer(), nullable=False),
        sa.Column("last", sa.Integer()),
        sa.Column("bytes", BIG, nullable=False),
        sa.Column("title", sa.Text()),
        sa.Column("description", sa.Text()),
        sa.Column("cover", sa.String(64)),
        sa.Column("info_event", sa.String(255)),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_studios_token_sha256", "studios", ["token_sha256"], unique=True)
    op.create_index("ix_studios_of", "studios", ["room_id", "user_id"])
    for column in ("state", "cover"):
        op.create_index(f"ix_studios_{column}", "studios", [column])
    op.create_table(
        "studio_slices",
        sa.Column("studio_id", BIG, sa.ForeignKey("studios.id", ondelete="CASCADE"), primary_key=True,
                  autoincrement=False),
        sa.Column("number", sa.Integer(), primary_key=True, autoincrement=False),
        sa.Column("blob", sa.String(64)),
        sa.Column("bytes", BIG, nullable=False),
        sa.Column("received_at", sa.DateTime(), nullable=False),
        sa.Column("duration_ms", sa.Integer()),
    )  # fmt: skip
    op.create_index("ix_studio_slices_blob", "studio_slices", ["blob"])
    op.create_table(
        "studio_events",
        sa.Column("id", BIG, primary_key=True, autoincrement=True),
        sa.Column("key", sa.String(32), nullable=False),
        sa.Column("name", sa.String(32), nullable=False),
        sa.Column("room_id", sa.String(255), nullable=False),
        sa.Column("made_at", sa.DateTime(), nullable=False),
        sa.Column("state", sa.String(32)),
        sa.Column("last", sa.Integer()),
        sa.Column("source", sa.JSON()),
        sa.Column("tried", sa.Boolean(), nullable=False),
        sa.Column("event_id", sa.String(255)),
        sa.Column("withdrawn", sa.Boolean(), nullable=False),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_studio_events_event_id", "studio_events", ["event_id"])
    op.create_index("ix_studio_events_of", "studio_events", ["key", "name"], unique=True)
