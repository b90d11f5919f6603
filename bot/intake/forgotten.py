"""A member's wish to be forgotten: what is theirs alone is deleted, and their part of other recordings taken out."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from bot import orders
from bot.recording.model import Deleted, Forgotten, RecordingEvent
from storage import archive, jobs, journal, listener_uses, spoken, withheld_keys
from storage.database import Connection
from storage.records import Recording, RecordingId, RoomId, UserId

Apply = Callable[[Connection, RecordingId, RecordingEvent], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Traces:
    """The recordings that hold sound of a member: theirs `alone`, and those `shared` with other speakers."""

    user_id: UserId
    room_ids: Sequence[RoomId] | None  # in which they were looked for; None: everywhere
    alone: tuple[Recording, ...]
    shared: tuple[Recording, ...]


async def traces(db: Connection, user_id: UserId, room_ids: Sequence[RoomId] | None) -> Traces:
    """Find what there is of a member in these rooms; None: everywhere."""
    return Traces(user_id, room_ids, *await spoken.by(db, user_id, room_ids))


async def forget(db: Connection, apply: Apply, of: Traces) -> None:
    """Remove what was found, and what is kept of the member beside it, in the caller's transaction. Their wishes, the
    log of changes, and the address that they listen by stay."""
    for recording in of.alone:
        await apply(db, recording.id, Deleted())
    for recording in of.shared:
        theirs = [chunk for chunk in await archive.chunks(db, recording.id) if chunk.sender == of.user_id]
        await apply(db, recording.id, Forgotten(of.user_id))
        await journal.forget(db, [chunk.event_id for chunk in theirs if chunk.event_id])
        await jobs.cancel(db, [orders.Fetch.about(chunk.id) for chunk in theirs])
    await listener_uses.forget(db, of.user_id, of.room_ids)
    if of.room_ids is None:
        await withheld_keys.forget(db, of.user_id)
