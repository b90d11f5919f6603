"""What Element Web, Android and iOS put on the wire. Pure.

A chunk is an ordinary voice message with a marker in its content; the info event is a state event of Element's own
type (matrix-org/matrix-react-sdk `src/voice-broadcast`, element-hq/element-android `voicebroadcast`,
element-hq/element-ios `VoiceBroadcast`). The three differ in hints only: names, media types, where a length stands.
"""

from collections.abc import Mapping

from bot.matrix.dialects import parts
from bot.matrix.dialects.fields import mapping
from bot.recording.model import BroadcastChanged, BroadcastStarted, ChunkSent, Rejected
from storage.records import HeardEvent

INFO = "io.element.voice_broadcast_info"
MESSAGE = "m.room.message"
MARKERS = (
    "io.element.voice_broadcast_chunk",
    "org.matrix.msc3888.voice_broadcast_chunk",  # a variant of the proposal's discussion: the same place, its name
    "m.voice_broadcast_chunk",
)


def info(heard: HeardEvent) -> BroadcastStarted | BroadcastChanged | Rejected | None:
    return parts.info(heard)


def message(heard: HeardEvent) -> ChunkSent | Rejected | None:
    """None for every message that doesn't claim to be a chunk: voice messages are not ours."""
    content = mapping(heard.event.get("content"))
    marker = next((content[name] for name in MARKERS if name in content), None)
    if marker is None:
        return None
    if content.get("msgtype") != "m.audio":
        return Rejected("msgtype")
    if not isinstance(marker, Mapping):
        return Rejected("marker")
    return parts.chunk(heard, content, marker.get("sequence"))
