"""Somebody who broadcasts in a captured room, event by event, with media that the homeserver has or has not."""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from bot.demo.slicing import Slicer, speech
from storage.records import EventId, HeardEvent, UserId
from tests.line.replay import ALICE, INFO, Capture, Replay

CHUNK = "io.element.voice_broadcast_chunk"
SECOND = 50  # packets
NOT_STARTED = EventId("")

_numbers = itertools.count(1)


def sliced(*seconds: float, begin: int = 0) -> list[bytes]:
    """Cut one run of Element Web's recorder into slices of at least these lengths, on whole pages."""
    packets = list(speech(1)[begin * SECOND :])
    run = Slicer(next(_numbers), 0.1)
    made = []
    for length in seconds:
        count = round(length * SECOND / 40) * 40
        made.append([piece.data for piece in run.feed(packets[:count])])
        packets = packets[count:]
    last = run.end().data
    return [*(_joined(pieces) for pieces in made[:-1]), _joined([*made[-1], last])]


def _joined(pieces: Sequence[bytes]) -> bytes:
    """Join slices of one run: its headers once, then all pages."""
    first, *others = pieces
    heads = _headers(first)
    return first + b"".join(piece[heads:] for piece in others)


def _headers(piece: bytes) -> int:
    """Measure the two header pages."""
    return piece.index(b"OggS", piece.index(b"OpusTags"))


@dataclass
class Speaker:
    """A member's broadcast on one device, made event by event."""

    capture: Capture
    user: UserId = ALICE
    device: str = "PHONE"
    uploads: dict[str, bytes] = field(default_factory=dict)
    broadcast: EventId = NOT_STARTED
    at_ms: int = 0

    def __post_init__(self) -> None:
        self.at_ms = self.at_ms or int(self.capture.broadcast[0].event["origin_server_ts"])

    def starts(self, **fields: Any) -> HeardEvent:
        content = {"state": "started", "device_id": self.device, "chunk_length": 5}
        heard = self.says(INFO, content, state_key=self.user, **fields)
        self.broadcast = heard.event_id
        return heard

    def tells(self, state: str, last: int | None = None, **fields: Any) -> HeardEvent:
        """Make an info event (paused, resumed or stopped); without `last` it announces no number."""
        number = {} if last is None else {"last_chunk_sequence": last}
        content = {"state": state, "device_id": self.device, "m.relates_to": self.relation, **number}
        return self.says(INFO, content, **{"state_key": self.user, **fields})

    def sends(self, data: bytes, number: int | None, *, mxc: str | None = None, **fields: Any) -> HeardEvent:
        """Make a chunk; its media is uploaded, unless `mxc` names one."""
        where = mxc or f"mxc://lab.local/by-hand-{next(_numbers)}"
        if mxc is None:
            self.uploads[where] = data
        marker: Mapping[str, Any] = {} if number is None else {"sequence": number}
        content = {"msgtype": "m.audio", "body": "Voice message", "url": where, CHUNK: marker}
        return self.says("m.room.message", {**content, "m.relates_to": self.relation}, **fields)

    def says(self, kind: str, content: Mapping[str, Any], **fields: Any) -> HeardEvent:
        """Make an event, one second after the one before."""
        self.at_ms += 1000
        event_id = EventId(f"$by-hand-{next(_numbers):05}")
        event = {"type": kind, "sender": self.user, "content": content, "origin_server_ts": self.at_ms}
        return HeardEvent(self.capture.room, event_id, {**event, "event_id": event_id, **fields})

    @property
    def relation(self) -> Mapping[str, Any]:
        return {"rel_type": "m.reference", "event_id": self.broadcast}


def whole(speaker: Speaker, media: Sequence[bytes]) -> list[HeardEvent]:
    """Make a chunk for each of these files, and `stopped` with the right number."""
    chunks = [speaker.sends(data, number) for number, data in enumerate(media, start=1)]
    return [*chunks, speaker.tells("stopped", len(media))]


async def told(replay: Replay, speaker: Speaker, *heard: HeardEvent) -> None:
    """Put the media on the homeserver and bring the events in a sync."""
    replay.serves(speaker.uploads)
    await replay.tell(speaker.capture.room, heard)
