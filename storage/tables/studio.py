"""Tables of studios."""

from sqlalchemy import Boolean, Column, ForeignKey, Index, Integer, String, Table, Text

from storage.columns import Source, Utc, Word
from storage.dialect import BIG, NEVER_AGAIN
from storage.records import StudioSource, StudioState
from storage.tables.schema import metadata

studios = Table(
    "studios",
    metadata,
    Column("id", BIG, primary_key=True, autoincrement=True),
    Column("key", String(32), nullable=False, unique=True),
    Column("room_id", String(255), nullable=False),
    Column("user_id", String(255), nullable=False),
    Column("source", Word(StudioSource), nullable=False),
    Column("state", Word(StudioState), nullable=False, index=True),
    Column("made_at", Utc, nullable=False),
    Column("expires_at", Utc, nullable=False),
    Column("token_sha256", String(64)),
    Column("client", String(64)),
    Column("started_at", Utc),
    Column("heard_at", Utc),
    Column("ended_at", Utc),
    Column("changes", Integer, nullable=False),
    Column("last", Integer),
    Column("bytes", BIG, nullable=False),
    Column("title", Text),
    Column("description", Text),
    Column("cover", String(64), index=True),
    Column("info_event", String(255)),
    Index("ix_studios_token_sha256", "token_sha256", unique=True),
    Index("ix_studios_of", "room_id", "user_id"),
    **NEVER_AGAIN,
)


studio_slices = Table(
    "studio_slices",
    metadata,
    Column("studio_id", BIG, ForeignKey("studios.id", ondelete="CASCADE"), primary_key=True, autoincrement=False),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("blob", String(64), index=True),
    Column("bytes", BIG, nullable=False),
    Column("received_at", Utc, nullable=False),
    Column("duration_ms", Integer),
)


studio_events = Table(
    "studio_events",
    metadata,
    Column("id", BIG, primary_key=True, autoincrement=True),
    Column("key", String(32), nullable=False),
    Column("name", String(32), nullable=False),
    Column("room_id", String(255), nullable=False),
    Column("made_at", Utc, nullable=False),
    Column("state", String(32)),
    Column("last", Integer),
    Column("source", Source),
    Column("tried", Boolean, nullable=False),
    Column("event_id", String(255), index=True),
    Column("withdrawn", Boolean, nullable=False),
    Index("ix_studio_events_of", "key", "name", unique=True),
    **NEVER_AGAIN,
)
