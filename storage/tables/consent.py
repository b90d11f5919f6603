"""Tables of objections, notices, questions and changes."""

from sqlalchemy import Boolean, Column, Index, String, Table, Text

from storage.columns import Utc, Words
from storage.dialect import BIG, NEVER_AGAIN
from storage.tables.schema import metadata

changes = Table(
    "changes",
    metadata,
    Column("id", BIG, primary_key=True, autoincrement=True),
    Column("at", Utc, nullable=False),
    Column("room_id", String(255)),
    Column("by", String(255)),
    Column("what", String(32), nullable=False),
    Column("subject", String(255)),
    Column("before", Text),
    Column("after", Text),
    Column("event_id", String(255)),
    Index("ix_changes_newest", "room_id", "id"),
    **NEVER_AGAIN,
)


optouts = Table(
    "optouts",
    metadata,
    Column("user_id", String(255), primary_key=True),
    Column("room_id", String(255), primary_key=True),
    Column("position", BIG, primary_key=True, autoincrement=False),
    Column("out", Boolean, nullable=False),
    Column("at", Utc, nullable=False),
    Column("event_id", String(255)),
)


questions = Table(
    "questions",
    metadata,
    Column("command", String(255), primary_key=True),
    Column("room_id", String(255), nullable=False, index=True),
    Column("asker", String(255), nullable=False),
    Column("verb", String(32), nullable=False),
    Column("words", Words, nullable=False),
    Column("asked_at", Utc, nullable=False, index=True),
    Column("encrypted", Boolean, nullable=False),
    Column("event_id", String(255)),
    Column("answered", Boolean, nullable=False),
    Column("about", String(255), nullable=False, server_default=""),
    Column("thread", String(255)),
    Column("sent_at", Utc),
    Column("said_at", Utc),
)


consent_notices = Table(
    "consent_notices",
    metadata,
    Column("event_id", String(255), primary_key=True),
    Column("room_id", String(255), nullable=False, index=True),
    Column("said_at", Utc, nullable=False),
    Column("body", Text, nullable=False),
    Column("pinned", Boolean, nullable=False),
)
