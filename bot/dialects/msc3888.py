"""Voice broadcasts as MSC3888 proposes them, under its unstable and its stable names. Pure.

The info event is Element's under another type; a chunk is an event of its own type, its number at the top of the
content.
https://github.com/matrix-org/matrix-spec-proposals/pull/3888
"""

from collections.abc import Mapping

from bot.dialects import broadcasts as parts
from bot.dialects.events import Reader
from bot.event_types import BROADCAST_INFOS, ELEMENT_INFO, MSC3888_CHUNK
from bot.recording.model import ChunkSent, Rejected
from storage.records import HeardEvent

INFOS = tuple(kind for kind in BROADCAST_INFOS if kind != ELEMENT_INFO)
CHUNKS = (MSC3888_CHUNK, "m.voice_broadcast_chunk")


def chunk(heard: HeardEvent) -> ChunkSent | Rejected | None:
    """Read a chunk; None once it is redacted."""
    content = heard.event.get("content")
    if not isinstance(content, Mapping):
        return Rejected("content")
    if not content:
        return None
    return parts.chunk(heard, content, content.get("sequence"))


READERS: dict[str, Reader] = {**dict.fromkeys(INFOS, parts.info), **dict.fromkeys(CHUNKS, chunk)}
