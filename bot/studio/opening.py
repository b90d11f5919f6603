"""The opening of studios: a member has one in a room for each source, the same whenever they ask, until it is over."""

from dataclasses import replace
from datetime import datetime

from bot.dialects import studio as events
from bot.feeds.addresses import look_up_hash, studio_token
from bot.studio import ending, life, writing
from storage import archive, studios
from storage.database import Connection
from storage.records import RecordingState, RoomId, Studio, StudioSource, StudioState, UserId


async def studio_for(
    db: Connection, room_id: RoomId, user_id: UserId, source: StudioSource, secret: bytes, now: datetime
) -> Studio:
    """Return a member's studio in a room: the one that waits, for a whole day anew, or that runs, else a new one. The
    caller has asked for the right to it. One whose client went silent is not in the way, and may still bring what it
    has."""
    for studio in await studios.of(db, room_id, user_id):
        if studio.source is source:
            if await _goes_on(db, studio, now):
                return await _kept(db, studio, secret, now)
            if studio.state is StudioState.WAITING:
                await ending.close(db, studio, now)
    new = writing.new_studio(room_id, user_id, source, now)
    return await studios.add(db, replace(new, token_sha256=look_up_hash(studio_token(secret, new))))


async def _kept(db: Connection, studio: Studio, secret: bytes, now: datetime) -> Studio:
    # With a secret that was lost the address can't be made again: the one that was given out ends.
    kept = replace(studio, token_sha256=look_up_hash(studio_token(secret, studio)))
    if studio.state is StudioState.WAITING:
        kept = replace(kept, expires_at=now + writing.GOOD_FOR)
    if kept != studio:
        await studios.save(db, kept)
    return kept


async def _goes_on(db: Connection, studio: Studio, now: datetime) -> bool:
    """Return whether a studio that is not over can still be used: it waits and has not expired, or it is on the air and
    nothing but it has ended its recording."""
    if studio.state is StudioState.WAITING:
        return not life.is_closed(studio, now)
    recording = await archive.recording_by_event(db, events.started_id(studio))
    return recording is None or recording.state is RecordingState.LIVE
