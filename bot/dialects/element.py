"""Voice broadcasts as Element Web, Android and iOS send them. Pure.

A chunk is an ordinary voice message with a marker in its content; the info event is a state event of Element's own
type (matrix-org/matrix-react-sdk `src/voice-broadcast`, element-hq/element-android `voicebroadcast`,
element-hq/element-ios `VoiceBroadcast`). The three differ in hints only: names, media types, and
the field that holds the length.
"""

from collections.abc import Mapping

from bot.dialects import broadcasts as parts
from bot.dialects.events import Reader
from bot.dialects.fields import mapping
from bot.event_types import ELEMENT_INFO, MESSAGE
from bot.recording.model import ChunkSent, Rejected
from storage.records import HeardEvent

INFO = ELEMENT_INFO
MARKERS = (
    "io.element.voice_broadcast_chunk",
    "org.matrix.msc3888.voice_broadcast_chunk",  # a variant in the proposal's discussion: same place, its own name
    "m.voice_broadcast_chunk",
)


def chunk(heard: HeardEvent) -> ChunkSent | Rejected | None:
    """Read a message with a chunk's marker; None for every message without one."""
    content = mapping(heard.event.get("content"))
    marker = next((content[name] for name in MARKERS if name in content), None)
    if marker is None:
        return None
    if content.get("msgtype") != "m.audio":
        return Rejected("msgtype")
    if not isinstance(marker, Mapping):
        return Rejected("marker")
    return parts.chunk(heard, content, marker.get("sequence"))


READERS: dict[str, Reader] = {INFO: parts.info, MESSAGE: chunk}
