"""What can happen to a recording, and what follows: frozen events and effects. Pure.

Dialects make the events of the room; the worker makes those of the media. Nothing here looks at raw JSON.
"""

from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum

from storage.records import (
    BlobKey,
    Chunk,
    ChunkFacts,
    ChunkId,
    ChunkState,
    DeviceId,
    DurationMs,
    EndedBy,
    EventId,
    MediaSource,
    Recording,
    SessionId,
    UserId,
)

# ---- what a dialect reads in an event of the room


@dataclass(frozen=True, slots=True)
class BroadcastStarted:
    sender: UserId
    device_id: DeviceId | None
    chunk_length_s: int | None
    sent_at: datetime | None


class Change(StrEnum):
    PAUSED = "paused"
    RESUMED = "resumed"
    STOPPED = "stopped"


@dataclass(frozen=True, slots=True)
class BroadcastChanged:
    broadcast: EventId
    sender: UserId
    change: Change
    last_sequence: int | None  # None: absent, 0 or not a number
    device_id: DeviceId | None
    sent_at: datetime | None


@dataclass(frozen=True, slots=True)
class ChunkSent:
    broadcast: EventId
    sender: UserId
    sequence: int | None
    source: MediaSource
    announced_ms: DurationMs | None
    announced_bytes: int | None
    sent_at: datetime | None


@dataclass(frozen=True, slots=True)
class ChunkSealed:
    """Related to a broadcast, but not readable yet."""

    broadcast: EventId
    sender: UserId
    session_id: SessionId
    sent_at: datetime | None


@dataclass(frozen=True, slots=True)
class VoiceMessage:
    """An ordinary voice message. Nobody's business, unless its sender's broadcast is open: then it may be a chunk that
    lost its relation (`orphans`)."""

    sender: UserId
    source: MediaSource
    announced_ms: DurationMs | None
    announced_bytes: int | None
    sent_at: datetime | None


@dataclass(frozen=True, slots=True)
class Redacted:
    redacts: EventId
    sender: UserId
    may: bool | None = None  # others' events too, by the sender's power when it was said; None: not known


@dataclass(frozen=True, slots=True)
class Rejected:
    """An event that claims to be part of a broadcast and is not valid. `rule` is a short name, logged once; `dialect`
    the name of the one that rejected it."""

    rule: str
    dialect: str = ""


RoomEvent = BroadcastStarted | BroadcastChanged | ChunkSent | ChunkSealed | VoiceMessage | Redacted
"""Events of the room that a recording begins with, or may be told."""


# ---- what the worker and the shell say of a recording


@dataclass(frozen=True, slots=True)
class Opened:
    """A sealed event was decrypted at last and is no chunk. `rule`: what a chunk of it breaks, None: it claims to
    be none."""

    event_id: EventId
    rule: str | None = None


@dataclass(frozen=True, slots=True)
class ChunkStored:
    chunk_id: ChunkId
    blob: BlobKey
    bytes: int
    facts: ChunkFacts


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer of the homeserver that can't be used. Two with one `digest` are the same answer."""

    digest: str
    blob: BlobKey | None = None  # its bytes, where there are any; kept until better ones come
    bytes: int | None = None


@dataclass(frozen=True, slots=True)
class ChunkFailed:
    """`state` is DAMAGED, REFUSED or WAITING_FOR_MEDIA: what the chunk is once the same answer came twice; `reason` a
    short code. Without an answer of the homeserver it holds at once."""

    chunk_id: ChunkId
    state: ChunkState
    reason: str
    answer: Answer | None = None


@dataclass(frozen=True, slots=True)
class Ended:
    """From outside: left, removed, switched off, restarted."""

    by: EndedBy


@dataclass(frozen=True, slots=True)
class Tick:
    """Nothing but the time."""


@dataclass(frozen=True, slots=True)
class Joined:
    """The audio was made from chunks with this fingerprint."""

    fingerprint: str


RecordingEvent = (
    BroadcastChanged
    | ChunkSent
    | ChunkSealed
    | VoiceMessage
    | Redacted
    | Opened
    | ChunkStored
    | ChunkFailed
    | Ended
    | Tick
    | Joined
)
"""What a recording can be told (a `BroadcastStarted` makes one)."""


# ---- effects: they become job rows in the transaction of the state


@dataclass(frozen=True, slots=True)
class FetchChunk:
    chunk_id: ChunkId


@dataclass(frozen=True, slots=True)
class LookAgain:
    """Send a Tick at this time; one that waits for a later time is brought forward. A Tick too many does no harm."""

    at: datetime


@dataclass(frozen=True, slots=True)
class Finish:
    """Join what is there and publish it. The same fingerprint as the episode's: the audio is right already."""


@dataclass(frozen=True, slots=True)
class Forget:
    """Remove this blob, unless something else refers to it: its chunk was redacted."""

    blob: BlobKey


@dataclass(frozen=True, slots=True)
class Withdraw:
    """A redaction took the last that could be heard: the episode goes, the recording stays."""


@dataclass(frozen=True, slots=True)
class Tell:
    """Tell the room, once: `what` names the sentence."""

    what: str


@dataclass(frozen=True, slots=True)
class Erase:
    """Remove audio, feed item, all chunks with their blobs, everything kept of it but the tombstone."""


@dataclass(frozen=True, slots=True)
class Ask:
    """Ask the homeserver for everything of the broadcast: what is not there is about to be called missing."""


Effect = FetchChunk | LookAgain | Ask | Finish | Forget | Withdraw | Tell | Erase


@dataclass(frozen=True, slots=True)
class Outcome:
    """What an event made of a recording."""

    recording: Recording
    chunks: tuple[Chunk, ...]  # all of them; one that is not among them any more was none
    effects: tuple[Effect, ...] = ()
    ignored: str | None = None  # why the event counted for nothing: a short name, for one log line

    def also(self, effect: Effect) -> "Outcome":
        """The same with one more effect."""
        return replace(self, effects=(*self.effects, effect))
