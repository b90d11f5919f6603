"""The removal of episodes, of redacted audio and of whole recordings, in the caller's transaction."""

import logging
from collections.abc import Collection
from datetime import datetime

from bot import orders
from bot.intake import announcements, portraying, studio_events
from bot.intake.unsending import unsend
from bot.recorder import uploads
from bot.recording.kinds import kind_of
from bot.recording.wording import TOLD
from storage import (
    archive,
    calls,
    found_again,
    handed_back,
    history_checks,
    jobs,
    journal,
    live_listening,
    originals,
    rooms,
    sessions,
    tracks,
)
from storage.database import Connection
from storage.records import BlobKey, EventId, Recording, RecordingId

log = logging.getLogger(__name__)

AT_ONCE = 200
"""The number of blobs that one job removes, in one transaction."""


async def erase(db: Connection, recording: Recording, now: datetime) -> None:
    """Remove everything of a recording except the tombstone, which refuses late events."""
    chunks = await archive.chunks(db, recording.id)
    await _remove_episode(db, recording, now)
    await tracks.forget(db, recording.id)
    await forget(db, [chunk.blob for chunk in chunks if chunk.blob], now)
    await forget(db, await calls.stem_files(db, recording.id), now)
    await calls.erase(db, recording.id)
    if kind_of(recording).stems:  # the files of a call that runs, or that a crash left
        await jobs.add(db, orders.ForgetStems(recording.id).job(), now)
    await forget_older_audio(db, recording.id, now)
    await archive.delete_chunks(db, recording.id)
    events = [chunk.event_id for chunk in chunks if chunk.event_id]
    await journal.forget(db, events)
    if not kind_of(recording).related:  # a search of the history could find its messages one by one
        await sessions.erase(db, recording.id, [event_id for event_id in events if event_id != recording.event_id])
    await history_checks.forget(db, recording.id)
    await live_listening.forget(db, recording.id)
    parts = await archive.transmissions_of(db, recording.id)
    await forget(db, await uploads.erase(db, (recording.event_id, *parts), now), now)
    speakers = {recording.broadcaster, *(chunk.sender for chunk in chunks)}
    await portraying.look(db, recording.room_id, speakers, now)
    fetched = [chunk.id for chunk in chunks if chunk.event_id]
    await jobs.cancel(db, orders.of_recording(recording, fetched, TOLD, parts))
    for part in (None, *parts):
        await take_back(db, recording, now, part)
        await handed_back.forget(db, recording.id, part)
    await studio_events.take_back(db, recording, now)
    await announcements.take_back(db, recording, now)
    await found_again.forget(db, recording.room_id, recording.event_id)
    await rooms.touch(db, recording.room_id, now)
    log.info("erased: recording=%s room=%s", recording.code, recording.room_id)


async def forget_older_audio(db: Connection, recording_id: RecordingId, now: datetime) -> None:
    """Remove earlier files of an episode now, which would stay a while for downloads that run."""
    for job in await jobs.put_off(db, orders.Forget.kind, now):
        order = orders.Forget.of(job)
        if order.recording == recording_id:
            await jobs.add(db, order.job(), now)


async def withdraw(db: Connection, recording: Recording, now: datetime) -> None:
    """Remove the episode from feeds, pages, room and disk, with all its frames."""
    await _remove_episode(db, recording, now)
    await take_back(db, recording, now)


async def take_back(db: Connection, recording: Recording, now: datetime, part: EventId | None = None) -> None:
    """Order the redaction of the voice messages that hold a recording, or one of its transmissions, and of one that is
    being sent as soon as its event is known."""
    await unsend(db, recording, await handed_back.withdraw(db, recording.id, part), now)
    if any(message.event_id is None for message in await handed_back.of(db, recording.id, part)):
        await jobs.add(db, hand_back(recording, part).job(), now)


def hand_back(recording: Recording, part: EventId | None) -> orders.HandBack | orders.HandBackPart:
    """Make the order to post a recording, or one of its transmissions, or to settle what was being posted."""
    if part is None:
        return orders.HandBack(recording.id, recording.room_id)
    return orders.HandBackPart(part, recording.id, recording.room_id)


async def _remove_episode(db: Connection, recording: Recording, now: datetime) -> None:
    frames = await tracks.empty(db, recording.id)
    await forget(db, frames, now)
    original = await originals.remove(db, recording.id)
    if original is not None:
        await forget(db, [original], now)
    episode = await archive.episode(db, recording.id)
    if episode is not None:
        await archive.delete_episode(db, recording.id)
        await forget(db, [episode.blob], now)
        await rooms.touch(db, recording.room_id, now)


async def forget(db: Connection, blobs: Collection[BlobKey], now: datetime) -> None:
    """Order the removal of blobs from the disk, of those that nothing else needs."""
    keys = sorted(blobs)
    for start in range(0, len(keys), AT_ONCE):
        await jobs.add(db, orders.Forget(tuple(keys[start : start + AT_ONCE])).job(), now)
