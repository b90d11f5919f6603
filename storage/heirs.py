"""Rooms that were upgraded: a podcast outlives its room (Client-Server API, room upgrades).

The rooms of one podcast stand in a line, each the heir of the one before. The first gives it its names: key, GUID and
personal addresses. The last, the present one, gives the rights: its members, moderators and visibility decide.
"""

from collections.abc import Sequence
from dataclasses import replace

from sqlalchemy import ColumnElement, select

from storage import rooms
from storage.database import Connection
from storage.records import Room, RoomId
from storage.tables import heirs

MOST_ROOMS = 50
"""In one line: each look at a podcast walks along it."""


async def line(db: Connection, room_id: RoomId) -> tuple[RoomId, ...]:
    """The rooms of a room's podcast, the oldest first, the present one last; mostly the room alone."""
    found = [room_id]
    while (before := await _neighbour(db, heirs.c.room_id, heirs.c.heir == found[0])) is not None:
        found.insert(0, before)
    while (after := await _neighbour(db, heirs.c.heir, heirs.c.room_id == found[-1])) is not None:
        found.append(after)
    return tuple(found)


async def _neighbour(db: Connection, column: ColumnElement[str], where: ColumnElement[bool]) -> RoomId | None:
    found = (await db.execute(select(column).where(where))).scalar_one_or_none()
    return RoomId(found) if found is not None else None


async def present(db: Connection, room_id: RoomId) -> RoomId:
    """The room that a room's podcast has come to."""
    return (await line(db, room_id))[-1]


async def podcast(db: Connection, line: Sequence[RoomId], names: Room | None = None) -> Room:
    """The podcast of a line of known rooms as if it were one room: the present one, under the key and GUID of `names`
    (else of the first). The revision rises with a change in any of them. To be looked at, never to be saved.
    """
    if names is not None and len(line) == 1:
        return names
    every = []
    for room_id in line:
        found = await rooms.room(db, room_id)
        assert found is not None, "an heir and who left it something are known rooms"
        every.append(found)
    named = names or every[0]
    return replace(
        every[-1],
        key=named.key,
        podcast_guid=named.podcast_guid,
        revision=sum(room.revision for room in every),
        changed_at=max(room.changed_at for room in every),
    )


async def inherit(db: Connection, old: RoomId, new: RoomId) -> bool:
    """`new` goes on with the podcast of `old`, for good. False, and nothing is changed, where `old` has an heir or
    `new` is one, or where the line would be a ring or too long. Both rooms are known.
    """
    before, after = await line(db, old), await line(db, new)
    if before[-1] != old or after[0] != new or new in before or len(before) + len(after) > MOST_ROOMS:
        return False
    await db.execute(heirs.insert().values(room_id=old, heir=new))
    return True
