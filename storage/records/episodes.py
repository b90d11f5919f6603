"""Episodes, and the other files that are made from whole recordings. Pure."""

from dataclasses import dataclass
from datetime import datetime

from storage.records.ids import BlobKey, DurationMs, EventId, RecordingId, Samples
from storage.records.media import MediaSource


@dataclass(frozen=True, slots=True)
class Loss:
    """A summary of the sound that an episode lacks."""

    samples: Samples = Samples(0)  # silence in place of missing sound
    gaps: int = 0
    first: tuple[tuple[Samples, Samples], ...] = ()  # position and length of the first few gaps
    end: bool = False  # sound is missing after the last chunk; nobody can know how much


@dataclass(frozen=True, slots=True)
class Mark:
    """A chapter, which lasts until the next, or to the end."""

    at: DurationMs
    title: str


@dataclass(frozen=True, slots=True)
class Episode:
    """The audio that was made from a recording. Its GUID never changes; the blob does when the recording heals."""

    recording_id: RecordingId
    guid: str
    blob: BlobKey
    bytes: int
    samples: Samples
    made_at: datetime
    published_at: datetime | None = None  # first listed in a feed; None while it is held
    fingerprint: str = ""  # of what it was made from: the same fingerprint, the same file
    announced: bool = False  # the room has got the announcement
    loss: Loss = Loss()
    chapters: tuple[Mark, ...] = ()  # as they are in the file
    titled: str | None = None  # the recording's `title` when the file was made
    credited: str | None = None  # the speakers' names in the file; None: in an old row
    head: int = 0  # bytes of the file before its sound, which keeps its place; 0: in an old row
    lost_at: datetime | None = None  # its file was found gone or cut: it is in no feed until it is made again
    unjoined: str | None = None  # the fingerprint of sound of which no original can be joined


@dataclass(frozen=True, slots=True)
class HandedBack:
    """A voice message that holds a recording, or a numbered part of one: posted, or about to be. The row is written
    before the upload, and its id names the transaction of the event."""

    id: int  # 0 before it is stored
    recording_id: RecordingId
    fingerprint: str  # of the sound that it was made from
    part: int  # from 1
    parts: int
    first: Samples  # of the recording's sound
    samples: Samples
    bytes: int
    sha256: str  # of the file before encryption
    replaces: EventId | None = None  # the event of an earlier one with other sound
    source: MediaSource | None = None  # None until it is uploaded: before that no event was sent
    event_id: EventId | None = None  # None until it is known to be sent
    withdrawn: bool = False  # to be redacted, at once or when its event is known
    transmission: EventId | None = None  # the broadcast that it holds, of those in a session; None: the whole recording


@dataclass(frozen=True, slots=True)
class Original:
    """The sound of a recording as its client sent it, joined into one Ogg Opus stream."""

    recording_id: RecordingId
    fingerprint: str  # of the episode that it belongs to
    blob: BlobKey
    bytes: int
    sha384: str  # base64, as `podcast:integrity` has it
