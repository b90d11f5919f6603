"""Redactions: of a started event, a chunk, or anything else, which is for the machine to know. Pure."""

from bot.dialects.events import Reader
from bot.dialects.fields import event_id, mapping, user_id
from bot.recording.model import Redacted, Rejected
from storage.records import HeardEvent, Json

REDACTION = "m.room.redaction"
MAY = "org.aircheck.may_redact"
"""In the journal: whether the sender had the power to redact others' events when it was said."""


def redaction(heard: HeardEvent) -> Redacted | Rejected:
    """`redacts` stands on top, since room version 11 in the content; homeservers show both.

    Where the two differ somebody hopes that the server checked one and we read the other. And a redaction out of an
    encrypted payload was checked by nobody.
    """
    if heard.encrypted:
        return Rejected("encrypted_redaction")
    sender = user_id(heard.event.get("sender"))
    holders = (heard.event, mapping(heard.event.get("content")))
    named = [holder["redacts"] for holder in holders if holder.get("redacts") is not None]
    target = event_id(named[0]) if named and named[0] == named[-1] else None
    if sender is None or target is None:
        return Rejected("redacts" if sender else "sender")
    may = heard.event.get(MAY)
    return Redacted(target, sender, may if isinstance(may, bool) else None)


def judged(event: Json, may: bool | None) -> Json:
    """The redaction with our own word on its sender's power; what the event says of that itself is dropped."""
    return {**event, MAY: may}


READERS: dict[str, Reader] = {REDACTION: redaction}
