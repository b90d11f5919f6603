"""Tables of tracks."""

from sqlalchemy import Boolean, Column, Float, ForeignKey, Integer, LargeBinary, String, Table, Text

from storage.columns import StemParts, Utc, Word
from storage.dialect import BIG
from storage.records import Container
from storage.tables.schema import metadata

tracks = Table(
    "tracks",
    metadata,
    Column("recording_id", BIG, ForeignKey("recordings.id", ondelete="CASCADE"), primary_key=True, autoincrement=False),
    Column("channels", Integer, nullable=False),
    Column("kbps", Integer, nullable=False),
    Column("target_lufs", Float),
    Column("start_db", Float),
    Column("generation", Integer, nullable=False),
    Column("live_from", Utc),
    Column("edition", String(16), nullable=False, server_default=""),
)


cuts = Table(
    "cuts",
    metadata,
    Column("recording_id", BIG, ForeignKey("tracks.recording_id", ondelete="CASCADE"), primary_key=True),
    Column("ordinal", Integer, primary_key=True),
    Column("key", String(64), nullable=False),
    Column("samples", BIG, nullable=False),
    Column("blob", String(64)),
    Column("container", Word(Container), nullable=False),
    Column("continues", Boolean, nullable=False),
    Column("gains", LargeBinary),
    Column("level", Text),
    Column("off_by", BIG, nullable=False),
    Column("parts", StemParts),  # of a window of a call
    Column("kept", LargeBinary),
    Column("peaks", LargeBinary),  # of 10 ms each
)


extents = Table(
    "extents",
    metadata,
    Column("recording_id", BIG, ForeignKey("tracks.recording_id", ondelete="CASCADE"), primary_key=True),
    Column("first", BIG, primary_key=True),
    Column("frames", BIG, nullable=False),
    Column("blob", String(64), nullable=False, index=True),
    Column("offset", BIG, nullable=False),
)
