"""What Element Web, Android and iOS put on the wire. Pure.

A chunk is an ordinary voice message with a marker in its content; the info event is a state event of Element's own
type (matrix-org/matrix-react-sdk `src/voice-broadcast`, element-hq/element-android `voicebroadcast`,
element-hq/element-ios `VoiceBroadcast`). The three differ in hints only: names, media types, where a length stands.
"""

from collections.abc import Mapping

from bot.dialects import fields, media, parts
from bot.dialects.fields import mapping
from bot.recording.model import BroadcastChanged, BroadcastStarted, ChunkSent, Rejected, VoiceMessage
from storage.records import HeardEvent, Json

INFO = "io.element.voice_broadcast_info"
MESSAGE = "m.room.message"
MARKERS = (
    "io.element.voice_broadcast_chunk",
    "org.matrix.msc3888.voice_broadcast_chunk",  # a variant of the proposal's discussion: the same place, its name
    "m.voice_broadcast_chunk",
)


VOICE = ("org.matrix.msc3245.voice", "m.voice")


def info(heard: HeardEvent) -> BroadcastStarted | BroadcastChanged | Rejected | None:
    return parts.info(heard)


def message(heard: HeardEvent) -> ChunkSent | VoiceMessage | Rejected | None:
    """None for every message that doesn't claim to be a chunk. A voice message is told as what it is: it isn't ours
    either, unless a broadcast of its sender is open, which is not for a dialect to know."""
    content = mapping(heard.event.get("content"))
    marker = next((content[name] for name in MARKERS if name in content), None)
    if marker is None:
        return _voice(heard, content)
    if content.get("msgtype") != "m.audio":
        return Rejected("msgtype")
    if not isinstance(marker, Mapping):
        return Rejected("marker")
    return parts.chunk(heard, content, marker.get("sequence"))


def _voice(heard: HeardEvent, content: Json) -> VoiceMessage | None:
    """A voice message that stands for itself: an answer, an edit or a part of a thread was never a chunk."""
    if content.get("msgtype") != "m.audio" or not any(name in content for name in VOICE):
        return None
    if heard.clear_relation or content.get("m.relates_to"):
        return None
    sender, source = fields.user_id(heard.event.get("sender")), media.source(content)
    if sender is None or isinstance(source, Rejected):
        return None
    return VoiceMessage(
        sender=sender,
        source=source,
        announced_ms=fields.duration_ms(content),
        announced_bytes=fields.size(content),
        sent_at=fields.sent_at(heard.event),
    )
