"""Announcements of recordings in their rooms: of the beginning, of the episode, and of what was deleted since."""

from dataclasses import replace
from datetime import datetime

from bot import orders, topics, words
from bot.dialects import studio
from bot.feeds import addresses
from bot.feeds.shown import people
from bot.language import _, speaking
from bot.recording.wording import words_of
from bot.settings import Settings
from storage import archive, heirs, jobs, rooms
from storage.database import Connection
from storage.records import Announce, EventId, JobState, Recording, RecordingId, RecordingState, Room, Visibility

RECORDED = "🔴"
"""The reaction to the started event of a broadcast that is recorded."""


async def begun(db: Connection, room: Room, recording: Recording, now: datetime) -> None:
    """Tell the room that a recording has begun, as it chose: by a notice, by a reaction, or not at all. A broadcast
    from a studio has no event to react to: also a room that wants it quiet gets a notice, which says where it is."""
    if room.announce is Announce.QUIET and not studio.is_ours(recording.event_id):
        order: orders.Order = orders.React(recording.event_id, room.room_id, RECORDED)
    elif room.announce is not Announce.OFF:
        with speaking(room.language):
            body = _(words_of(recording).begun).format(who=people(recording))
        topic = topics.recording_begun(recording.event_id)
        order = orders.Notice(topic, room.room_id, body, begins=recording.id)
    else:
        return
    await jobs.add(db, order.job(), now)


async def with_place(db: Connection, notice: orders.Notice, body: str, settings: Settings) -> str:
    """Return the words of a notice, of one that tells of a beginning in a studio with the place where it is heard."""
    recording = await archive.recording(db, notice.begins) if notice.begins is not None else None
    if recording is None or recording.via is None:
        return body
    podcast = await heirs.podcast(db, await heirs.line(db, recording.room_id))
    listed = recording.public and not recording.unreviewed and podcast.visibility is Visibility.PUBLIC
    page = addresses.public_shelf(settings.web.address, podcast.key).page if listed else None
    with speaking(await rooms.language(db, recording.room_id)):
        return f"{body} {words.live_at(page, prefix=settings.commands.prefix)}"


async def is_void(db: Connection, recording_id: RecordingId) -> bool:
    """Return whether there is nothing left to announce of a recording."""
    recording = await archive.recording(db, recording_id)
    return recording is None or recording.state is RecordingState.DELETED


async def is_untrue(db: Connection, notice: orders.Notice) -> bool:
    """Return whether an announcement comes too late: its recording is deleted, or waits for approval no longer."""
    assert notice.announces is not None
    recording = await archive.recording(db, notice.announces)
    if recording is None or recording.state is RecordingState.DELETED:
        return True
    return not recording.unreviewed and _tells_that_it_waits(notice, recording)


async def said(db: Connection, notice: orders.Notice, event_id: EventId, now: datetime) -> None:
    """Note as which event a recording was announced. An announcement that is untrue meanwhile is edited at once."""
    recording = await archive.recording(db, notice.announces) if notice.announces is not None else None
    if recording is None:
        return
    waits = _tells_that_it_waits(notice, recording)
    if recording.announced_as is None or not waits:  # the approval may have been told in front of a late retry
        recording = replace(recording, announced_as=event_id)
        await archive.save_recording(db, recording)
    if recording.state is RecordingState.DELETED:
        await _say_that_it_is_gone(db, recording, event_id, now)
    elif waits and not recording.unreviewed:
        await _say_that_it_was_approved(db, recording, event_id, now)


async def approved(db: Connection, recording: Recording, now: datetime) -> None:
    """Order an edit of the notice that a recording waits for approval."""
    if recording.announced_as is not None:
        await _say_that_it_was_approved(db, recording, recording.announced_as, now)


async def take_back(db: Connection, recording: Recording, now: datetime) -> None:
    """Order an edit of a deleted recording's announcement, which would lead nowhere. One whose first attempt may have
    reached the homeserver is sent again, to learn its event, without the words that told of the recording."""
    names = orders.announcements_of(recording)
    await jobs.cancel(db, names, tried=False)
    for name in names:
        job = await jobs.find(db, name)
        if job is not None and job.state in (JobState.READY, JobState.RUNNING):
            text = await _translated(db, recording, words.ANNOUNCED_IS_GONE)
            await jobs.note(db, job.id, replace(orders.Notice.of(job), body=text).job(), now)
    if recording.announced_as is not None:
        await _say_that_it_is_gone(db, recording, recording.announced_as, now)


async def take_name_out(db: Connection, recording: Recording, now: datetime) -> None:
    """Order an edit of the announcement of a recording that has lost a speaker: the name goes with the sound. One that
    was not sent yet is sent without names. The notice that a recording waits for approval names nobody."""
    if recording.unreviewed:
        return
    text = (await _translated(db, recording, words.SPEAKER_IS_GONE)).format(code=recording.code)
    job = await jobs.find(db, orders.Notice.about(topics.episode_published(recording.event_id)))
    if job is not None and job.state in (JobState.READY, JobState.RUNNING):
        await jobs.note(db, job.id, replace(orders.Notice.of(job), body=text).job(), now)
    if recording.announced_as is not None:
        topic = topics.speaker_gone(recording.announced_as)
        notice = orders.Notice(topic, recording.room_id, text, replaces=recording.announced_as)
        await jobs.add(db, notice.job(), now)


def _tells_that_it_waits(notice: orders.Notice, recording: Recording) -> bool:
    return notice.topic == topics.episode_waits(recording.event_id)


async def _say_that_it_is_gone(db: Connection, recording: Recording, event_id: EventId, now: datetime) -> None:
    text = await _translated(db, recording, words.ANNOUNCED_IS_GONE)
    notice = orders.Notice(topics.announcement_gone(event_id), recording.room_id, text, replaces=event_id)
    await jobs.add(db, notice.job(), now)


async def _say_that_it_was_approved(db: Connection, recording: Recording, event_id: EventId, now: datetime) -> None:
    text = await _translated(db, recording, words.WAITED)
    notice = orders.Notice(topics.waits_no_more(event_id), recording.room_id, text, replaces=event_id)
    await jobs.add(db, notice.job(), now)


async def _translated(db: Connection, recording: Recording, text: str) -> str:
    with speaking(await rooms.language(db, recording.room_id)):
        return _(text)
