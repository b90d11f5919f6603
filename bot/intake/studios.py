"""Studios: what is heard or said in a room may end the right to one.

A job looks at them (`orders.LookAtStudios`), as the layer of studios is above this one: it asks for the right as each
request of a studio does, and ends those that are good no more.
"""

from collections.abc import Iterable
from datetime import datetime

from bot import orders
from storage import heirs, jobs, studios
from storage.database import Connection
from storage.records import RoomId, UserId

CONCERNED = frozenset({"record", "speakers", "studio", "walkie"})
"""Policies of a room, as the log of changes calls them, that decide who may have a studio there."""


async def look(db: Connection, room_id: RoomId, now: datetime) -> None:
    """Have a room's studios looked at, if it has any."""
    if await studios.open_in(db, room_id):
        await jobs.add(db, orders.LookAtStudios(room_id).job(), now)


async def look_at_podcast(db: Connection, room_id: RoomId, now: datetime) -> None:
    """Have the studios looked at of all rooms of a room's podcast, which have their policies in common."""
    for each in await heirs.line(db, room_id):
        await look(db, each, now)


async def look_at_members(db: Connection, user_ids: Iterable[UserId], now: datetime) -> None:
    """Have the studios of these users looked at, in all rooms."""
    for user_id in user_ids:
        for studio in await studios.open_in(db, user_id=user_id):
            await jobs.add(db, orders.LookAtStudios(studio.room_id).job(), now)
