"""The judgement of redactions: whether one counts for an event, also one that came before the event."""

from bot import rules
from bot.recording.model import Redacted
from storage import early_redactions, rooms
from storage.database import Connection
from storage.records import EventId, RoomId, UserId


async def counts(db: Connection, room_id: RoomId, redaction: Redacted, sender: UserId) -> bool:
    """Return whether a redaction counts for an event of `sender`: the redactor's own event, or one that their power let
    them redact at the time; if that is not known, by their power now."""
    if redaction.may is not None:
        return redaction.may or redaction.sender == sender
    return rules.may_redact(redaction.sender, sender, await rooms.power(db, room_id))


async def redacted_by(db: Connection, room_id: RoomId, event_id: EventId, sender: UserId) -> UserId | None:
    """Return a user who redacted this event of `sender` before it came and was allowed to."""
    redactors = await early_redactions.by(db, room_id, event_id)
    for user, may in sorted(redactors.items()):
        if await counts(db, room_id, Redacted(event_id, user, may), sender):
            return user
    return None
