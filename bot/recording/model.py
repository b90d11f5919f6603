"""The events that can happen to a recording, and their effects: frozen classes. Pure.

Dialects build the room's events; the worker builds the events about media. Nothing here looks at raw JSON.
"""

from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum

from storage.records import (
    BlobKey,
    CallEventKind,
    Chunk,
    ChunkFacts,
    ChunkId,
    ChunkState,
    Credit,
    DeviceId,
    DurationMs,
    EndedBy,
    EventId,
    LeftBy,
    MediaSource,
    Position,
    Recording,
    Samples,
    SessionId,
    Stem,
    Turn,
    UserId,
)

# ---- events that dialects read in a room


@dataclass(frozen=True, slots=True)
class BroadcastStarted:
    sender: UserId
    device_id: DeviceId | None
    sent_at: datetime | None
    sender_name: str | None = None  # the recorder reads it from the room's state
    in_turn: bool = True  # as of ChunkSent


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
    in_turn: bool = True  # its sender had the floor, where that is needed; the recorder knows it


@dataclass(frozen=True, slots=True)
class ChunkSealed:
    """An event that relates to a broadcast and can't be decrypted yet."""

    broadcast: EventId
    sender: UserId
    session_id: SessionId
    sent_at: datetime | None
    in_turn: bool = True  # as of ChunkSent


@dataclass(frozen=True, slots=True)
class VoiceMessage:
    """An ordinary voice message: a part of a session where voice messages are recorded. While a broadcast of its sender
    is open it may also be a chunk that lost its relation (`broadcast.orphans`), unless it has another (`plain`)."""

    sender: UserId
    source: MediaSource
    announced_ms: DurationMs | None
    announced_bytes: int | None
    sent_at: datetime | None
    thread: EventId | None = None  # the root of its thread
    plain: bool = True  # it stands for itself: no answer, and no part of a thread
    sender_name: str | None = None  # the recorder reads it from the room's state
    in_turn: bool = True  # as of ChunkSent


@dataclass(frozen=True, slots=True)
class MessageSealed:
    """An event that can't be decrypted yet and refers to no broadcast: it may be a voice message, or anything else."""

    sender: UserId


@dataclass(frozen=True, slots=True)
class Redacted:
    redacts: EventId
    sender: UserId
    may: bool | None = None  # the sender could redact others' events too when sending it; None: not known


@dataclass(frozen=True, slots=True)
class Rejected:
    """An event that claims to be part of a broadcast and is not valid. `rule` is a short name, logged once; `dialect`
    the name of the one that rejected it."""

    rule: str
    dialect: str = ""


RoomEvent = BroadcastStarted | BroadcastChanged | ChunkSent | ChunkSealed | VoiceMessage | Redacted
"""Events of a room that begin a recording or apply to one."""


# ---- events that the worker and the shell make


@dataclass(frozen=True, slots=True)
class Opened:
    """A sealed event that was decrypted and is not a chunk. `rule`: the rule that it breaks as a chunk; None: it does
    not claim to be one."""

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
    """An answer of the homeserver that can't be used. Two answers with one `digest` are the same."""

    digest: str
    blob: BlobKey | None = None  # its bytes, where there are any; kept until better ones come
    bytes: int | None = None


@dataclass(frozen=True, slots=True)
class ChunkFailed:
    """A chunk whose media could not be fetched or used. `state` (DAMAGED, REFUSED or WAITING_FOR_MEDIA) becomes the
    chunk's state once the same answer came twice, or at once without an answer; `reason` is a short code."""

    chunk_id: ChunkId
    state: ChunkState
    reason: str
    answer: Answer | None = None


@dataclass(frozen=True, slots=True)
class Ended:
    """An end with an outside cause: left, removed, switched off, restarted. Messages that came behind `since` in the
    timeline are removed."""

    by: EndedBy
    since: Position | None = None


@dataclass(frozen=True, slots=True)
class Silenced:
    """The objection of the speaker, or of a moderator, said at `since` in the timeline: nothing more is recorded. What
    came after it is removed, and what was not fetched so far never will be. `sender`: the one speaker of several who is
    not recorded any more; None: nobody is."""

    since: Position
    sender: UserId | None = None


@dataclass(frozen=True, slots=True)
class Deleted:
    """The deletion of the whole recording: by a command, by retention, or by its member's wish to be forgotten."""


@dataclass(frozen=True, slots=True)
class Forgotten:
    """The wish of one of several speakers to be forgotten: their part is taken out."""

    sender: UserId


@dataclass(frozen=True, slots=True)
class NoticeSent:
    """The notice that a call is recorded is in its room."""

    notice: EventId


@dataclass(frozen=True, slots=True)
class StemOpened:
    """A device of a call begins to be recorded."""

    stem: Stem


