"""Tables of what was heard of the rooms' timelines, and of what is still to be read."""

from sqlalchemy import Boolean, Column, ForeignKey, Index, Integer, String, Table, Text, UniqueConstraint

from storage.columns import Utc
from storage.dialect import BIG, NEVER_AGAIN, only_where
from storage.tables.schema import TREE, metadata

journal = Table(
    "journal",
    metadata,
    Column("position", BIG, primary_key=True, autoincrement=True),
    Column("event_id", String(255), nullable=False, unique=True),
    Column("room_id", String(255), nullable=False, index=True),
    Column("event", TREE),  # None once it is handled and nothing waits for it
    Column("encrypted", Boolean, nullable=False),
    Column("clear_relation", TREE),
    Column("session_id", String(255), index=True),
    Column("history", Boolean, nullable=False),
    Column("received_at", Utc, nullable=False),
    Column("handled", Boolean, nullable=False),
    Index("ix_journal_waits", "position", **only_where("NOT handled")),
    Index("ix_journal_waits_in", "room_id", "position", **only_where("NOT handled")),
    Index("ix_journal_sealed", "received_at", **only_where("NOT (session_id IS NULL OR event IS NULL)")),
    **NEVER_AGAIN,
)


messages = Table(
    "messages",
    metadata,
    Column("session_id", String(255), primary_key=True),
    Column("message_index", BIG, primary_key=True, autoincrement=False),
    Column("event_id", String(255), nullable=False, index=True),
    Column("heard_at", Utc, nullable=False, index=True),
)


withheld = Table(
    "withheld",
    metadata,
    Column("session_id", String(255), primary_key=True),
    Column("sender", String(255), primary_key=True),
    Column("code", String(64), nullable=False),
    Column("noted_at", Utc, nullable=False),
)


redacted = Table(
    "redacted",
    metadata,
    Column("id", BIG, primary_key=True, autoincrement=True),
    Column("room_id", String(255), nullable=False),
    Column("event_id", String(255), nullable=False),
    Column("sender", String(255), nullable=False),
    Column("noted_at", Utc, nullable=False),
    Column("may", Boolean),  # redact others' events, by power when it was said
    UniqueConstraint("event_id", "sender", "room_id"),
    Index("ix_redacted_newest", "room_id", "id"),
)


sealed_messages = Table(
    "sealed_messages",
    metadata,
    Column("id", BIG, primary_key=True, autoincrement=True),
    Column("event_id", String(255), nullable=False, unique=True),
    Column("room_id", String(255), nullable=False),
    Column("sender", String(255), nullable=False, index=True),
    Column("heard_at", Utc, nullable=False, index=True),
    Index("ix_sealed_messages_room", "room_id", "id"),
)


gaps = Table(
    "gaps",
    metadata,
    Column("id", BIG, primary_key=True, autoincrement=True),
    Column("room_id", String(255), nullable=False, index=True),
    Column("low", BIG, nullable=False),
    Column("next_position", BIG, nullable=False),
    Column("cursor", Text, nullable=False),
    Column("mark", Text),
    Column("until_token", Text),
    Column("until_event", String(255)),
    Column("pages", Integer, nullable=False),
    Column("unclaimed", Integer, nullable=False),
    Column("seen_at", Utc, nullable=False),
    Column("hold_until", Utc, nullable=False),
    Column("walking", Boolean, nullable=False),
    **NEVER_AGAIN,
)


newest_heard = Table(
    "newest_heard",
    metadata,
    Column("room_id", String(255), primary_key=True),
    Column("event_id", String(255), nullable=False),
)


asked = Table(
    "asked",
    metadata,
    Column("recording_id", BIG, ForeignKey("recordings.id", ondelete="CASCADE"), primary_key=True, autoincrement=False),
    Column("answered_at", Utc, nullable=False),
)
