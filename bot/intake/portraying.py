"""Orders of portraits: when a speaker is published, has another avatar, leaves, or is to be forgotten."""

from collections.abc import Collection
from datetime import datetime

from bot import orders
from bot.intake import consent
from storage import heirs, jobs, portraits, spoken
from storage.database import Connection
from storage.records import RecordingId, RoomId, UserId


async def add(db: Connection, room_id: RoomId, speakers: Collection[UserId], now: datetime) -> None:
    """Order the portraits of speakers of a recording who have none so far; later ones follow their avatars."""
    known = await portraits.of_users(db, [room_id], speakers)
    for user_id in speakers:
        if (room_id, user_id) not in known:
            await jobs.add(db, orders.MakePortrait(room_id, user_id).job(), now)


async def missing(db: Connection, most: int) -> list[orders.MakePortrait]:
    """Return the orders of portraits that speakers of episodes lack, and may have; for so many at most."""
    looked_at: set[tuple[RoomId, UserId]] = set()
    lacking: list[orders.MakePortrait] = []
    last: RecordingId | None = RecordingId(0)
    while last is not None and len(lacking) < most:
        last, heard = await portraits.unportrayed_after(db, last)
        for room_id, user_id in sorted(heard - looked_at):
            if await may_show(db, room_id, user_id):
                lacking.append(orders.MakePortrait(room_id, user_id))
        looked_at |= heard
    return lacking[:most]


async def may_show(db: Connection, room_id: RoomId, user_id: UserId) -> bool:
    """Return whether a user may have a portrait in a room: they speak there, and may be recorded."""
    return await spoken.speaks_in(db, room_id, user_id) and await consent.may_record(db, room_id, user_id)


async def look(db: Connection, room_id: RoomId, users: Collection[UserId], now: datetime) -> None:
    """Have the portraits of these users looked at again, in this room and in the rooms that its podcast had before."""
    line = await heirs.line(db, room_id)
    for each, user_id in sorted(await portraits.of_users(db, line, users)):
        await jobs.add(db, orders.MakePortrait(each, user_id).job(), now)


async def remove(db: Connection, user_id: UserId, room_ids: Collection[RoomId] | None, now: datetime) -> None:
    """Remove a user's portraits in these rooms (None: in all) at once."""
    blobs = await portraits.remove(db, user_id, room_ids)
    if blobs:
        await jobs.add(db, orders.Forget(tuple(sorted(blobs))).job(), now)
