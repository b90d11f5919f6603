"""The bot is asked into a room, is in, or is out: what its own membership begins and ends."""

import logging
from dataclasses import replace
from datetime import datetime

from bot import rules, words
from bot.matrix.batch import Invite
from bot.matrix.succession import Publishes, succeed
from storage import archive, heirs, jobs, rooms
from storage.database import Connection
from storage.records import JobKind, NewJob, Room, RoomId, UserId, Visibility

log = logging.getLogger(__name__)


async def invited(db: Connection, invite: Invite, now: datetime) -> None:
    """Whoever asked is written down; whether the bot goes is decided by a job."""
    known = await rooms.room(db, invite.room_id)
    room = known or rooms.new_room(invite.room_id, now)
    await rooms.save_room(db, replace(room, inviter=invite.inviter, direct=invite.direct, encrypted=invite.encrypted))
    payload = {"room_id": invite.room_id, "inviter": invite.inviter}
    await jobs.add(db, NewJob(JobKind.INVITE, invite.room_id, payload), now)


async def joined(
    db: Connection, room_id: RoomId, now: datetime, *, us: UserId, prefix: str, publishes: Publishes
) -> None:
    """The bot is in: it records at once if a moderator asked it to come, and says so. The heir of a room that was
    upgraded goes on with its podcast."""
    room = await rooms.room(db, room_id)
    assert room is not None
    create = await rooms.state(db, room_id, "m.room.create")
    # The bot makes rooms for direct chats only, and may hear of one before it knows that it was made.
    ours = await rooms.direct_user(db, room_id) is not None or (create and create.sender == us)
    direct = room.direct or bool(ours)
    power = await rooms.power(db, room_id)
    line = await heirs.line(db, room_id)
    asked = not direct and room.inviter is not None and rules.is_mod(room.inviter, power)
    room = replace(room, joined=True, direct=direct, recording_on=asked and line[-1] == room_id, changed_at=now)
    await rooms.save_room(db, room)
    if not direct:
        await jobs.add(db, NewJob(JobKind.COVER, room_id, {}), now)
        if room.inviter is not None:
            room = await succeed(db, room, room.inviter, now, publishes=publishes) or room
    log.info("joined: room=%s recording=%s", room_id, "on" if room.recording_on else "off")
    if not ours:
        member = await rooms.state(db, room_id, "m.room.member", us)
        subject = f"welcome:{room_id}:{member.position if member else 0}"
        payload = {"room_id": room_id, "body": await _welcome(db, room, prefix)}
        await jobs.add(db, NewJob(JobKind.NOTICE, subject, payload, once=True), now)


async def _welcome(db: Connection, room: Room, prefix: str) -> str:
    line = await heirs.line(db, room.room_id)
    if line[-1] != room.room_id:
        return words.GOES_ON_ELSEWHERE
    return words.welcome(
        records=room.recording_on,
        direct=room.direct,
        public=room.visibility is Visibility.PUBLIC,
        continues=line[0] != room.room_id,
        prefix=prefix,
    )


async def removed(db: Connection, room_id: RoomId, now: datetime) -> None:
    """The bot is out: what runs ends, and nothing that it knows of the room's state is current."""
    room = await rooms.room(db, room_id)
    assert room is not None
    await rooms.save_room(db, replace(room, joined=False, changed_at=now, revision=room.revision + 1))
    await rooms.forget_state(db, room_id)
    for recording in await archive.open_recordings(db, room_id):
        await jobs.add(db, NewJob(JobKind.END, str(recording.id), {"by": "removed"}), now)
    log.info("no longer in a room: room=%s", room_id)
