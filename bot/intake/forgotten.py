"""A member's wish to be forgotten: what is theirs alone is deleted, and their part of other recordings taken out."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from bot import orders
from bot.intake import portraying
from bot.recording.chunks import NOT_WANTED, OUT_OF_TURN
from bot.recording.model import Deleted, Forgotten, RecordingEvent
from storage import archive, calls, jobs, journal, listener_uses, sealed_messages, spoken, withheld_keys
from storage.database import Connection
from storage.records import Recording, RecordingId, RoomId, UserId

WITHOUT_SOUND = (NOT_WANTED, OUT_OF_TURN)
"""Reasons of chunks that hold no sound, and never will."""
AT_ONCE = 20
"""The number of recordings that one transaction deletes."""
SHARED_AT_ONCE = 2
"""The number of recordings that one transaction takes a part out of. Each may have thousands of chunks to change."""

Apply = Callable[[Connection, RecordingId, RecordingEvent], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Traces:
    """The recordings that hold sound of a member: theirs `alone`, and those `shared` with other speakers."""

    user_id: UserId
    room_ids: Sequence[RoomId] | None  # in which they were looked for; None: everywhere
    alone: tuple[Recording, ...]
    shared: tuple[Recording, ...]


async def traces(db: Connection, user_id: UserId, room_ids: Sequence[RoomId] | None) -> Traces:
    """Find what there is of a member in these rooms; None: everywhere. A call that is recorded now is never theirs
    alone: not all of its sound is in chunks yet."""
    alone, shared = await spoken.by(db, user_id, room_ids, WITHOUT_SOUND)
    running = [call for call in await calls.running(db) if room_ids is None or call.room_id in room_ids]
    theirs = [call for call in running if call in shared or _is_in(user_id, call)]
    alone, shared = (tuple(each for each in found if each not in running) for found in (alone, shared))
    return Traces(user_id, room_ids, alone, (*shared, *theirs))


def _is_in(user_id: UserId, call: Recording) -> bool:
    """Return whether a call has a stem of a member's, or a time in which they were not heard."""
    has_stem = any(stem.user_id == user_id and not stem.removed for stem in call.stems)
    return has_stem or any(each.user_id == user_id for each in call.unheard)


async def remove(
    db: Connection, apply: Apply, user_id: UserId, alone: Sequence[RecordingId], shared: Sequence[RecordingId]
) -> None:
    """Delete recordings of a member alone, and take their part out of those that are shared, in the caller's
    transaction."""
    for recording_id in alone:
        await apply(db, recording_id, Deleted())
    for recording_id in shared:
        theirs = [chunk for chunk in await archive.chunks(db, recording_id) if chunk.sender == user_id]
        await apply(db, recording_id, Forgotten(user_id))
        await journal.forget(db, [chunk.event_id for chunk in theirs if chunk.event_id])
        await jobs.cancel(db, [orders.Fetch.about(chunk.id) for chunk in theirs])


async def remove_the_rest(db: Connection, of: Traces, now: datetime) -> None:
    """Delete what is kept of a member beside recordings. Their wishes, the log of changes, and the address that they
    listen by stay."""
    await listener_uses.forget(db, of.user_id, of.room_ids)
    await portraying.remove(db, of.user_id, of.room_ids, now)
    await sealed_messages.forget_sender(db, of.user_id, of.room_ids)
    if of.room_ids is None:
        await withheld_keys.forget(db, of.user_id)
