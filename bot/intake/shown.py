"""The events that stand for recordings in their rooms. A broadcast from a studio has none, unless its room wants the
events of MSC3888: what names it in the journal is known to no homeserver."""

from bot.dialects import studio
from storage import studios
from storage.database import Connection
from storage.records import EventId, Recording


async def event_of(db: Connection, recording: Recording) -> EventId | None:
    """Return the event in the room that stands for a recording, to reply to, to refer to or to redact."""
    return await in_room(db, recording.event_id)


async def in_room(db: Connection, event_id: EventId) -> EventId | None:
    """Return the event in the room that stands for this one: itself, but for the events of studios."""
    key, number = studio.key_of(event_id), studio.number_of(event_id)
    if key is None:
        return event_id
    made_in = await studios.by_key(db, key)
    if made_in is None:
        return None
    if number is not None:
        piece = await studios.slice_of(db, made_in.id, number)
        return piece.sent_as if piece is not None else None
    return made_in.info_event if event_id == made_in.event_id else None


async def named_here(db: Connection, event_id: EventId) -> EventId:
    """Return the name that the journal has for what stands in the room as this event: the opposite of `in_room`."""
    made_in = await studios.by_info_event(db, event_id)
    if made_in is not None:
        return made_in.event_id
    piece = await studios.slice_sent_as(db, event_id)
    made_in = await studios.get(db, piece.studio_id) if piece is not None else None
    return studio.chunk_id(made_in, piece.number) if made_in is not None and piece is not None else event_id
