"""Tables of recordings and their chunks."""

from sqlalchemy import Boolean, Column, ForeignKey, Index, Integer, String, Table, Text, UniqueConstraint

from storage.columns import (
    Aways,
    Credits,
    Facts,
    Positions,
    Source,
    Stems,
    Transmissions,
    Turns,
    UnheardTimes,
    Utc,
    Word,
)
from storage.dialect import BIG, NEVER_AGAIN, only_where
from storage.records import CallProtocol, ChunkState, EndedBy, HistoryVisibility, RecordingKind, RecordingState, Via
from storage.tables.schema import metadata

recordings = Table(
    "recordings",
    metadata,
    Column("id", BIG, primary_key=True, autoincrement=True),
    Column("code", String(16), nullable=False, unique=True),
    Column("number", Integer, nullable=False),
    Column("room_id", String(255), nullable=False),
    Column("event_id", String(255), nullable=False, unique=True),
    Column("kind", Word(RecordingKind), nullable=False),
    Column("broadcaster", String(255), nullable=False, index=True),
    Column("state", Word(RecordingState), nullable=False, index=True),
    Column("position", BIG, nullable=False),
    Column("started_at", Utc, nullable=False),
    Column("heard_at", Utc, nullable=False),
    Column("ended_by", Word(EndedBy)),
    Column("ended_at", Utc),
    Column("quiet_until", Utc),
    Column("history_visibility", Word(HistoryVisibility), nullable=False),
    Column("public", Boolean, nullable=False),
    Column("past", Boolean, nullable=False),
    Column("title", Text),
    Column("description", Text),
    Column("kept", Boolean, nullable=False, server_default="0"),
    Column("unreviewed", Boolean, nullable=False, server_default="0"),
    Column("expiry_told_at", Utc),
    Column("announced_as", String(255)),
    Column("expiry_tried_at", Utc),
    Column("broadcaster_name", Text),
    Column("chunks_edition", String(16), nullable=False, server_default=""),
    Column("via", Word(Via)),
    Column("cover", String(64)),
    # of sessions alone
    Column("thread", String(255)),
    Column("speakers", Credits, nullable=False, server_default="[]"),
    Column("transmissions", Transmissions, nullable=False, server_default="[]"),
    Column("chosen", Boolean, nullable=False, server_default="0"),
    # of calls alone
    Column("protocol", Word(CallProtocol)),
    Column("call_id", String(255)),
    Column("stems", Stems, nullable=False, server_default="[]"),
    Column("aways", Aways, nullable=False, server_default="[]"),
    Column("unheard", UnheardTimes, nullable=False, server_default="[]"),
    Column("turns", Turns, nullable=False, server_default="[]"),
    Column("notice", String(255)),
    # of a voice broadcast alone
    Column("device_id", String(255)),
    Column("paused", Boolean, nullable=False),
    Column("announced_last", Integer),
    Column("resumes", Positions, nullable=False, server_default="[]"),
    UniqueConstraint("room_id", "number", name="uq_recordings_room_number"),
    Index("ix_recordings_newest", "room_id", "started_at", "id"),
    Index("ix_recordings_of_kind", "room_id", "kind", "thread", "position"),
    Index("ix_recordings_unreviewed", "room_id", "unreviewed"),
    **NEVER_AGAIN,
)


chunks = Table(
    "chunks",
    metadata,
    Column("id", String(255), primary_key=True),
    Column("recording_id", BIG, ForeignKey("recordings.id", ondelete="CASCADE"), nullable=False),
    Column("event_id", String(255), unique=True),
    Column("sender", String(255), nullable=False, index=True),
    Column("position", BIG, nullable=False),
    Column("state", Word(ChunkState), nullable=False),
    Column("reason", String(64)),
    Column("source", Source),
    Column("session_id", String(255), index=True),
    Column("announced_ms", BIG),
    Column("announced_bytes", BIG),
    Column("sent_at", Utc),
    Column("blob", String(64), index=True),
    Column("bytes", BIG),
    Column("facts", Facts),
    Column("answer", String(160)),
    # of sessions alone
    Column("sender_name", Text),
    Column("transmission", String(255), index=True),
    # of calls alone
    Column("stem", Integer),
    Column("at", BIG),
    # of a voice broadcast alone
    Column("sequence", BIG),
    Column("attached", Boolean, nullable=False),
    Index("ix_chunks_candidates", "state", **only_where("state = 'candidate'")),
    Index("ix_chunks_in_order", "recording_id", "position"),
)


erased_messages = Table(
    "erased_messages",
    metadata,
    Column("event_id", String(255), primary_key=True),
    Column("recording_id", BIG, ForeignKey("recordings.id", ondelete="CASCADE"), nullable=False),
)


transmissions = Table(
    "transmissions",
    metadata,
    Column("event_id", String(255), primary_key=True),
    Column("recording_id", BIG, ForeignKey("recordings.id", ondelete="CASCADE"), nullable=False, index=True),
)
