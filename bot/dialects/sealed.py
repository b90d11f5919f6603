"""Encrypted events whose key is not here (yet): only their wrapper can be read. Pure."""

from bot.dialects import fields
from bot.dialects.events import Reader
from bot.event_types import ENCRYPTED
from bot.recording.model import ChunkSealed, Rejected
from storage.records import HeardEvent, SessionId


def sealed(heard: HeardEvent) -> ChunkSealed | Rejected | None:
    """Read the wrapper: a reference in it is the only sign of a chunk, and clients themselves go by it.

    None without a reference: the room's other messages are not ours to keep.
    """
    content = fields.mapping(heard.event.get("content"))
    broadcast = fields.relation(heard, content)
    if isinstance(broadcast, Rejected):
        return None
    sender = fields.sender_of(heard.event)
    if sender is None:
        return Rejected("sender")
    session = heard.session_id or fields.text(content.get("session_id"))
    if session is None:
        return Rejected("session_id")
    return ChunkSealed(broadcast, sender, SessionId(session), fields.sent_at(heard.event))


READERS: dict[str, Reader] = {ENCRYPTED: sealed}
