"""Tables of walkie-talkies."""

from sqlalchemy import Boolean, Column, Float, String, Table

from storage.columns import Delayed, Devices, Floors, RaisedUsers, SavedLevels, Users, Utc, Word
from storage.dialect import BIG
from storage.records import FloorMarkKind, PermitSource
from storage.tables.schema import TREE, metadata

floor_marks = Table(
    "floor_marks",
    metadata,
    Column("room_id", String(255), primary_key=True),
    Column("position", BIG, primary_key=True, autoincrement=False),
    Column("kind", Word(FloorMarkKind), primary_key=True),
    Column("users", Users, nullable=False),
    Column("ours", Boolean, nullable=False),
    Column("locked", Boolean, nullable=False),
    Column("noted_at", Utc, nullable=False, index=True),
)


walkies = Table(
    "walkies",
    metadata,
    Column("room_id", String(255), primary_key=True),
    Column("on", Boolean, nullable=False),
    Column("floor_s", Float, nullable=False),
    Column("guard_s", Float, nullable=False),
    Column("floor", Floors, nullable=False),
    Column("panel", String(255)),
    Column("locked", Boolean, nullable=False),
    Column("saved", SavedLevels, nullable=False),
    Column("raised", RaisedUsers, nullable=False),
    Column("shown", TREE),
    Column("delayed", Delayed),
    Column("hindered", Boolean, nullable=False),
    Column("pinned", String(255)),
)


permits = Table(
    "permits",
    metadata,
    Column("room_id", String(255), primary_key=True),
    Column("user_id", String(255), primary_key=True),
    Column("source", Word(PermitSource), primary_key=True),
    Column("position", BIG, nullable=False),
    Column("receive", Boolean, nullable=False),
    Column("send", Boolean, nullable=False),
    Column("expires_at", Utc),
    Column("devices", Devices),
    Column("written", Boolean, nullable=False),
)
