"""Ways of speaking: from an event's JSON to a domain event, or to a named rejection. Pure.

Nothing behind this looks at raw JSON. A new client's way is a module here and a line in the registry.
"""

from collections.abc import Callable, Mapping

from bot.dialects import element, msc3888, redaction, sealed
from bot.recording.model import Rejected, RoomEvent
from storage.records import HeardEvent

Reader = Callable[[HeardEvent], RoomEvent | Rejected | None]

INFOS = (element.INFO, *msc3888.INFOS)
"""Types of info events: state, never encrypted."""

READERS: Mapping[str, Reader] = {
    element.INFO: element.info,
    element.MESSAGE: element.message,
    **dict.fromkeys(msc3888.INFOS, msc3888.info),
    **dict.fromkeys(msc3888.CHUNKS, msc3888.chunk),
    redaction.REDACTION: redaction.redaction,
    sealed.ENCRYPTED: sealed.sealed,
}


def read(heard: HeardEvent) -> RoomEvent | Rejected | None:
    """What the event says of a broadcast; None: it is not about one, or was redacted. Never raises."""
    kind = heard.event.get("type")
    reader = READERS.get(kind) if isinstance(kind, str) else None
    return reader(heard) if reader else None
