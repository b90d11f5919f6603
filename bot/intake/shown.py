"""The events that stand for recordings in their rooms. A broadcast from a studio has none, unless its room wants the
events of MSC3888: what names it in the journal is known to no homeserver."""

from bot.dialects import studio
from storage import studio_events, studios
from storage.database import Connection
from storage.records import STARTED, EventId, Recording


async def event_of(db: Connection, recording: Recording) -> EventId | None:
    """Return the event in the room that stands for a recording, to reply to, to refer to or to redact."""
    return await in_room(db, recording.event_id)


async def in_room(db: Connection, event_id: EventId) -> EventId | None:
    """Return the event in the room that stands for this one: itself, but for the events of studios."""
    key, name = studio.key_of(event_id), studio.name_within(event_id)
    if key is None or name is None:
        return event_id
    if name == STARTED:  # known also when the recording is deleted
        made_in = await studios.by_key(db, key)
        return made_in.info_event if made_in is not None else None
    event = await studio_events.get(db, key, name)
    return event.event_id if event is not None else None


async def named_here(db: Connection, event_id: EventId) -> EventId:
    """Return the name that the journal has for what stands in the room as this event: the opposite of `in_room`."""
    event = await studio_events.by_event(db, event_id)
    return studio.name(event.key, event.stands_for) if event is not None else event_id
