"""Encrypted events whose key is not here (yet): only their wrapper can be read. Pure."""

from bot.dialects import fields
from bot.dialects.events import Reader
from bot.event_types import ENCRYPTED
from bot.recording.model import ChunkSealed, MessageSealed, Rejected
from storage.records import HeardEvent, SessionId

NO_MESSAGES = frozenset({"m.replace", "m.annotation", "m.reference"})
"""Relations that no voice message of a session has."""


def sealed(heard: HeardEvent) -> ChunkSealed | MessageSealed | Rejected | None:
    """Read the wrapper: a reference in it is the only sign of a chunk, and clients themselves go by it.

    Any other message may be a voice message. Only a room that records those keeps it.
    """
    content = fields.mapping(heard.event.get("content"))
    broadcast = fields.relation(heard, content)
    sender = fields.sender_of(heard.event)
    if isinstance(broadcast, Rejected):
        relation = fields.mapping(heard.clear_relation or content.get("m.relates_to"))
        may_be = heard.session_id is not None and relation.get("rel_type") not in NO_MESSAGES
        return MessageSealed(sender) if sender is not None and may_be else None
    if sender is None:
        return Rejected("sender")
    session = heard.session_id or fields.text(content.get("session_id"))
    if session is None:
        return Rejected("session_id")
    return ChunkSealed(broadcast, sender, SessionId(session), fields.sent_at(heard.event))


READERS: dict[str, Reader] = {ENCRYPTED: sealed}
