"""Parts that the dialects of broadcasts share: the info event, and a chunk apart from its number. Pure."""

from collections.abc import Mapping

from bot.dialects import fields, media
from bot.recording.model import BroadcastChanged, BroadcastStarted, Change, ChunkSent, Rejected
from storage.records import HeardEvent, Json

CHANGES = {
    "paused": Change.PAUSED,
    "resumed": Change.RESUMED,
    "running": Change.RESUMED,  # Element Web until 2022-10-26 and the proposal's first draft
    "stopped": Change.STOPPED,
}


def info(heard: HeardEvent) -> BroadcastStarted | BroadcastChanged | Rejected | None:
    """Read a state event of a broadcast; None once it is redacted.

    State is never encrypted where broadcasts are sent, so state out of an encrypted payload is a forgery: the
    homeserver checked neither its power level nor its state key.
    """
    event = heard.event
    content = event.get("content")
    sender = fields.sender_of(event)
    if not isinstance(content, Mapping):
        return Rejected("content")
    if heard.encrypted:
        return Rejected("encrypted_state")
    if sender is None:
        return Rejected("sender")
    if event.get("state_key") != sender:
        return Rejected("state_key")
    state = content.get("state")
    if state is None:
        return None
    device = fields.device_id(content.get("device_id"))
    if state == "started":
        return BroadcastStarted(sender, device, fields.sent_at(event))
    if not isinstance(state, str) or state not in CHANGES:
        return Rejected("state")
    broadcast = fields.relation(heard, content)
    if isinstance(broadcast, Rejected):
        return broadcast
    last = fields.sequence(content.get("last_chunk_sequence"))
    return BroadcastChanged(broadcast, sender, CHANGES[state], last, device, fields.sent_at(event))


def chunk(heard: HeardEvent, content: Json, number: object) -> ChunkSent | Rejected:
    """Read a chunk. `number`: the value of the field that should hold its number."""
    sender = fields.sender_of(heard.event)
    if sender is None:
        return Rejected("sender")
    broadcast = fields.relation(heard, content)
    if isinstance(broadcast, Rejected):
        return broadcast
    source = media.source(content)
    if isinstance(source, Rejected):
        return source
    return ChunkSent(
        broadcast=broadcast,
        sender=sender,
        sequence=fields.sequence(number),
        source=source,
        announced_ms=fields.duration_ms(content),
        announced_bytes=fields.size(content),
        sent_at=fields.sent_at(heard.event),
    )
