"""Tables of calls."""

from sqlalchemy import Column, ForeignKey, Integer, String, Table

from storage.columns import Word
from storage.dialect import BIG
from storage.records import CallEventKind
from storage.tables.schema import metadata

call_events = Table(
    "call_events",
    metadata,
    Column("id", BIG, primary_key=True, autoincrement=True),
    Column("recording_id", BIG, ForeignKey("recordings.id", ondelete="CASCADE"), nullable=False, index=True),
    Column("at", BIG, nullable=False),
    Column("user_id", String(255), nullable=False),
    Column("what", Word(CallEventKind), nullable=False),
    Column("device_id", String(255), nullable=False),
)


call_told = Table(
    "call_told",
    metadata,
    Column("recording_id", BIG, ForeignKey("recordings.id", ondelete="CASCADE"), primary_key=True),
    Column("user_id", String(255), primary_key=True),
)


stem_blobs = Table(
    "stem_blobs",
    metadata,
    Column("recording_id", BIG, ForeignKey("recordings.id", ondelete="CASCADE"), primary_key=True),
    Column("number", Integer, primary_key=True),
    Column("blob", String(64), nullable=False, index=True),
    Column("bytes", BIG, nullable=False),
)
