"""Tables of rooms."""

from sqlalchemy import Boolean, Column, ForeignKey, Integer, String, Table, Text

from storage.columns import Kept, Texts, Users, Utc, Word
from storage.dialect import BIG
from storage.records import Announce, Behind, Visibility
from storage.tables.schema import TREE, metadata

rooms = Table(
    "rooms",
    metadata,
    Column("room_id", String(255), primary_key=True),
    Column("key", String(64), nullable=False, unique=True),
    Column("podcast_guid", String(36), nullable=False),
    Column("joined", Boolean, nullable=False),
    Column("recording_on", Boolean, nullable=False),
    Column("visibility", Word(Visibility), nullable=False),
    Column("public_since", BIG),
    Column("encrypted", Boolean, nullable=False),
    Column("direct", Boolean, nullable=False),
    Column("inviter", String(255)),
    Column("revision", Integer, nullable=False),
    Column("changed_at", Utc, nullable=False),
    Column("cover", String(64)),
    Column("cover_of", Text),
    Column("told_at", BIG, server_default="0"),
    Column("told_by", String(255)),
    Column("messages_since", BIG),
    Column("messages_wait", Boolean, nullable=False, server_default="0"),
    Column("calls_on", Boolean, nullable=False, server_default="0"),
    Column("call_wanted", Boolean, nullable=False, server_default="0"),
    Column("announce", Word(Announce), nullable=False, server_default="quiet"),
    Column("language", String(16)),
    Column("retention", Kept, nullable=False, server_default="{}"),
    Column("review", Boolean, nullable=False, server_default="0"),
    Column("replay", Boolean, nullable=False, server_default="0"),
    Column("speakers", Users),
    Column("podcast", Texts, nullable=False, server_default="{}"),
    Column("own_cover", String(64)),
    Column("own_cover_event", String(255), index=True),
    Column("own_cover_room", String(255)),
    Column("own_cover_sender", String(255)),
    Column("closed_since", BIG),
    Column("behind", Word(Behind)),
    Column("studio", Boolean, nullable=False, server_default="1"),
    Column("studio_events", Boolean, nullable=False, server_default="0"),
)


room_state = Table(
    "room_state",
    metadata,
    Column("room_id", String(255), primary_key=True),
    Column("type", String(255), primary_key=True),
    Column("state_key", String(255), primary_key=True),
    Column("sender", String(255), nullable=False),
    Column("content", TREE, nullable=False),
    Column("position", BIG, nullable=False),
    Column("event_id", String(255)),
    Column("sent_at", Utc),
)


heirs = Table(
    "heirs",
    metadata,
    Column("room_id", String(255), ForeignKey("rooms.room_id"), primary_key=True),
    Column("heir", String(255), ForeignKey("rooms.room_id"), nullable=False, unique=True),
    Column("confirmed", Boolean, nullable=False, server_default="0"),  # by the old room's tombstone
)


hosts = Table(
    "hosts",
    metadata,
    Column("room_id", String(255), primary_key=True),
    Column("user_id", String(255), primary_key=True),
)


directs = Table(
    "directs",
    metadata,
    Column("user_id", String(255), primary_key=True),
    Column("room_id", String(255), nullable=False, unique=True),
    Column("invited_at", Utc, nullable=False),
)
