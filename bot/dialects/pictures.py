"""Pictures that people post (Client-Server API, m.image). Pure."""

from bot.dialects import media
from bot.dialects.fields import mapping
from bot.event_types import MESSAGE
from bot.recording.model import Rejected
from storage.records import HeardEvent, MediaSource


def picture(heard: HeardEvent) -> MediaSource | None:
    """Return the source of the picture that a message shows; None where it shows none that can be fetched."""
    content = mapping(heard.event.get("content"))
    if heard.event.get("type") != MESSAGE or content.get("msgtype") != "m.image":
        return None
    source = media.source(content)
    return None if isinstance(source, Rejected) else source
