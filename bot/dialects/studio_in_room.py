"""Events of MSC3888 by which a room hears what is said in a studio: written by the bot, and known again. Pure.

They have the proposal's unstable names, which clients that do not know them show as nothing. The bot sends them, so it
is their sender; who speaks stands in them. Each names the event of ours that it stands for, by which the bot that sent
it knows it again: also where its rows are gone, as in a restored store. Of any other sender the mark says nothing.
https://github.com/matrix-org/matrix-spec-proposals/pull/3888
"""

import re
from dataclasses import dataclass

from bot.dialects import fields
from bot.dialects.fields import mapping, type_of
from bot.event_types import MSC3888_CHUNK, MSC3888_INFO
from storage.records import DurationMs, EventId, HeardEvent, Json, StudioEvent, UserId

MARK = "org.aircheck.studio"
SPEAKER = "org.aircheck.speaker"
CHUNK_LENGTH_S = 5
"""The length of a slice, as the studio's page cuts them."""
REFERENCE = "m.reference"

_MARK = re.compile(r"([0-9a-f]{32})\.(started|change-[1-9][0-9]{0,4}|[1-9][0-9]{0,5})", re.ASCII)
_STATES = frozenset({"started", "paused", "resumed", "stopped"})


@dataclass(frozen=True, slots=True)
class Voice:
    """A member who speaks, and the name that the room knew them by."""

    user_id: UserId
    name: str | None


@dataclass(frozen=True, slots=True)
class Sound:
    """The file of a slice, as its event describes it."""

    bytes: int
    mimetype: str
    duration_ms: DurationMs | None


def info(event: StudioEvent, voice: Voice, started: EventId | None) -> Json:
    """Write an info event. `started`: the event in the room that began the broadcast; None for that event itself."""
    content: dict[str, object] = {"state": event.state, "device_id": _device(event.key)}
    if started is None:
        content["chunk_length"] = CHUNK_LENGTH_S
    else:
        content["last_chunk_sequence"] = event.last or 0
        content["m.relates_to"] = {"rel_type": REFERENCE, "event_id": started}
    return content | _marks(event, voice)


def chunk(event: StudioEvent, voice: Voice, started: EventId, sound: Sound, file: Json) -> Json:
    """Write the event of a slice. `file`: its `url`, or its `file` where the room is encrypted."""
    described: dict[str, object] = {"mimetype": sound.mimetype, "size": sound.bytes}
    if sound.duration_ms is not None:
        described["duration"] = sound.duration_ms
    return {
        "sequence": event.number,
        "info": described,
        **file,
        "m.relates_to": {"rel_type": REFERENCE, "event_id": started},
        **_marks(event, voice),
    }


def _device(key: str) -> str:
    """Name the device: two studios of a room share a state key, and one must not seem to begin anew on the other's."""
    return f"aircheck-{key[:10]}"


def _marks(event: StudioEvent, voice: Voice) -> dict[str, object]:
    speaker = {"user_id": voice.user_id} | ({"display_name": voice.name} if voice.name else {})
    return {SPEAKER: speaker, MARK: f"{event.key}.{event.name}"}


@dataclass(frozen=True, slots=True)
class Mark:
    """The event of ours that an event in the room stands for."""

    key: str
    name: str
    state: str | None  # of an info event


def mark_of(us: UserId, heard: HeardEvent) -> Mark | None:
    """Return what an event of the bot's own stands for; None for any other event, and once it is redacted."""
    if fields.sender_of(heard.event) != us:
        return None
    kind, content = type_of(heard.event), mapping(heard.event.get("content"))
    if kind not in (MSC3888_INFO, MSC3888_CHUNK):
        return None
    said = content.get(MARK)
    named = _MARK.fullmatch(said) if isinstance(said, str) else None
    if named is None:
        return None
    state = content.get("state")
    if kind == MSC3888_CHUNK:
        return Mark(named[1], named[2], None) if named[2].isdecimal() else None
    if heard.encrypted or named[2].isdecimal() or not isinstance(state, str) or state not in _STATES:
        return None
    return Mark(named[1], named[2], state)


def voice_of(heard: HeardEvent) -> UserId | None:
    """Return who speaks in an event of a bot's studio, as that bot says; None for any other event."""
    return fields.user_id(mapping(mapping(heard.event.get("content")).get(SPEAKER)).get("user_id"))


def sealed_reference(us: UserId, heard: HeardEvent) -> EventId | None:
    """Return the event that an encrypted event of the bot's own refers to, in clear."""
    relation = mapping(heard.clear_relation)
    if fields.sender_of(heard.event) != us or relation.get("rel_type") != REFERENCE:
        return None
    return fields.event_id(relation.get("event_id"))
