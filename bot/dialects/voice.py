"""Voice messages that belong to no broadcast (MSC3245, https://github.com/matrix-org/matrix-spec-proposals/pull/3245).
Pure."""

from bot.dialects import fields, media
from bot.dialects.events import Reader
from bot.dialects.fields import mapping
from bot.event_types import MESSAGE
from bot.recording.model import Rejected, VoiceMessage
from storage.records import EventId, HeardEvent, Json, MediaSource, MxcUri

HANDED_BACK = "org.aircheck.recording"
"""A field of voice messages that hold recordings, this bot's or another Aircheck's: they are never recorded again."""
MARKERS = ("org.matrix.msc3245.voice", "m.voice")


def message(heard: HeardEvent) -> VoiceMessage | None:
    """Read a voice message; None for an edit, or a recording that was handed back.

    One whose media can't be fetched is None too: it claims to be nothing that is looked for.
    """
    content = mapping(heard.event.get("content"))
    if HANDED_BACK in content or content.get("msgtype") != "m.audio" or not any(name in content for name in MARKERS):
        return None
    relation = _relation(heard)
    if relation.get("rel_type") == "m.replace":
        return None
    sender, source = fields.sender_of(heard.event), media.source(content)
    if sender is None or isinstance(source, Rejected):
        return None
    return VoiceMessage(
        sender=sender,
        source=source,
        announced_ms=fields.duration_ms(content),
        announced_bytes=fields.size(content),
        sent_at=fields.sent_at(heard.event),
        thread=thread_of(heard),
        plain=not relation,
    )


def thread_of(heard: HeardEvent) -> EventId | None:
    """Return the root of the thread that a message stands in, also of one that can't be decrypted."""
    relation = _relation(heard)
    return fields.event_id(relation.get("event_id")) if relation.get("rel_type") == "m.thread" else None


def _relation(heard: HeardEvent) -> Json:
    content = mapping(heard.event.get("content"))
    return mapping(heard.clear_relation if heard.clear_relation is not None else content.get("m.relates_to"))


def handed_back(heard: HeardEvent) -> MxcUri | None:
    """Return the address of the file of a recording that was handed back; None for any other message."""
    content = mapping(heard.event.get("content"))
    source = media.source(content)
    return source.mxc if HANDED_BACK in content and isinstance(source, MediaSource) else None


READERS: dict[str, Reader] = {MESSAGE: message}
