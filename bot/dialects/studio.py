"""Voice broadcasts that are made in a studio: events of our own, which no homeserver knows. Pure.

They are written into the journal and nowhere else, so that a studio is a source beside the homeserver and no second
recorder. Whoever sends events of these types into a room is heard by nobody: only the names that we give count, and an
event of a homeserver can't have one. Since room version 3 its name is `$` and 43 letters of base64, which have no `.`;
before, it holds a `:`.
"""

import re
from collections.abc import Mapping
from datetime import datetime

from bot.dialects import fields
from bot.dialects.events import Reader
from bot.recording.model import BroadcastChanged, BroadcastStarted, Change, ChunkSent, Rejected
from storage.records import (
    STARTED,
    STUDIO_EVENTS,
    BlobKey,
    EventId,
    HeardEvent,
    Json,
    MediaSource,
    RoomId,
    Studio,
    StudioSlice,
    UserId,
)

INFO = "org.aircheck.studio.info"
CHUNK = "org.aircheck.studio.chunk"

_WITHIN = rf"{STARTED}|change-[1-9][0-9]{{0,4}}|[1-9][0-9]{{0,5}}"
_NAME = re.compile(rf"{re.escape(STUDIO_EVENTS)}([0-9a-f]{{32}})\.({_WITHIN})", re.ASCII)
_BLOB = re.compile(r"[0-9a-f]{64}")


def started_id(studio: Studio) -> EventId:
    """Return the name of the event that begins a studio's broadcast, and so the broadcast's id."""
    return studio.event_id


def change_id(studio: Studio, number: int) -> EventId:
    """Return the name of a later info event of a studio, numbered from 1."""
    return name(studio.key, f"change-{number}")


def chunk_id(studio: Studio, number: int) -> EventId:
    """Return the name of the event of a slice."""
    return name(studio.key, str(number))


def is_ours(event_id: EventId) -> bool:
    """Return whether an event is a studio's, which no homeserver knows."""
    return _NAME.fullmatch(event_id) is not None


def key_of(event_id: EventId) -> str | None:
    """Return the key of the studio whose event this is; None for an event of a homeserver."""
    name = _NAME.fullmatch(event_id)
    return name[1] if name else None


def number_of(event_id: EventId) -> int | None:
    """Return the number of the slice whose event this is; None for any other event."""
    name = _NAME.fullmatch(event_id)
    return int(name[2]) if name and name[2].isdecimal() else None


def started_name(key: str) -> EventId:
    """Return the id of the broadcast that is made in the studio with this key."""
    return name(key, STARTED)


def name(key: str, within: str) -> EventId:
    """Return the name of an event, by the key of its studio and its name within it."""
    return EventId(f"{STUDIO_EVENTS}{key}.{within}")


def name_within(event_id: EventId) -> str | None:
    """Return the name of a studio's event within its studio; None for an event of a homeserver."""
    found = _NAME.fullmatch(event_id)
    return found[2] if found else None


# ---- writing


def started(studio: Studio, at: datetime) -> HeardEvent:
    """Write the event that begins a broadcast."""
    return _event(studio, started_id(studio), INFO, {"state": "started"}, at)


def changed(studio: Studio, number: int, change: Change, at: datetime, last: int | None = None) -> HeardEvent:
    """Write a later info event. `last`: the number of the last slice, of `stopped`."""
    content = {"state": str(change)} if last is None else {"state": str(change), "last_chunk_sequence": last}
    return _event(studio, change_id(studio, number), INFO, content, at)


def chunk(studio: Studio, piece: StudioSlice, at: datetime) -> HeardEvent:
    """Write the event of a slice that is on the disk."""
    assert piece.blob is not None, "it has come now"
    content: dict[str, object] = {"sequence": piece.number, "blob": piece.blob, "info": {"size": piece.bytes}}
    if piece.duration_ms is not None:
        content["info"] = {"size": piece.bytes, "duration": piece.duration_ms}
    return _event(studio, chunk_id(studio, piece.number), CHUNK, content, at)


def _event(studio: Studio, event_id: EventId, kind: str, content: Json, at: datetime) -> HeardEvent:
    sent_at = int(at.timestamp() * 1000)
    event = {"type": kind, "sender": studio.user_id, "content": dict(content), "origin_server_ts": sent_at}
    return HeardEvent(RoomId(studio.room_id), event_id, event, received_at=at)


# ---- reading


def _of(heard: HeardEvent) -> tuple[EventId, UserId, Json] | Rejected:
    """Return the broadcast, the speaker and the content of an event that we wrote."""
    key, sender, content = key_of(heard.event_id), fields.sender_of(heard.event), heard.event.get("content")
    if key is None or heard.encrypted or heard.history:
        return Rejected("not_ours")
    if sender is None or not isinstance(content, Mapping):
        return Rejected("content")
    return started_name(key), sender, content


def _info(heard: HeardEvent) -> BroadcastStarted | BroadcastChanged | Rejected:
    read = _of(heard)
    if isinstance(read, Rejected):
        return read
    broadcast, sender, content = read
    state, at = content.get("state"), fields.sent_at(heard.event)
    if state == "started" and heard.event_id == broadcast:
        return BroadcastStarted(sender, None, at)
    if state not in list(Change):
        return Rejected("state")
    last = fields.sequence(content.get("last_chunk_sequence"))
    return BroadcastChanged(broadcast, sender, Change(state), last, None, at)


def _chunk(heard: HeardEvent) -> ChunkSent | Rejected:
    read = _of(heard)
    if isinstance(read, Rejected):
        return read
    broadcast, sender, content = read
    blob = content.get("blob")
    if not isinstance(blob, str) or not _BLOB.fullmatch(blob):
        return Rejected("blob")
    return ChunkSent(
        broadcast=broadcast,
        sender=sender,
        sequence=fields.sequence(content.get("sequence")),
        source=MediaSource.of_blob(BlobKey(blob)),
        announced_ms=fields.duration_ms(content),
        announced_bytes=fields.size(content),
        sent_at=fields.sent_at(heard.event),
    )


READERS: dict[str, Reader] = {INFO: _info, CHUNK: _chunk}
