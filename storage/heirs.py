"""Upgraded rooms: a podcast outlives its room (Client-Server API, room upgrades).

The rooms of one podcast stand in a line, each the heir of the one before. The first gives it its names: key, GUID and
personal addresses. The last, the present one, decides the rights, by its members, moderators and visibility.

Only links that the old room has confirmed count (`bot.intake.succession`). One that an earlier version made without
asking the old room is pending: it does not count until the old room's state is read.
"""

from collections.abc import Sequence
from dataclasses import replace

from sqlalchemy import ColumnElement, bindparam, delete, or_, select

from storage import rooms
from storage.database import Connection
from storage.dialect import insert
from storage.records import Room, RoomId, UserId, Visibility
from storage.tables import heirs, hosts

_NEIGHBOURS = select(heirs.c.room_id, heirs.c.heir).where(
    or_(heirs.c.heir == bindparam("of"), heirs.c.room_id == bindparam("of")), heirs.c.confirmed
)
MOST_ROOMS = 50
"""The longest line: every look-up of a podcast reads all of it."""


async def line(db: Connection, room_id: RoomId) -> tuple[RoomId, ...]:
    """Return the rooms of a room's podcast, the oldest first, the present one last; usually the room alone."""
    rooms_of_line = [room_id]
    before, after = await _neighbours(db, room_id)
    while before is not None:
        rooms_of_line.insert(0, before)
        before = await predecessor(db, before)
    while after is not None:
        rooms_of_line.append(after)
        after = await heir(db, after)
    return tuple(rooms_of_line)


async def _neighbours(db: Connection, room_id: RoomId) -> tuple[RoomId | None, RoomId | None]:
    """Return the rooms before and behind a room in its line, of which most have neither."""
    found: list[RoomId | None] = [None, None]
    for link in await db.execute(_NEIGHBOURS, {"of": room_id}):
        found[link.room_id == room_id] = RoomId(link.heir if link.room_id == room_id else link.room_id)
    return found[0], found[1]


async def predecessor(db: Connection, room_id: RoomId) -> RoomId | None:
    """Return the room whose heir this one is."""
    return await _neighbour(db, heirs.c.room_id, heirs.c.heir == room_id)


async def replaced(db: Connection) -> frozenset[RoomId]:
    """Return the rooms whose podcast another room continues."""
    rows = await db.execute(select(heirs.c.room_id).where(heirs.c.confirmed))
    return frozenset(RoomId(room_id) for room_id in rows.scalars())


async def heir(db: Connection, room_id: RoomId) -> RoomId | None:
    """Return the room that continues the podcast of this one."""
    return await _neighbour(db, heirs.c.heir, heirs.c.room_id == room_id)


async def _neighbour(db: Connection, column: ColumnElement[str], where: ColumnElement[bool]) -> RoomId | None:
    neighbour = (await db.execute(select(column).where(where, heirs.c.confirmed))).scalar_one_or_none()
    return RoomId(neighbour) if neighbour is not None else None


async def present(db: Connection, room_id: RoomId) -> RoomId:
    """Return the present room of a room's podcast."""
    return (await line(db, room_id))[-1]


async def podcast(db: Connection, line: Sequence[RoomId], names: Room | None = None) -> Room:
    """Return the podcast of a line of known rooms as one room: the present one, under the key and GUID of `names` (else
    of the first), with a revision that rises when any of them changes. For reading only, never to be saved.

    It is private while an heir is pending, since that room may have made it private.
    """
    of_line = []
    for room_id in line:
        known = names if names is not None and names.room_id == room_id else await rooms.room(db, room_id)
        assert known is not None, "an heir and who left it something are known rooms"
        of_line.append(known)
    return _as_one(of_line, names or of_line[0], private=await pending(db, line[-1]) is not None)


def _as_one(of_line: Sequence[Room], named: Room, *, private: bool) -> Room:
    return replace(
        of_line[-1],
        visibility=Visibility.PRIVATE if private else of_line[-1].visibility,
        key=named.key,
        podcast_guid=named.podcast_guid,
        revision=sum(room.revision for room in of_line),
        changed_at=max(room.changed_at for room in of_line),
        behind=next((room.behind for room in of_line if room.behind is not None), None),
    )


async def public_podcasts(db: Connection) -> list[tuple[tuple[RoomId, ...], Room]]:
    """Return each podcast that has a public room, with its line, in the order of those rooms' ids: as `line` and
    `podcast` do for one, but in a few statements for all."""
    known = {room.room_id: room for room in await rooms.public_or_in(db, select(heirs.c.room_id), select(heirs.c.heir))}
    links = (await db.execute(select(heirs.c.room_id, heirs.c.heir, heirs.c.confirmed))).all()
    after = {link.room_id: link.heir for link in links if link.confirmed}
    before = {heir_id: room_id for room_id, heir_id in after.items()}
    unsure = {link.room_id for link in links if not link.confirmed}
    lines = dict[tuple[RoomId, ...], Room]()
    for room_id in sorted(room.room_id for room in known.values() if room.visibility is Visibility.PUBLIC):
        of_line = [room_id]
        while of_line[0] in before:
            of_line.insert(0, before[of_line[0]])
        while of_line[-1] in after:
            of_line.append(after[of_line[-1]])
        together = [known[each] for each in of_line]
        lines[tuple(of_line)] = _as_one(together, together[0], private=of_line[-1] in unsure)
    return list(lines.items())


async def inherit(db: Connection, old: RoomId, new: RoomId) -> bool:
    """Make `new` the heir of `old`. Both rooms are known; pending links are replaced. Return False, and change nothing,
    when `old` has an heir, `new` is one, or the line would be a ring or too long."""
    before, after = await line(db, old), await line(db, new)
    if before[-1] != old or after[0] != new or new in before or len(before) + len(after) > MOST_ROOMS:
        return False
    in_the_way = or_(heirs.c.room_id == old, heirs.c.heir == new)
    await db.execute(delete(heirs).where(in_the_way, ~heirs.c.confirmed))
    await db.execute(heirs.insert().values(room_id=old, heir=new, confirmed=True))
    return True


async def pending(db: Connection, old: RoomId) -> RoomId | None:
    """Return the heir that an earlier version gave `old` and that `old` has not confirmed yet."""
    statement = select(heirs.c.heir).where(heirs.c.room_id == old, ~heirs.c.confirmed)
    heir_id = (await db.execute(statement)).scalar_one_or_none()
    return RoomId(heir_id) if heir_id is not None else None


async def end(db: Connection, old: RoomId) -> None:
    """End the line after `old`: each of the two rooms has a podcast of its own again."""
    await db.execute(delete(heirs).where(heirs.c.room_id == old))


# ---- moderators who let the bot into a room by `record on`; the inviter is in the room's own row


async def let_in(db: Connection, room_id: RoomId, user_id: UserId) -> None:
    """Record that a moderator of this room sent `record on` there."""
    await db.execute(insert(hosts).values(room_id=room_id, user_id=user_id).on_conflict_do_nothing())


async def let_in_by(db: Connection, room_id: RoomId) -> tuple[UserId, ...]:
    statement = select(hosts.c.user_id).where(hosts.c.room_id == room_id).order_by(hosts.c.user_id)
    return tuple(UserId(user_id) for user_id in (await db.execute(statement)).scalars())


async def forget_hosts(db: Connection, room_id: RoomId) -> None:
    """Delete the moderators who let the bot into a room, once it has left."""
    await db.execute(delete(hosts).where(hosts.c.room_id == room_id))
