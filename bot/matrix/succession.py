"""A room was upgraded: whether the new one goes on with the old one's podcast (Client-Server API, room upgrades).

That a room names another as its predecessor gives it nothing, for anybody can make such a room. A moderator of both
must have let the bot into it; until then the archive stays under the old room's rules.
"""

import logging
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime

from bot import rules
from storage import archive, heirs, jobs, journal, rooms
from storage.database import Connection
from storage.records import JobKind, NewJob, Room, RoomId, UserId, Visibility

log = logging.getLogger(__name__)

Publishes = Callable[[UserId], bool]
"""Whether this moderator of a room may make its podcast public (`feeds.public_by`)."""


async def succeed(db: Connection, room: Room, host: UserId, now: datetime, *, publishes: Publishes) -> Room | None:
    """`room`, into which `host` let the bot, as the heir of its predecessor, and saved; None when it is not.

    It takes over whether the old one is recorded, its picture, and whether it is public: what begins in it from now
    on is, and nothing of before. What runs in the old room goes on there; what begins there is recorded no more.
    """
    named = rules.predecessor(await rooms.state(db, room.room_id, "m.room.create"))
    old = await rooms.room(db, named) if named else None
    if old is None or not await _moderates(db, host, old.room_id, room.room_id):
        return None
    if not await heirs.inherit(db, old.room_id, room.room_id):
        log.info("no heir: another is, or the line ends here: room=%s old=%s", room.room_id, old.room_id)
        return None
    public = old.visibility is Visibility.PUBLIC and publishes(host)
    heir = replace(
        room,
        recording_on=old.recording_on,
        visibility=Visibility.PUBLIC if public else Visibility.PRIVATE,
        public_since=await journal.position(db) if public else None,
        revision=room.revision + 1,
        changed_at=now,
    )
    if not public:
        await archive.close(db, await heirs.line(db, heir.room_id))
    heir = await _with_picture_of(db, old, heir, now)
    await rooms.save_room(db, heir)
    await rooms.save_room(db, replace(old, recording_on=False, changed_at=now))
    log.info("heir: room=%s old=%s recording=%s %s", heir.room_id, old.room_id, heir.recording_on, heir.visibility)
    return heir


async def _moderates(db: Connection, user: UserId, *where: RoomId) -> bool:
    """A joined member with the power, in each of the rooms: whoever left or was banned keeps their level there.

    By the state that is known now; of a room that the bot has left nothing is.
    """
    for room_id in where:
        member = await rooms.state(db, room_id, "m.room.member", user)
        joined = member is not None and rules.membership(member.content) == "join"
        if not joined or not rules.is_mod(user, await rooms.power(db, room_id)):
            return False
    return True


async def _with_picture_of(db: Connection, old: Room, heir: Room, now: datetime) -> Room:
    """Subscribers keep the picture that they know, until the new room's name or avatar is another."""
    await jobs.add(db, NewJob(JobKind.COVER, heir.room_id, {}), now)
    if old.cover is None:
        return heir
    if heir.cover is not None:
        await jobs.add(db, NewJob(JobKind.FORGET, f"cover:{heir.cover}", {"blobs": [heir.cover]}), now)
    return replace(heir, cover=old.cover, cover_of=old.cover_of)
