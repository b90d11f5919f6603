"""Tables of listeners, feeds and pictures."""

from sqlalchemy import Column, Index, Integer, String, Table, Text

from storage.columns import Utc
from storage.dialect import BIG
from storage.tables.schema import metadata

listeners = Table(
    "listeners",
    metadata,
    Column("room_id", String(255), primary_key=True),
    Column("user_id", String(255), primary_key=True),
    Column("generation", Integer, nullable=False),
    Column("token_sha256", String(64), nullable=False, unique=True),
    Column("next_generation", Integer),
    Column("next_sha256", String(64)),
    Index("ix_listeners_next_sha256", "next_sha256", unique=True),
)


listener_uses = Table(
    "listener_uses",
    metadata,
    Column("room_id", String(255), primary_key=True),
    Column("user_id", String(255), primary_key=True),
    Column("used_at", Utc, nullable=False),
    Column("app", String(64), nullable=False),
)


ended_addresses = Table(
    "ended_addresses",
    metadata,
    Column("token_sha256", String(64), primary_key=True),
    Column("ended_at", Utc, nullable=False),
)


feed_editions = Table(
    "feed_editions",
    metadata,
    Column("name", String(255), primary_key=True),
    Column("digest", String(64), nullable=False),
    Column("changed_at", Utc, nullable=False),
)


public_urls = Table(
    "public_urls",
    metadata,
    Column("url", String(512), primary_key=True),
    Column("since", Utc, nullable=False),
)


hub_notes = Table(
    "hub_notes",
    metadata,
    Column("room_id", String(255), primary_key=True),
    Column("revision", Integer, nullable=False),
)


portraits = Table(
    "portraits",
    metadata,
    Column("room_id", String(255), primary_key=True),
    Column("user_id", String(255), primary_key=True),
    Column("avatar", Text, nullable=False),
    Column("blob", String(64), index=True),
)


live_listening = Table(
    "live_listening",
    metadata,
    Column("recording_id", BIG, primary_key=True, autoincrement=False),
    Column("process", String(16), primary_key=True),
    Column("heard_at", Utc, nullable=False, index=True),
    Column("listeners", Integer, nullable=False),
)