@dataclass(frozen=True, slots=True)
class StemClosed:
    """The end of a stem: its file is whole. `left`: where it ends on the clock of the call."""

    number: int
    left: Samples
    left_by: LeftBy
    received: Samples
    lost: Samples
    blob: BlobKey | None  # None: nothing was received
    bytes: int | None
    slices: int = 0  # of the whole stem, kept so far or not


@dataclass(frozen=True, slots=True)
class SlicesKept:
    """Slices of stems that are in the archive now. `slices`: stored chunks."""

    slices: tuple[Chunk, ...]


@dataclass(frozen=True, slots=True)
class WentAway:
    """The bot is out of a call that it records: the sound from `at` on is missing until it is back."""

    at: Samples


@dataclass(frozen=True, slots=True)
class CameBack:
    """The bot is in a call again that it records."""

    at: Samples


@dataclass(frozen=True, slots=True)
class NotHeard:
    """The sound of a device in a call does not come from `at` on, or can't be read. `why`: one of `UNHEARD`."""

    user_id: UserId
    device_id: str
    why: CallEventKind
    at: Samples


@dataclass(frozen=True, slots=True)
class Heard:
    """A device that was not heard is heard again from `at` on, or gone."""

    user_id: UserId
    device_id: str
    at: Samples


@dataclass(frozen=True, slots=True)
class Spoken:
    """A report of who speaks in a call, in the order of their first speech, and of their turns: known once it was
    mixed."""

    speakers: tuple[Credit, ...]
    turns: tuple[Turn, ...]


@dataclass(frozen=True, slots=True)
class Tick:
    """The passing of time, and nothing else."""


@dataclass(frozen=True, slots=True)
class Joined:
    """A report that the audio was made from a ledger with this fingerprint."""

    fingerprint: str


RecordingEvent = (
    BroadcastStarted
    | BroadcastChanged
    | ChunkSent
    | ChunkSealed
    | VoiceMessage
    | Redacted
    | Opened
    | ChunkStored
    | ChunkFailed
    | Ended
    | Silenced
    | Deleted
    | Forgotten
    | NoticeSent
    | StemOpened
    | StemClosed
    | SlicesKept
    | WentAway
    | CameBack
    | NotHeard
    | Heard
    | Spoken
    | Tick
    | Joined
)
"""Events that apply to a recording. A `BroadcastStarted` begins one, or a transmission of a session."""


# ---- effects: they become job rows in the transaction of the state


@dataclass(frozen=True, slots=True)
class FetchChunk:
    chunk_id: ChunkId


@dataclass(frozen=True, slots=True)
class LookAgain:
    """An order to send a Tick at this time. A Tick that waits for a later time is brought forward; one too many does no
    harm."""

    at: datetime


@dataclass(frozen=True, slots=True)
class Finish:
    """An order to join the chunks and publish the episode. If its fingerprint is already the ledger's, the audio is
    right."""


@dataclass(frozen=True, slots=True)
class Forget:
    """An order to remove this blob, unless something else refers to it."""

    blob: BlobKey


@dataclass(frozen=True, slots=True)
class Withdraw:
    """An order to remove the episode and keep the recording: a redaction removed its last sound."""


@dataclass(frozen=True, slots=True)
class Tell:
    """An order to send the room a notice, once: `what` names the sentence."""

    what: str


@dataclass(frozen=True, slots=True)
class Erase:
    """An order to remove audio, feed item and all chunks with their blobs: everything but the tombstone."""


@dataclass(frozen=True, slots=True)
class Release:
    """An order to take a voice message into a session, if its room records them: it is no part of this recording, or
    too long for it."""

    chunk: Chunk  # with the address of its media


@dataclass(frozen=True, slots=True)
class Ask:
    """An order to ask the homeserver for all events of the recording, before any counts as missing."""


@dataclass(frozen=True, slots=True)
class HandBack:
    """An order to post a transmission that was a broadcast as a voice message. If the one that is posted has the same
    sound, nothing is to be done."""

    transmission: EventId


@dataclass(frozen=True, slots=True)
class TakeBack:
    """An order to redact the voice message that a transmission was handed back as."""

    transmission: EventId


@dataclass(frozen=True, slots=True)
class Spoke:
    """A statement that a broadcast which began at `since` is over, and with it the turn of its sender."""

    sender: UserId
    since: Position


Effect = (
    FetchChunk | LookAgain | Ask | Finish | Forget | Release | Withdraw | Tell | Erase | HandBack | TakeBack | Spoke
)


@dataclass(frozen=True, slots=True)
class Outcome:
    """A recording and its chunks after an event, and the event's effects."""

    recording: Recording
    chunks: tuple[Chunk, ...]  # all that remain; chunks that are not among them are deleted
    effects: tuple[Effect, ...] = ()
    ignored: str | None = None  # the rule by which the event was ignored, for one log line

    def also(self, effect: Effect) -> "Outcome":
        """Return the outcome with one more effect."""
        return replace(self, effects=(*self.effects, effect))
