"""Careful readers of single fields: whatever the JSON holds, they return a valid value or None. Pure.

Events are JSON of strangers: booleans where integers belong, numbers beyond 64 bits, NaN out of an encrypted payload,
strings that no database can hold.
"""

import math
from collections.abc import Mapping

from bot import facts
from bot.recording.model import Rejected
from storage.records import DeviceId, DurationMs, EventId, HeardEvent, Json, RoomId, UserId

MAX_ID = facts.MAX_ID  # we count characters of what users say
MAX_SEQUENCE = 100_000
MAX_DURATION_MS = 24 * 3600 * 1000
MAX_BYTES = 1 << 40

NOTHING: Json = {}
sent_at = facts.sent_at


def mapping(value: object) -> Json:
    """Return the JSON object; an empty one for anything else."""
    return value if isinstance(value, Mapping) else NOTHING


def whole(value: object, lowest: int, highest: int) -> int | None:
    """Return an integer within the bounds. `5.0` is one, since JSON has one type of number; `true` is none."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    if isinstance(value, float) and not (math.isfinite(value) and value.is_integer()):
        return None
    return int(value) if lowest <= value <= highest else None


def rounded(value: object, lowest: int, highest: int) -> int | None:
    """Return a number within the bounds, rounded: some clients send durations with fractions."""
    if isinstance(value, float) and math.isfinite(value) and abs(value) <= highest:
        value = round(value)
    return whole(value, lowest, highest)


def text(value: object, longest: int = MAX_ID) -> str | None:
    """Return a string that is not empty and has no white space, control characters or lone surrogates."""
    if not isinstance(value, str) or not 0 < len(value) <= longest:
        return None
    return value if value.isprintable() and not any(map(str.isspace, value)) else None


def event_id(value: object) -> EventId | None:
    name = text(value)
    return EventId(name) if name and name.startswith("$") and len(name) > 1 else None


def user_id(value: object) -> UserId | None:
    name = text(value)
    return UserId(name) if name and name.startswith("@") and ":" in name else None


def device_id(value: object) -> DeviceId | None:
    name = text(value)
    return DeviceId(name) if name else None


def type_of(event: Json) -> str:
    """Return the event's type; an empty text where there is none."""
    kind = event.get("type")
    return kind if isinstance(kind, str) else ""


def sender_of(event: Json) -> UserId | None:
    return user_id(event.get("sender"))


def answers_for(answer: HeardEvent, room_id: RoomId, event_id: EventId) -> bool:
    """Return whether the homeserver answered with the event that it was asked for. Some leave the room's id out."""
    return answer.event_id == event_id and answer.event.get("room_id", room_id) == room_id


def transaction_of(event: Json) -> str:
    """Return the transaction id by which the event was sent, which a homeserver shows to its sender (Client-Server API,
    `unsigned`); an empty text where there is none."""
    transaction = mapping(event.get("unsigned")).get("transaction_id")
    return transaction if isinstance(transaction, str) else ""


def sequence(value: object) -> int | None:
    """Return a chunk's number, from 1; in `last_chunk_sequence` 0 means that there is none."""
    return whole(value, 1, MAX_SEQUENCE)


def duration_ms(content: Json) -> DurationMs | None:
    """Return the length that the sender gives a chunk, the fields in Element Web's own order. A hint only."""
    for holder in ("org.matrix.msc1767.audio", "info"):
        duration = rounded(mapping(content.get(holder)).get("duration"), 1, MAX_DURATION_MS)
        if duration is not None:
            return DurationMs(duration)
    return None


def size(content: Json) -> int | None:
    """Return the number of bytes that the sender gives a chunk. A hint only."""
    return whole(mapping(content.get("info")).get("size"), 1, MAX_BYTES)


def relation(heard: HeardEvent, content: Json) -> EventId | Rejected:
    """Return the started event that this one refers to (m.reference, MSC3267).

    The clear wrapper of an encrypted event comes first: most clients take the relation out of what they encrypt. Where
    both have one, only the wrapper's counts; the machine checks the sender.
    """
    relation = mapping(heard.clear_relation if heard.clear_relation is not None else content.get("m.relates_to"))
    target = event_id(relation.get("event_id"))
    if relation.get("rel_type") != "m.reference" or target is None:
        return Rejected("relation")
    return target
