"""The bot's own traces in a room: edits of its notices, and its state event `org.aircheck.room`. Pure."""

import re

from bot.dialects.fields import event_id, mapping, sender_of, type_of
from bot.event_types import MSC3888_CHUNK, MSC3888_INFO
from storage.records import EventId, HeardEvent, Json, Recorded, Retention, UserId, Visibility

LIMITED = re.compile(r"([1-9][0-9]{0,5}) (days|episodes)")


def _relation(us: UserId, heard: HeardEvent) -> Json:
    """Return how an event of the bot's relates to others; nothing for anybody else's."""
    if sender_of(heard.event) != us:
        return {}
    return mapping(heard.clear_relation or mapping(heard.event.get("content")).get("m.relates_to"))


def answered_by(us: UserId, heard: HeardEvent) -> EventId | None:
    """Return the event that a message of the bot's replies to; None for any other event."""
    return event_id(mapping(_relation(us, heard).get("m.in_reply_to")).get("event_id"))


def held_by(us: UserId, heard: HeardEvent) -> EventId | None:
    """Return the event whose recording a voice message of the bot's holds; None for any other event."""
    if type_of(heard.event) in (MSC3888_INFO, MSC3888_CHUNK):
        return None  # a broadcast from a studio
    relation = _relation(us, heard)
    return event_id(relation.get("event_id")) if relation.get("rel_type") == "m.reference" else None


def edited_by(us: UserId, heard: HeardEvent) -> EventId | None:
    """Return the event that the bot put this one in place of; None for any other event. Of an encrypted one the
    relation is in clear."""
    relation = _relation(us, heard)
    return event_id(relation.get("event_id")) if relation.get("rel_type") == "m.replace" else None


def recorded(content: Json) -> frozenset[Recorded]:
    """Return what the state event says is recorded in the room; what can't be read says nothing."""
    named: object = content.get("records")
    return frozenset(kind for kind in Recorded if isinstance(named, list) and str(kind) in named)


def retention(content: Json) -> Retention | None:
    """Return how long the state event says that recordings are kept; None where it does not, or can't be read."""
    said: object = content.get("retention")
    if said == str(Retention()):
        return Retention()
    limited = LIMITED.fullmatch(said) if isinstance(said, str) else None
    return Retention(**{limited[2]: int(limited[1])}) if limited else None


def is_public(content: Json) -> bool:
    """Return whether the state event says that the podcast is public."""
    return content.get("visibility") == Visibility.PUBLIC
