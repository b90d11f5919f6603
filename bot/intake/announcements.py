"""Announcements of recordings in their rooms: of the beginning, of the episode, and of what was deleted since."""

from dataclasses import replace
from datetime import datetime

from bot import orders, words
from bot.feeds.shown import person
from bot.language import _, speaking
from storage import archive, jobs, rooms
from storage.database import Connection
from storage.records import Announce, EventId, Recording, RecordingId, RecordingState, Room

RECORDED = "🔴"
"""The reaction to the started event of a broadcast that is recorded."""


async def begun(db: Connection, room: Room, recording: Recording, now: datetime) -> None:
    """Tell the room that a recording has begun, as it chose: by a notice, by a reaction, or not at all."""
    if room.announce is Announce.QUIET:
        order: orders.Order = orders.React(recording.event_id, room.room_id, RECORDED)
    elif room.announce is Announce.ON:
        with speaking(room.language):
            body = words.begun(person(recording.broadcaster_name, recording.broadcaster))
        topic = orders.recording_begun(recording.event_id)
        order = orders.Notice(topic, room.room_id, body, begins=recording.id)
    else:
        return
    await jobs.add(db, order.job(), now)


async def is_void(db: Connection, recording_id: RecordingId) -> bool:
    """Return whether there is nothing left to announce of a recording."""
    recording = await archive.recording(db, recording_id)
    return recording is None or recording.state is RecordingState.DELETED


async def said(db: Connection, recording_id: RecordingId, event_id: EventId, now: datetime) -> None:
    """Note as which event a recording was announced. One that was deleted meanwhile is taken back at once."""
    recording = await archive.recording(db, recording_id)
    if recording is None:
        return
    announced = replace(recording, announced_as=event_id)
    await archive.save_recording(db, announced)
    if announced.state is RecordingState.DELETED:
        await take_back(db, announced, now)


async def take_back(db: Connection, recording: Recording, now: datetime) -> None:
    """Order an edit of a deleted recording's announcement, which would lead nowhere."""
    if recording.announced_as is None:
        return
    with speaking(await rooms.language(db, recording.room_id)):
        body = _(words.ANNOUNCED_IS_GONE)
    topic = orders.announcement_gone(recording.event_id)
    notice = orders.Notice(topic, recording.room_id, body, replaces=recording.announced_as)
    await jobs.add(db, notice.job(), now)
