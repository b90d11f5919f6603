"""Tables of the store itself: its settings, secrets, owner and marks of blobs."""

from sqlalchemy import Boolean, Column, Index, Integer, LargeBinary, String, Table, Text

from storage.columns import Utc
from storage.dialect import BIG
from storage.tables.schema import metadata

meta = Table("meta", metadata, Column("key", String(64), primary_key=True), Column("value", Text, nullable=False))


secrets = Table(
    "secrets",
    metadata,
    Column("name", String(32), primary_key=True),
    Column("value", LargeBinary, nullable=False),
)


owner = Table(
    "owner",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),  # 1: there is one row
    Column("epoch", BIG, nullable=False),
    Column("holder", String(300), nullable=False),
    Column("since", Utc, nullable=False),
    Column("until", Utc, nullable=False),
    Column("ready", Boolean, nullable=False),
    Column("heard_at", Utc),
)


blob_marks = Table(
    "blob_marks",
    metadata,
    Column("blob", String(64), primary_key=True),
    Column("token", String(32), primary_key=True),
    Column("leaving", Boolean, nullable=False),
    Column("since", Utc, nullable=False),
    Index("ix_blob_marks_token", "token"),
)
