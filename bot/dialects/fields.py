"""Careful readers of single fields: whatever stands there, the answer is a valid value or None. Pure.

Events are JSON of strangers: booleans where integers belong, numbers beyond 64 bits, NaN out of an encrypted payload,
strings that no database can hold.
"""

import math
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

from bot.recording.model import Rejected
from storage.records import DeviceId, DurationMs, EventId, HeardEvent, Json, RoomId, UserId

MAX_ID = 255  # bytes in an id (Client-Server API, size limits); we count characters
MAX_SEQUENCE = 100_000
MAX_CHUNK_LENGTH_S = 24 * 3600
MAX_DURATION_MS = 24 * 3600 * 1000
MAX_BYTES = 1 << 40
LAST_TIME_MS = 253_402_300_799_999  # the last millisecond that a datetime can say
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

NOTHING: Json = {}


def mapping(value: object) -> Json:
    """The object that stands there; an empty one for anything else."""
    return value if isinstance(value, Mapping) else NOTHING


def whole(value: object, lowest: int, highest: int) -> int | None:
    """An integer within the bounds. `5.0` is one: JSON knows no other numbers; `true` is none."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    if isinstance(value, float) and not (math.isfinite(value) and value.is_integer()):
        return None
    return int(value) if lowest <= value <= highest else None


def rounded(value: object, lowest: int, highest: int) -> int | None:
    """A number within the bounds, made whole: durations come with fractions from some clients."""
    if isinstance(value, float) and math.isfinite(value) and abs(value) <= highest:
        value = round(value)
    return whole(value, lowest, highest)


def text(value: object, longest: int = MAX_ID) -> str | None:
    """A string without white space, control characters and lone surrogates, not empty."""
    if not isinstance(value, str) or not 0 < len(value) <= longest:
        return None
    return value if value.isprintable() and not any(map(str.isspace, value)) else None


def event_id(value: object) -> EventId | None:
    found = text(value)
    return EventId(found) if found and found.startswith("$") and len(found) > 1 else None


def user_id(value: object) -> UserId | None:
    found = text(value)
    return UserId(found) if found and found.startswith("@") and ":" in found else None


def device_id(value: object) -> DeviceId | None:
    found = text(value)
    return DeviceId(found) if found else None


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
    """Numbers begin at 1; 0 stands for none in `last_chunk_sequence`."""
    return whole(value, 1, MAX_SEQUENCE)


def sent_at(event: Json) -> datetime | None:
    """Return `origin_server_ts`, the sender's word for the time, in milliseconds; None where it is no time.

    An integer (Client-Server API, room event format): canonical JSON knows no other numbers (Matrix spec, appendices),
    so `1700000000000.0` is none.
    """
    ms = event.get("origin_server_ts")
    if isinstance(ms, bool) or not isinstance(ms, int) or not 0 <= ms <= LAST_TIME_MS:
        return None
    return EPOCH + timedelta(milliseconds=ms)


def duration_ms(content: Json) -> DurationMs | None:
    """What the sender says of a chunk's length, in Element Web's own order of belief. A hint only."""
    for holder in ("org.matrix.msc1767.audio", "info"):
        found = rounded(mapping(content.get(holder)).get("duration"), 1, MAX_DURATION_MS)
        if found is not None:
            return DurationMs(found)
    return None


def size(content: Json) -> int | None:
    """What the sender says of a chunk's bytes. A hint only."""
    return whole(mapping(content.get("info")).get("size"), 1, MAX_BYTES)


def relation(heard: HeardEvent, content: Json) -> EventId | Rejected:
    """The started event that this one refers to (m.reference, MSC3267).

    The clear wrapper of an encrypted event is asked first: most clients take the relation out of what they encrypt.
    Where both say something, only the wrapper counts; the machine checks the sender.
    """
    found = heard.clear_relation if heard.clear_relation is not None else content.get("m.relates_to")
    refers = mapping(found)
    target = event_id(refers.get("event_id"))
    if refers.get("rel_type") != "m.reference" or target is None:
        return Rejected("relation")
    return target
