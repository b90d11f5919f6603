"""Orders that bring a recording from its chunks to its episode. Pure."""

from dataclasses import dataclass
from datetime import datetime
from typing import Self

from bot.orders.order import OfEventInRoom, OfRecording, Order
from storage.records import ChunkId, EndedBy, JobKind, JobName, Position, Recording, RecordingId, UserId


@dataclass(frozen=True, slots=True)
class Fetch(Order):
    """Download a chunk's media, decrypt and check them. `not_there` counts the answers without media that can be used;
    `judged_at` is when the last verdict was first given."""

    kind = JobKind("fetch")
    anywhere = True
    subject_field = "chunk_id"
    lasting = True
    chunk_id: ChunkId
    recording: RecordingId
    not_there: int = 0
    judged_at: datetime | None = None

    @property
    def turn(self) -> str:
        return str(self.recording)

    @classmethod
    def about(cls, chunk_id: ChunkId) -> JobName:
        return JobName(cls.kind, chunk_id)


@dataclass(frozen=True, slots=True)
class Tick(OfRecording):
    """Look at a recording's clocks."""

    kind = JobKind("tick")
    lasting = True


@dataclass(frozen=True, slots=True)
class Encode(OfRecording):
    """Bring the track of a running recording up to its chunks. A live track waits at a missing chunk, behind so many
    pieces (`held`), `until` then."""

    kind = JobKind("encode")
    anywhere = True
    lasting = True
    held: int | None = None
    until: datetime | None = None


@dataclass(frozen=True, slots=True)
class Finish(OfRecording):
    """Make a recording's episode and publish it; `anew`: also where its audio is right already."""

    kind = JobKind("finish")
    anywhere = True
    lasting = True
    anew: bool = False


@dataclass(frozen=True, slots=True)
class End(OfRecording):
    """End a recording for an outside cause. With `since` it is an objection, which counts from that position: who may
    still be recorded goes on."""

    kind = JobKind("end")
    lasting = True
    by: EndedBy
    since: Position | None = None


@dataclass(frozen=True, slots=True)
class Reread(OfEventInRoom):
    """Read from the homeserver what the sync did not show of a broadcast; the event is its started event. `unknown`:
    nobody heard it begin, an event only refers to it."""

    kind = JobKind("reread")
    lasting = True
    sender: UserId
    unknown: bool = False

    @classmethod
    def known(cls, recording: Recording) -> Self:
        """Make the order to read a recorded broadcast again."""
        return cls(recording.event_id, recording.room_id, recording.broadcaster)
