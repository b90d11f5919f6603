"""Reactions (Client-Server API, m.reaction). Clients send them in clear in encrypted rooms too. Pure."""

from bot.dialects import fields
from bot.dialects.events import Reacted, Reader
from bot.dialects.fields import mapping
from bot.event_types import REACTION
from storage.records import HeardEvent

KEY_CHARACTERS = 16
"""The longest key that is looked at: one emoji, of several code points."""
_VARIANTS = dict.fromkeys([0xFE0E, 0xFE0F, *range(0x1F3FB, 0x1F400)])
"""Variation selectors and skin tones (Unicode, UTS #51), which change how an emoji looks and not what it says."""


def reaction(heard: HeardEvent) -> Reacted | None:
    """Read a reaction; None for everything else, also for one that was redacted."""
    content, sender = mapping(heard.event.get("content")), fields.sender_of(heard.event)
    relation = mapping(content.get("m.relates_to"))
    target, key = fields.event_id(relation.get("event_id")), relation.get("key")
    if sender is None or target is None or "state_key" in heard.event or relation.get("rel_type") != "m.annotation":
        return None
    if not isinstance(key, str) or len(key) > KEY_CHARACTERS:
        return None
    return Reacted(sender, target, key.translate(_VARIANTS), fields.sent_at(heard.event))


READERS: dict[str, Reader] = {REACTION: reaction}
