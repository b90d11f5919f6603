"""Redactions: of a started event, a chunk, or anything else, which is for the machine to know. Pure."""

from bot.matrix.dialects.fields import event_id, mapping, user_id
from bot.recording.model import Redacted, Rejected
from storage.records import HeardEvent

REDACTION = "m.room.redaction"


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
    return Redacted(target, sender)
