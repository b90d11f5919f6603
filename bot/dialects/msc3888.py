"""Voice broadcasts as MSC3888 proposes them, under its unstable and its stable names. Pure.

The info event is Element's by another name; a chunk is an event of its own type with the number on top.
https://github.com/matrix-org/matrix-spec-proposals/pull/3888
"""

from collections.abc import Mapping

from bot.dialects import parts
from bot.recording.model import BroadcastChanged, BroadcastStarted, ChunkSent, Rejected
from storage.records import HeardEvent

INFOS = ("org.matrix.msc3888.voice_broadcast_info", "m.voice_broadcast_info")
CHUNKS = ("org.matrix.msc3888.voice_broadcast_chunk", "m.voice_broadcast_chunk")


def info(heard: HeardEvent) -> BroadcastStarted | BroadcastChanged | Rejected | None:
    return parts.info(heard)


def chunk(heard: HeardEvent) -> ChunkSent | Rejected | None:
    """None once it is redacted."""
    content = heard.event.get("content")
    if not isinstance(content, Mapping):
        return Rejected("content")
    if not content:
        return None
    return parts.chunk(heard, content, content.get("sequence"))
