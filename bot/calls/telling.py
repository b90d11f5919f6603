"""Telling a room of its calls: orders of notices, in the caller's transaction.

A call's sound is received only once its notice is in the room (`Recording.notice`, noted by whoever sends it). The
first members read that notice; each who joins later is told by a reply to it.
"""

from collections.abc import Collection
from datetime import datetime

from bot import disclosure, logged, orders, topics
from bot.intake.naming import name_of
from bot.language import _, speaking
from bot.recording.call import words
from storage import archive, calls, changes, heirs, jobs, rooms
from storage.database import Connection
from storage.records import CallEventKind, CallProtocol, Recording, RecordingId, RoomId, UserId


async def begun(db: Connection, recording: Recording, now: datetime, *, prefix: str) -> None:
    """Order the notice that a call is recorded, once for each recording. The engine is woken when it is in the room."""
    room_id = recording.room_id
    who = await _switched_on_by(db, recording)
    name = await name_of(db, room_id, who) if who is not None else None
    with speaking(await rooms.language(db, room_id)):
        body = words.begun(name, prefix, public=recording.public)
    topic = topics.recording_begun(recording.event_id)
    await jobs.add(db, orders.Notice(topic, room_id, body, during=recording.id, opens=True).job(), now)


async def present(
    db: Connection, recording_id: RecordingId, users: Collection[UserId], now: datetime, *, prefix: str
) -> None:
    """Tell members who are in a call that it is recorded, each once for a recording: those of before the notice by the
    notice itself, each later one by a reply to it."""
    recording = await archive.recording(db, recording_id)
    if recording is None:
        return
    told = await calls.told(db, recording_id)
    new = sorted(set(users) - told)
    await calls.note_told(db, recording_id, new)
    if recording.notice is None:
        return
    for number, user in enumerate(new, len(told) + 1):
        name = await name_of(db, recording.room_id, user)
        with speaking(await rooms.language(db, recording.room_id)):
            body = words.joined_late(name, prefix)
        notice = orders.Notice(
            topics.call_joined(recording.event_id, number),
            recording.room_id,
            body,
            reply_to=recording.notice,
            during=recording.id,
            mentions=(user,),
        )
        await jobs.add(db, notice.job(), now)


async def silent(db: Connection, recording: Recording, now: datetime, *, seconds: int) -> None:
    """Tell the room, once for a recording, that nobody was heard in the call for so long."""
    with speaking(await rooms.language(db, recording.room_id)):
        body = words.nobody_heard(seconds)
    topic = topics.call_silent(recording.event_id)
    notice = orders.Notice(topic, recording.room_id, body, reply_to=recording.notice, during=recording.id)
    await jobs.add(db, notice.job(), now)


async def unheard(
    db: Connection, recording: Recording, user: UserId, why: CallEventKind, now: datetime, *, unseen: bool = False
) -> None:
    """Tell the room, once for a recording and a member, that their sound is missing from it, and why. `unseen`: since
    their client may not see the bot."""
    name = await name_of(db, recording.room_id, user)
    with speaking(await rooms.language(db, recording.room_id)):
        body = words.not_heard(name, why, unseen=unseen)
    topic = topics.call_unheard(recording.event_id, user, why)
    notice = orders.Notice(topic, recording.room_id, body, reply_to=recording.notice, during=recording.id)
    await jobs.add(db, notice.job(), now)


async def lacks(
    db: Connection, room_id: RoomId, protocol: CallProtocol, now: datetime, *, sticky: bool = False
) -> None:
    """Tell the room what the bot lacks to show itself in a call: once, and again only if it has recorded a call of this
    protocol meanwhile."""
    last = await calls.last(db, room_id, protocol)
    cause = f"{protocol}:{last.id if last else ''}"
    with speaking(await rooms.language(db, room_id)):
        body = words.lacks(protocol, sticky=sticky)
    await jobs.add(db, orders.Notice(topics.call_hindered(room_id, cause), room_id, body).job(), now)


async def unencrypted(db: Connection, room_id: RoomId, now: datetime) -> None:
    """Tell an encrypted room, once, that its voice channel is not recorded."""
    with speaking(await rooms.language(db, room_id)):
        body = _(words.UNENCRYPTED)
    topic = topics.call_hindered(room_id, CallProtocol.MXVC)
    await jobs.add(db, orders.Notice(topic, room_id, body).job(), now)


async def unfit(db: Connection, room_id: RoomId, now: datetime) -> None:
    """Tell a room, once, that no call can be recorded by what is installed."""
    with speaking(await rooms.language(db, room_id)):
        body = _(words.UNFIT)
    await jobs.add(db, orders.Notice(topics.call_hindered(room_id, "unfit"), room_id, body).job(), now)


async def _switched_on_by(db: Connection, recording: Recording) -> UserId | None:
    """Return the moderator who had this call recorded, or all calls of its podcast; None where nobody is known."""
    what = disclosure.RECORD_CALL if recording.chosen else disclosure.RECORD_CALLS
    for room_id in reversed(await heirs.line(db, recording.room_id)):
        change = (await changes.newest_of_each(db, room_id, by_rules=False)).get(what)
        if change is not None and change.after == logged.switch(True):
            return change.by
    return None
