"""Threads (Client-Server API, threading): where an answer belongs."""

from storage.records import EventId, HeardEvent


def thread_of(heard: HeardEvent) -> EventId | None:
    """The root of the thread that an event stands in; None outside of threads. A sealed event tells it in clear."""
    content = heard.event.get("content")
    relation = heard.clear_relation or (content.get("m.relates_to") if isinstance(content, dict) else None)
    if not isinstance(relation, dict) or relation.get("rel_type") != "m.thread":
        return None
    root = relation.get("event_id")
    return EventId(root) if isinstance(root, str) else None
