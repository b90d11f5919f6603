"""Tables of episodes, and of other files that are made from whole recordings."""

from sqlalchemy import Boolean, Column, ForeignKey, Integer, String, Table, Text

from storage.columns import Chapters, Lost, Source, Utc
from storage.dialect import BIG, NEVER_AGAIN
from storage.tables.schema import metadata

episodes = Table(
    "episodes",
    metadata,
    Column("recording_id", BIG, ForeignKey("recordings.id", ondelete="CASCADE"), primary_key=True, autoincrement=False),
    Column("guid", String(64), nullable=False, unique=True),
    Column("blob", String(64), nullable=False, index=True),
    Column("bytes", BIG, nullable=False),
    Column("samples", BIG, nullable=False),
    Column("made_at", Utc, nullable=False),
    Column("published_at", Utc),
    Column("fingerprint", String(64), nullable=False),
    Column("announced", Boolean, nullable=False),
    Column("loss", Lost, nullable=False),
    Column("chapters", Chapters, nullable=False, server_default="[]"),
    Column("titled", Text),
    Column("credited", Text),
    Column("head", Integer, nullable=False, server_default="0"),
    Column("lost_at", Utc),
    Column("unjoined", String(64)),
)


handed_back = Table(
    "handed_back",
    metadata,
    Column("id", BIG, primary_key=True, autoincrement=True),
    Column("recording_id", BIG, ForeignKey("recordings.id", ondelete="CASCADE"), nullable=False, index=True),
    Column("fingerprint", String(64), nullable=False),
    Column("part", Integer, nullable=False),
    Column("parts", Integer, nullable=False),
    Column("first", BIG, nullable=False),
    Column("samples", BIG, nullable=False),
    Column("bytes", BIG, nullable=False),
    Column("sha256", String(64), nullable=False),
    Column("replaces", String(255)),
    Column("source", Source),
    Column("event_id", String(255)),
    Column("withdrawn", Boolean, nullable=False),
    Column("transmission", String(255)),
    **NEVER_AGAIN,
)


originals = Table(
    "originals",
    metadata,
    Column("recording_id", BIG, ForeignKey("recordings.id", ondelete="CASCADE"), primary_key=True, autoincrement=False),
    Column("fingerprint", String(64), nullable=False),
    Column("blob", String(64), nullable=False, index=True),
    Column("bytes", BIG, nullable=False),
    Column("sha384", String(64), nullable=False),
)
