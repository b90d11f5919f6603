"""Plain text messages (Client-Server API, m.room.message), of which some are commands. Pure."""

from bot.dialects import fields
from bot.dialects.events import Reader, TextMessage
from bot.dialects.fields import mapping
from bot.event_types import MESSAGE
from storage.records import EventId, HeardEvent, Json, UserId

MOST_MENTIONS = 50
"""Mentioned users of one message that are looked at."""


def message(heard: HeardEvent) -> TextMessage | None:
    """Read a text message; None for everything else.

    Edits are left out, whatever they say now: the words that were answered stand. Quotes are left out too: their plain
    body begins with `>` (Client-Server API, fallbacks for rich replies).
    """
    content, sender = mapping(heard.event.get("content")), fields.sender_of(heard.event)
    body = content.get("body")
    if sender is None or "state_key" in heard.event or content.get("msgtype") != "m.text" or not isinstance(body, str):
        return None
    if _is_edit(content) or body.lstrip().startswith(">"):
        return None
    return TextMessage(
        sender,
        body,
        _thread(heard, content),
        _mentions(content),
        fields.sent_at(heard.event),
        _reply_to(heard, content),
    )


def _is_edit(content: Json) -> bool:
    return "m.new_content" in content or mapping(content.get("m.relates_to")).get("rel_type") == "m.replace"


def _thread(heard: HeardEvent, content: Json) -> EventId | None:
    """Return the root of the message's thread (Client-Server API, threading). An encrypted event tells it in clear."""
    relation = mapping(heard.clear_relation or content.get("m.relates_to"))
    return fields.event_id(relation.get("event_id")) if relation.get("rel_type") == "m.thread" else None


def _reply_to(heard: HeardEvent, content: Json) -> EventId | None:
    """Return the event that the message replies to (Client-Server API, rich replies), as its sender encrypted it if it
    is said there too."""
    relations = (mapping(content.get("m.relates_to")), mapping(heard.clear_relation))
    replies = (mapping(relation.get("m.in_reply_to")) for relation in relations)
    return next((event for reply in replies if (event := fields.event_id(reply.get("event_id")))), None)


def _mentions(content: Json) -> tuple[UserId, ...]:
    """Return the mentioned users (Client-Server API, user and room mentions)."""
    users = mapping(content.get("m.mentions")).get("user_ids")
    named = map(fields.user_id, users[:MOST_MENTIONS]) if isinstance(users, list) else ()
    return tuple(user for user in named if user is not None)


READERS: dict[str, Reader] = {MESSAGE: message}
