"""Calls: what is heard or said in a room may concern a call that is recorded, or is to be. The engine of calls
(`bot.calls`) handles the order.

A call is begun to be recorded while its room wants that; once begun, its recording goes on until it is ended, whatever
the room wants meanwhile.
"""

from collections.abc import Iterable
from datetime import datetime
from importlib.util import find_spec

from bot import orders, rules
from bot.language import _
from bot.recording.call import words
from storage import calls, jobs, rooms
from storage.database import Connection
from storage.records import CallProtocol, Room, RoomId, UserId


def installed() -> bool:
    """Return whether the program was installed with what it needs for calls: the extra `calls`."""
    return all(map(find_spec, ("aiortc", "livekit")))


async def hindrance(
    db: Connection, room: Room, protocol: CallProtocol, us: UserId, *, sticky: bool | None
) -> str | None:
    """Return what keeps the bot out of calls of this protocol in a room, in the language that is spoken now; None:
    nothing. `sticky`: whether it is shown there by a sticky event; None: not known yet, and either will do."""
    power = await rooms.power(db, room.room_id)
    ways = (False, True) if sticky is None else (sticky,)
    if not any(rules.may_show_in_call(us, protocol, power, sticky=way) for way in ways):
        return words.lacks(protocol, sticky=ways[0])
    return _(words.UNENCRYPTED) if room.encrypted and protocol is CallProtocol.MXVC else None


async def look(db: Connection, room_id: RoomId, now: datetime) -> None:
    """Have a room's calls looked at, if they are recorded, or one is."""
    room = await rooms.room(db, room_id)
    wanted = room is not None and (room.calls_on or room.call_wanted)
    if wanted or await calls.running(db, room_id):
        await order(db, room_id, now)


async def look_again(db: Connection, room_ids: Iterable[RoomId] | None, now: datetime) -> None:
    """Have the calls of these rooms looked at (None: of all), where they are recorded: who may be recorded there has
    changed."""
    for room_id in await calls.rooms_of(db) if room_ids is None else room_ids:
        await look(db, room_id, now)


async def order(db: Connection, room_id: RoomId, now: datetime) -> None:
    """Have a room's calls looked at: what is wanted of them has changed."""
    await jobs.add(db, orders.KeepCalls(room_id).job(), now)
