"""The bot's own membership: being invited to a room, joining it, and being removed from it."""

import logging
from dataclasses import replace
from datetime import datetime

from bot import disclosure, facts, orders, rules
from bot.dialects.state import makes_a_space
from bot.event_types import CREATE
from bot.intake import calls, disclosing, studios, turning, walkie
from bot.intake.greeting import greet
from bot.intake.succession import Publishes, begin_anew, succeed, take_back
from bot.matrix.batch import Invite
from storage import archive, gaps, heirs, jobs, rooms, sealed_messages
from storage.database import Connection
from storage.records import EndedBy, Room, RoomId, UserId

log = logging.getLogger(__name__)


async def invited(db: Connection, invite: Invite, now: datetime) -> None:
    """Record who sent the invite; a job decides whether the bot joins. Whether the room is encrypted is read from its
    state after joining, since an inviter could claim that it is not.
    """
    known = await rooms.room(db, invite.room_id)
    room = known or rooms.new_room(invite.room_id, now)
    await rooms.save_room(db, replace(room, inviter=invite.inviter, direct=invite.direct))
    space = any(map(makes_a_space, invite.stripped_state))
    await jobs.add(db, orders.Invite(invite.room_id, invite.inviter, space=space).job(), now)


async def joined(db: Connection, room_id: RoomId, now: datetime, *, us: UserId, publishes: Publishes) -> None:
    """Begin in a room that the bot has joined: record at once if a moderator invited it, and send the greeting.

    The heir of an upgraded room continues its podcast; a room whose heir it did not name has its own again.
    """
    await begin_anew(db, room_id, now)
    room = await rooms.room(db, room_id)
    assert room is not None
    was_on = room.switched_on
    create = await rooms.state(db, room_id, CREATE)
    if await leave_space(db, room_id, now):
        await rooms.save_room(db, replace(_nothing_on(room), joined=True, changed_at=now))
        return
    # The bot creates rooms for direct chats and walkie-talkies, and may see one before its request is answered.
    ours = await rooms.direct_user(db, room_id) is not None or (create is not None and create.sender == us)
    direct = room.direct or (ours and (create is None or facts.walkie_made_by(create.content) is None))
    power = await rooms.power(db, room_id)
    asked = not direct and room.inviter is not None and rules.is_mod(room.inviter, power)
    room = replace(_nothing_on(room), joined=True, direct=direct, changed_at=now)
    await rooms.save_room(db, room)
    room = await turning.back(db, room, now)
    if asked:
        room = await take_back(db, room_id, now) or room
    room = replace(room, recording_on=asked and await heirs.heir(db, room_id) is None)
    await rooms.save_room(db, room)
    for kind in disclosure.listed(was_on | room.switched_on):  # while the bot was out of the room, nothing was recorded
        on = kind in room.switched_on
        by = room.inviter if on else None
        await disclosing.switched(db, room_id, disclosure.SWITCHES[kind], now, on=on, by=by)
    if direct and room.inviter is not None:
        await jobs.hasten(db, orders.Direct.to(room.inviter), now)
    if room.behind is not None:
        await jobs.add(db, orders.CatchUp(room_id).job(), now)
    if not direct:
        await jobs.add(db, orders.Cover(room_id).job(), now)
        await disclosing.show(db, room_id, now)
        await disclosing.speak_again(db, room_id, now)
        await walkie.look(db, room_id, now)
        old = facts.predecessor(create)
        room = (await succeed(db, old, room_id, now, publishes=publishes) if old else None) or room
    log.info("joined: room=%s recording=%s", room_id, "on" if room.recording_on else "off")
    if not ours:
        await greet(db, room, now, waits=True)


def _nothing_on(room: Room) -> Room:
    return replace(
        room, recording_on=False, messages_since=None, messages_wait=False, calls_on=False, call_wanted=False
    )


async def leave_space(db: Connection, room_id: RoomId, now: datetime) -> bool:
    """Order the bot to leave a space, with the reason, since an invite may not show that it is one. Return whether it
    is."""
    create = await rooms.state(db, room_id, CREATE)
    if create is None or not facts.is_space(create.content):
        return False
    await jobs.add(db, orders.Invite(room_id, create.sender, space=True).job(), now)
    return True


async def removed(db: Connection, room_id: RoomId, now: datetime) -> None:
    """End the recordings of a room that the bot is out of, and forget the room's state, which is no longer kept
    current."""
    room = await rooms.room(db, room_id)
    assert room is not None
    gone = replace(room, joined=False, call_wanted=False, inviter=None, changed_at=now, revision=room.revision + 1)
    await rooms.save_room(db, gone)
    await rooms.forget_state(db, room_id)
    await jobs.cancel(db, [orders.Refresh.about(room_id)])
    await heirs.forget_hosts(db, room_id)
    await gaps.forget_room(db, room_id)
    await sealed_messages.forget_room(db, room_id)
    await walkie.removed(db, room_id, now)
    await calls.look(db, room_id, now)
    await studios.look(db, room_id, now)
    for recording in await archive.open_recordings(db, room_id):
        await jobs.add(db, orders.End(recording.id, EndedBy.REMOVED).job(), now)
    log.info("no longer a member: room=%s", room_id)
