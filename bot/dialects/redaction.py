"""Redactions. Whether they are of a started event, a chunk or anything else, is for the recorder to know. Pure."""

from collections.abc import Mapping
from dataclasses import replace

from bot.dialects.events import Reader
from bot.dialects.fields import event_id, mapping, sender_of
from bot.recording.model import Redacted, Rejected
from storage.records import EventId, HeardEvent, Json

REDACTION = "m.room.redaction"
MAY = "org.aircheck.may_redact"
"""Key of our own in a journaled redaction: whether its sender had the power to redact others' events at that time."""


def redaction(heard: HeardEvent) -> Redacted | Rejected:
    """Read a redaction: `redacts` is at the top, since room version 11 in the content; homeservers show both.

    Where the two differ, somebody hopes that the server checked one and we read the other. A redaction out of an
    encrypted payload was checked by nobody.
    """
    if heard.encrypted:
        return Rejected("encrypted_redaction")
    sender = sender_of(heard.event)
    holders = (heard.event, mapping(heard.event.get("content")))
    named = [holder["redacts"] for holder in holders if holder.get("redacts") is not None]
    target = event_id(named[0]) if named and named[0] == named[-1] else None
    if sender is None or target is None:
        return Rejected("redacts" if sender else "sender")
    may = heard.event.get(MAY)
    return Redacted(target, sender, may if isinstance(may, bool) else None)


def judged(event: Json, may: bool | None) -> Json:
    """Return the redaction with our own word on its sender's power, in place of what the event says of that itself."""
    return {**event, MAY: may}


def emptied(heard: HeardEvent) -> HeardEvent:
    """Return the event with nothing but its type left."""
    return replace(heard, event={"type": heard.event.get("type"), "content": {}}, clear_relation=None)


def carried_out(heard: HeardEvent) -> HeardEvent | None:
    """Return the redaction of an event that the homeserver shows without its content; None where it has some.

    The homeserver tells who redacted it in `unsigned` (Client-Server API, redactions), if at all. The event id is made
    up here, so that it makes no difference whether the true redaction was heard.
    """
    because = mapping(heard.event.get("unsigned")).get("redacted_because")
    if because is None and heard.event.get("content") != {}:
        return None
    said: Json = {
        "type": REDACTION,
        "sender": (because if isinstance(because, Mapping) else heard.event).get("sender"),
        "redacts": heard.event_id,
        MAY: True,  # the homeserver carried it out
    }
    return HeardEvent(heard.room_id, EventId(f"redaction:{heard.event_id}"), said, history=True)


READERS: dict[str, Reader] = {REDACTION: redaction}
