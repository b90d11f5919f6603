"""What goes: episodes, the audio of what was redacted, whole recordings. All in the caller's transaction."""

import logging
from dataclasses import replace
from datetime import datetime

from bot import words
from storage import archive, jobs, journal, rooms, tracks
from storage.database import Connection
from storage.records import BlobKey, JobKind, NewJob, Recording

log = logging.getLogger(__name__)


async def erase(db: Connection, recording: Recording, now: datetime) -> None:
    """Nothing stays but the tombstone, which refuses what comes late."""
    chunks = await archive.chunks(db, recording.id)
    await withdraw(db, recording, now)
    await tracks.forget(db, recording.id)
    await forget(db, f"erase:{recording.id}", [chunk.blob for chunk in chunks if chunk.blob], now)
    await archive.delete_chunks(db, recording.id)
    await journal.forget(db, [chunk.event_id for chunk in chunks])
    await jobs.cancel(db, JobKind.FETCH, [chunk.event_id for chunk in chunks])
    for kind in (JobKind.ENCODE, JobKind.FINISH, JobKind.TICK, JobKind.END):
        await jobs.cancel(db, kind, [str(recording.id)])
    await jobs.cancel(db, JobKind.FOLLOW, [recording.event_id])
    told = [f"tell:{what}:{recording.event_id}" for what in words.TOLD]
    await jobs.cancel(db, JobKind.NOTICE, [f"published:{recording.event_id}", *told])
    await archive.save_recording(db, replace(recording, title=None, description=None, broadcaster_name=None))
    await rooms.touch(db, recording.room_id, now)
    log.info("erased: recording=%s room=%s", recording.code, recording.room_id)


async def withdraw(db: Connection, recording: Recording, now: datetime) -> None:
    """The episode goes, from feeds, pages and disk, and all frames with it."""
    frames = await tracks.empty(db, recording.id)
    await forget(db, f"frames:{recording.id}", sorted(frames), now)
    episode = await archive.episode(db, recording.id)
    if episode is not None:
        await archive.delete_episode(db, recording.id)
        await forget(db, f"episode:{episode.blob}", [episode.blob], now)
        await rooms.touch(db, recording.room_id, now)


async def forget(db: Connection, subject: str, blobs: list[BlobKey], now: datetime) -> None:
    """A job that takes blobs off the disk, where nothing else needs them."""
    if blobs:
        await jobs.add(db, NewJob(JobKind.FORGET, subject, {"blobs": blobs}), now)
