"""The shared vocabulary: types of ids, states, and frozen records. Pure.

Times are aware UTC datetimes. Sound is counted in samples at 48 kHz (`Samples`) wherever it must be exact,
in milliseconds (`DurationMs`) where people or feeds read it. A `Position` is our own order of a room's
timeline (the journal's row number): `origin_server_ts` is the sender's word and orders nothing.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Any, NamedTuple, NewType

RoomId = NewType("RoomId", str)
EventId = NewType("EventId", str)
UserId = NewType("UserId", str)
DeviceId = NewType("DeviceId", str)
MxcUri = NewType("MxcUri", str)
SessionId = NewType("SessionId", str)  # of a Megolm session
RecordingId = NewType("RecordingId", int)
ChunkId = NewType("ChunkId", str)  # of a chunk that came in an event of its own: the event's id (`chunk_id_of`)
JobId = NewType("JobId", int)
JobKind = NewType("JobKind", str)  # `bot.orders` has them all
Position = NewType("Position", int)
DurationMs = NewType("DurationMs", int)
Samples = NewType("Samples", int)  # at SAMPLE_RATE
BlobKey = NewType("BlobKey", str)  # lower-case hex SHA-256 of the blob's bytes

SAMPLE_RATE = 48_000
"""The one rate of everything that is joined, in samples per second."""

Json = Mapping[str, Any]


def to_ms(samples: int) -> DurationMs:
    """Convert samples to whole milliseconds, rounded to the nearest."""
    return DurationMs((samples * 1000 + SAMPLE_RATE // 2) // SAMPLE_RATE)


def to_samples(ms: int) -> Samples:
    """Convert milliseconds to samples at 48 kHz, exactly."""
    return Samples(ms * (SAMPLE_RATE // 1000))


def chunk_id_of(event_id: EventId) -> ChunkId:
    """Return the id of the chunk that an event brings."""
    return ChunkId(event_id)


KEY_WITHHELD = "withheld:"
"""The beginning of a chunk's reason when its speaker's client does not share the key. The client's code is appended."""


OUT_OF_TURN = "out_of_turn"
"""A chunk's reason when its sender did not have the floor of the walkie-talkie."""


class RecordingKind(StrEnum):
    VOICE_BROADCAST = "voice_broadcast"  # one speaker, numbered chunks
    VOICE_MESSAGES = "voice_messages"  # a session of voice messages: many speakers, one after the other
    WALKIE_TALKIE = "walkie_talkie"  # a session of transmissions, which only the holder of the floor can send
    CALL = "call"  # many speakers at once: a stem for each time that a device was in


class CallProtocol(StrEnum):
    """The way in which the members of a call find one another."""

    MSC3401 = "msc3401"  # full mesh over to-device messages
    MXVC = "mxvc"  # voice channels: full mesh over plain timeline events
    MATRIXRTC = "matrixrtc"  # Element Call: media through LiveKit


class RecordingState(StrEnum):
    LIVE = "live"  # running or paused
    FINISHING = "finishing"  # ended; waits for late chunks, or is being joined
    COMPLETE = "complete"  # all of the sound that was sent is in the audio
    INCOMPLETE = "incomplete"  # some sound is not; chunks and gaps show which
    EMPTY = "empty"  # no sound, and none is expected
    DELETED = "deleted"  # a tombstone without content

    @property
    def is_open(self) -> bool:
        """Return whether chunks are still expected: live or finishing."""
        return self in (RecordingState.LIVE, RecordingState.FINISHING)

    @property
    def is_decided(self) -> bool:
        """Return whether the ledger was judged: complete, incomplete or empty. A late chunk re-opens the recording."""
        return self in (RecordingState.COMPLETE, RecordingState.INCOMPLETE, RecordingState.EMPTY)

    @property
    def may_have_audio(self) -> bool:
        """Return whether there is sound now or may be later: neither empty nor deleted."""
        return self not in (RecordingState.EMPTY, RecordingState.DELETED)

    @property
    def may_have_episode(self) -> bool:
        """Return whether an episode is made from the recording: complete or incomplete."""
        return self.is_decided and self.may_have_audio


class EndedBy(StrEnum):
    STOPPED = "stopped"  # the client stopped it
    ABANDONED = "abandoned"  # no sign of life for too long
    RESTARTED = "restarted"  # the same user and device started another broadcast
    LEFT = "left"  # the speaker left or was removed
    REMOVED = "removed"  # the bot left or was removed
    SWITCHED_OFF = "switched_off"  # by `record off` or `optout`
    LIMIT = "limit"  # longer than recording.max_broadcast_s
    GAP = "gap"  # nobody said anything for recording.session_gap_s


class ChunkState(StrEnum):
    STORED = "stored"
    WAITING_FOR_KEY = "waiting_for_key"
    WAITING_FOR_MEDIA = "waiting_for_media"  # being fetched, or not available so far
    DAMAGED = "damaged"  # no audio, or a hash that does not match
    MISSING = "missing"  # never seen; appears only in the ledger, never in a row
    DUPLICATE = "duplicate"  # another chunk with its number is in the audio; decided by the ledger
    REDACTED = "redacted"
    REFUSED = "refused"  # too large, too long, or not ours to keep
    AWAY = "away"  # the bot was not in the call; appears only in the ledger
    CANDIDATE = "candidate"  # a voice message of the speaker that may be a lost chunk; not in the ledger


class Timing(StrEnum):
    EXACT = "exact"  # the length is known to the sample
    ESTIMATED = "estimated"  # the container does not state its padding


class Container(StrEnum):
    OGG_OPUS = "ogg/opus"
    OGG_VORBIS = "ogg/vorbis"
    OGG_FLAC = "ogg/flac"
    MP4_AAC = "mp4/aac"
    ADTS_AAC = "adts/aac"
    MP3 = "mp3"
    WAV = "wav"
    CAF = "caf"
    WEBM = "webm"
    FLAC = "flac"
    AMR = "amr"
    AMR_WB = "amr-wb"
    MP4_AMR = "3gp/amr"
    MP4_AMR_WB = "3gp/amr-wb"
    UNKNOWN = "unknown"


class Visibility(StrEnum):
    PRIVATE = "private"
    PUBLIC = "public"


class Announce(StrEnum):
    """The way in which a room is told of its recordings: the command `announce`."""

    ON = "on"  # a notice when one begins, and one when it is published
    QUIET = "quiet"  # a reaction when one begins, a notice when it is published
    OFF = "off"  # only the state event `org.aircheck.room`


class Recorded(StrEnum):
    """Kinds of what a room records, each switched on by itself, as the state event `org.aircheck.room` names them."""

    BROADCASTS = "broadcasts"
    MESSAGES = "messages"
    CALLS = "calls"


class HistoryVisibility(StrEnum):
    """m.room.history_visibility (Client-Server API, room history visibility)."""

    WORLD_READABLE = "world_readable"
    SHARED = "shared"
    INVITED = "invited"
    JOINED = "joined"


@dataclass(frozen=True, slots=True)
class EncryptedFile:
    """An EncryptedFile v2 (Client-Server API, sending encrypted attachments); all base64 without padding."""

    key: str  # 256-bit AES key, URL-safe base64
    iv: str  # 128-bit counter block
    sha256: str  # of the encrypted bytes


@dataclass(frozen=True, slots=True)
class MediaSource:
    """The address of a chunk's media; `file` is None in rooms without encryption."""

    mxc: MxcUri
    file: EncryptedFile | None = None


@dataclass(frozen=True, slots=True)
class OggFacts:
    """The proof in the pages of one Ogg Opus chunk. Granules are those of the whole run (RFC 7845)."""

    serial: int
    first_page: int  # number of the first audio page
    last_page: int
    start_granule: int  # granule before the first packet; a run begins at 0
    end_granule: int  # of the last page; below start + packets when the end is trimmed
    eos: bool
    pre_skip: Samples
    packet_samples: Samples  # sum of all packets' durations, and of the silence for lost packets between them
    contiguous: bool  # page numbers run on without a hole inside the chunk
    head_sha256: str  # of the OpusHead packet: another head, another run
    agrees: bool = True  # granules agree with the packets; else they prove nothing
    begins: bool | None = None  # the sound directly follows the headers; None: not known, in an old row
    last_samples: Samples | None = None  # packets of the last page with any; None: not known

    @property
    def begins_run(self) -> bool:
        """Whether this chunk holds the first sound of the stream. Headers of more than one page move the first page of
        sound, but not its granule."""
        if self.begins is not None:
            return self.begins
        return self.first_page <= 2 or self.start_granule == 0

    def end_trim(self, begins_at: int | None = None) -> Samples:
        """Return the samples that the granule of the last page cuts off the end of a stream (RFC 7845, section 4.4), at
        most the samples of that page. A last page that is alone in its chunk shows only its end: `begins_at` is the end
        granule of the chunk before it."""
        begin = self.start_granule if begins_at is None else max(begins_at, self.start_granule)
        surplus = begin + self.packet_samples - self.end_granule
        most = self.packet_samples if self.last_samples is None else self.last_samples
        return Samples(surplus if self.eos and self.agrees and 0 <= surplus <= most else 0)


@dataclass(frozen=True, slots=True)
class Hole:
    """A stretch inside a chunk whose sound is damaged or lost. Silence stands for it."""

    at: Samples  # from the first sample of the chunk; Ogg Opus: of its packets, with the pre-skip
    samples: Samples


@dataclass(frozen=True, slots=True)
class ChunkFacts:
    """The facts read from a stored chunk's bytes; the sender's claims are not believed."""

    container: Container
    timing: Timing
    samples: Samples  # decoded alone, at 48 kHz (an Ogg Opus chunk: packets less pre-skip less end trim)
    sample_rate: int  # of the source
    channels: int
    ogg: OggFacts | None = None
    holes: tuple[Hole, ...] = ()  # in order, without overlap; their samples are counted above
    told: Samples | None = None  # the length that the file claims, if it differs from the counted one


@dataclass(frozen=True, slots=True)
class Chunk:
    """A part of a recording's media, by one sender. Jobs and the ledger refer to its id, redactions to its event."""

    id: ChunkId
    recording_id: RecordingId
    event_id: EventId | None  # None: the chunk came in no event of its own
    sender: UserId
    position: Position
    state: ChunkState
    reason: str | None = None  # a short code: not_found, hash_mismatch, too_large, not_audio, …
    source: MediaSource | None = None  # None until decrypted, and once the media can't be fetched any more
    session_id: SessionId | None = None
    announced_ms: DurationMs | None = None
    announced_bytes: int | None = None
    sent_at: datetime | None = None  # origin_server_ts, the sender's word; in sessions clamped (`session.joining`)
    blob: BlobKey | None = None  # decrypted bytes; for a chunk that is not stored, the bytes that can't be used
    bytes: int | None = None
    facts: ChunkFacts | None = None
    answer: str | None = None  # names the last answer of the homeserver that could not be used
    # of sessions alone
    sender_name: str | None = None  # the sender's display name when they sent it
    transmission: EventId | None = None  # the start of the voice broadcast that it is a part of
    # of calls alone: a slice of a stem
    stem: int | None = None  # the stem's number
    at: Samples | None = None  # where its sound begins on the clock of the call
    # of a voice broadcast alone
    sequence: int | None = None  # None: not yet decrypted, or the client gave none
    attached: bool = False  # sent as a plain voice message; its sound proved that it is a chunk


@dataclass(frozen=True, slots=True)
class Credit:
    """A speaker of a recording, with the display name that they had when they spoke, as it came."""

    user_id: UserId
    name: str | None
    heard: Samples | None = None  # of calls alone: how long they speak in it


class LeftBy(StrEnum):
    """The ends of a stem."""

    LEFT = "left"  # the device hung up, or left the call
    LOST = "lost"  # its connection ended, or the bot crashed
    ENDED = "ended"  # the call or the recording ended


@dataclass(frozen=True, slots=True)
class Stem:
    """The sound of one device in a call, from one joining to its end. Its slices are chunks that name its number."""

    number: int  # from 1 in each recording, in the order in which they were opened
    user_id: UserId
    device_id: str  # MXVC: the state key
    name: str | None  # the display name of its user when it joined
    joined: Samples  # where its file begins on the clock of the call
    position: Position  # in the journal when it joined
    serial: int  # of its Ogg stream
    left: Samples | None = None  # None: it is in the call
    left_by: LeftBy | None = None
    received: Samples = Samples(0)  # sound that arrived
    lost: Samples = Samples(0)  # silence for sound that was sent and did not arrive
    blob: BlobKey | None = None  # the whole stem as one file; None: not closed yet, or removed
    bytes: int | None = None
    slices: int = 0  # of the whole stem, once it is closed: the last ones are kept a little later
    removed: bool = False  # at the wish of its speaker: nothing of it is kept
    cut_at: Position | None = None  # nothing of it is kept that begins behind this place in the journal: an objection


@dataclass(frozen=True, slots=True)
class Away:
    """A time in which the bot was not in a call that it records, on the clock of the call."""

    begins: Samples
    ends: Samples | None = None  # None: it is not back yet
    company: bool = False  # somebody was in the call when the bot went


@dataclass(frozen=True, slots=True)
class Turn:
    """A turn of speech in a call, on its clock."""

    user_id: UserId
    name: str | None
    at: Samples
    samples: Samples


class CallEventKind(StrEnum):
    """The events of a call that its recording lists."""

    JOINED = "joined"
    LEFT = "left"
    LOST = "lost"
    REJOINED = "rejoined"
    MUTED = "muted"
    UNMUTED = "unmuted"
    DECLINED = "declined"  # opted out: no sound of theirs is received
    REFUSED = "refused"  # signalling or sound that is not encrypted in an encrypted room, or beyond the bounds
    UNREACHABLE = "unreachable"  # the SFU that they send their sound to can't be reached, or refuses the bot
    UNREADABLE = "unreadable"  # the key of their sound did not come in time: it is silence


UNHEARD = frozenset({CallEventKind.UNREACHABLE, CallEventKind.UNREADABLE})
"""Events of members whose sound is not in the recording, though it was wanted."""


@dataclass(frozen=True, slots=True)
class CallEvent:
    """An event of a call."""

    at: Samples  # on the clock of the call
    user_id: UserId
    what: CallEventKind
    device_id: str = ""


@dataclass(frozen=True, slots=True)
class Unheard:
    """A time in which the sound of a device in a call did not come, or could not be read, on the clock of the call."""

    user_id: UserId
    device_id: str
    why: CallEventKind  # one of UNHEARD
    begins: Samples
    ends: Samples | None = None  # None: it lasts


@dataclass(frozen=True, slots=True)
class ToldCall:
    """A call that is or was recorded, with its members who were told so: by its notice, or by a reply to it."""

    code: str  # of the recording
    room_id: RoomId
    event_id: EventId
    started_at: datetime
    notice: EventId | None
    told: tuple[UserId, ...]


@dataclass(frozen=True, slots=True)
class Transmission:
    """A voice broadcast that is a part of a session: a transmission of a walkie-talkie. Its chunks name it."""

    event_id: EventId  # of its started event
    sender: UserId
    position: Position  # of its started event
    started_at: datetime  # clamped, as the time of a message
    heard_at: datetime  # last sign of life, by our clock
    state: RecordingState = RecordingState.LIVE  # DELETED: its start was redacted
    sender_name: str | None = None  # the sender's display name when it began
    device_id: DeviceId | None = None
    paused: bool = False
    announced_last: int | None = None  # last_chunk_sequence of the stopped event
    ended_by: EndedBy | None = None
    ended_at: datetime | None = None
    quiet_until: datetime | None = None
    yields_at: datetime | None = None  # when its sender gives the floor back, though chunks are missing; None: no more
    in_turn: bool = True  # False: begun without the floor; its chunks are listed, and nothing of it is heard


@dataclass(frozen=True, slots=True)
class Recording:
    """A recording of one kind. Its chunks hold the sound as it was sent, its episode the joined audio."""

    id: RecordingId  # 0 before it is stored
    code: str  # six letters
    number: int  # from 1 in each room, in the order of the started events
    room_id: RoomId
    event_id: EventId  # of the event that began it: a broadcast's id, never (room, user)
    kind: RecordingKind
    broadcaster: UserId  # the user who began it; chunks name the other speakers as their senders
    state: RecordingState
    position: Position  # of the event that began it
    started_at: datetime  # clamped between the room's creation and our clock
    heard_at: datetime  # last sign of life, by our clock
    ended_by: EndedBy | None = None
    ended_at: datetime | None = None
    quiet_until: datetime | None = None  # while finishing: the end of the wait for late chunks
    history_visibility: HistoryVisibility = HistoryVisibility.JOINED  # when the recording began
    public: bool = False  # in the room's public feed while the room is public
    past: bool = False  # found by a search of the history: the room gets one notice for all that were found
    title: str | None = None  # given by people; None: the default title
    description: str | None = None
    kept: bool = False  # retention leaves it alone
    unreviewed: bool = False  # in no feed, and on the pages of its speakers and moderators only, until it is approved
    expiry_told_at: datetime | None = None  # when the room was told that retention will end it
    expiry_tried_at: datetime | None = None  # when the bot first tried to tell it, or could not any more
    broadcaster_name: str | None = None  # the speaker's display name when the recording began
    announced_as: EventId | None = None  # the notice that announced the episode
    # of sessions alone
    thread: EventId | None = None  # the root of the thread that the messages stand in
    speakers: tuple[Credit, ...] = ()  # who is in the audio, in the order of their first sound
    transmissions: tuple[Transmission, ...] = ()  # those that are voice broadcasts, in the order of the timeline
    chosen: bool = False  # a choice of past messages, made by the command `episode`: no other message joins it; of a
    # call: made by `record call`
    # of calls alone
    protocol: CallProtocol | None = None
    call_id: str | None = None  # the state key of the call; MXVC: empty, a room has one channel
    stems: tuple[Stem, ...] = ()  # in the order of their numbers
    aways: tuple[Away, ...] = ()
    unheard: tuple[Unheard, ...] = ()  # in the order of their beginnings
    turns: tuple[Turn, ...] = ()  # of 10 s or more, once the episode was made
    notice: EventId | None = None  # the notice that told the room; None: it is not in the room yet
    # of a voice broadcast alone
    device_id: DeviceId | None = None
    paused: bool = False
    announced_last: int | None = None  # last_chunk_sequence of the stopped event
    resumes: tuple[Position, ...] = ()  # positions in the timeline at which its speaker resumed after a pause


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
class Withheld:
    """A client's statement that it does not share a Megolm session's key (Client-Server API, m.room_key.withheld).
    Nothing proves that the session is the sender's."""

    session_id: SessionId
    sender: UserId
    code: str


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
class Track:
    """The MP3 frames of a recording, as far as they are made."""

    recording_id: RecordingId
    channels: int
    kbps: int  # of a channel
    target_lufs: float | None
    start_db: float | None  # the gain at its beginning; None: decided by its first piece
    generation: int  # rises when existing frames have changed
    live_from: datetime | None = None  # when its first segment was due; moved later whenever sound was late


class StemPart(NamedTuple):
    """The sound of one stem in a window of a call: a slice, and the end of the slice before it that reaches in. A
    tuple, since a call of six hours has 17,000 of them, which are compared and hashed again and again."""

    stem: int  # the stem's number
    blob: BlobKey | None  # the slice; None: only the slice before it reaches in
    at: Samples  # where the slice begins, from the start of the window on
    samples: Samples  # of the slice in this window
    before: BlobKey | None = None  # the slice that it continues: a decoder needs its last packets
    lead: Samples = Samples(0)  # samples of `before` that lie in this window, directly before `at`
    follows: int | None = None  # the stem that its user had before it: its level begins where that one's ended


@dataclass(frozen=True, slots=True)
class Cut:
    """A piece of a track (a chunk, a gap, or a window of a call) and its level. `gains` is None until the level is
    decided."""

    ordinal: int
    key: str  # of its samples before the gain: the same key means the same samples
    samples: Samples
    blob: BlobKey | None  # None: silence, or a window of a call
    container: Container
    continues: bool
    gains: bytes | None = None  # int16, hundredths of a dB at the borders of 100 ms hops; a window's: `bot.audio.mix`
    level: str | None = None  # the level state that it hands to the next piece
    off_by: Samples = Samples(0)  # surplus of decoded samples over the ledger's, which was cut; negative: filled
    parts: tuple[StemPart, ...] = ()  # of a window of a call: the stems in it
    kept: bytes | None = None  # as `gains`: of the stems that were decided before the window changed


@dataclass(frozen=True, slots=True)
class Extent:
    """Some frames of a track and the blob that holds them."""

    first: int
    frames: int
    blob: BlobKey
    offset: int  # bytes


@dataclass(frozen=True, slots=True)
class PodcastTexts:
    """A room's own description of its podcast; None: the default, from the room or the settings."""

    title: str | None = None
    description: str | None = None
    author: str | None = None
    language: str | None = None
    category: str | None = None
    explicit: bool | None = None
    stems: bool | None = None  # the feed offers the sound of each speaker of a call; None: it does not


@dataclass(frozen=True, slots=True)
class Retention:
    """The time that a room's recordings stay: so many days, or so many episodes; forever when both are None."""

    days: int | None = None
    episodes: int | None = None

    def within(self, max_days: int | None) -> "Retention":
        """Return the shorter of this rule and so many days. Days and episodes can't be compared: episodes stay."""
        if max_days is None or self.episodes is not None:
            return self
        return Retention(days=max_days if self.days is None else min(self.days, max_days))

    def or_longer(self, other: "Retention") -> "Retention":
        """Return a rule that ends nothing that either rule keeps. As days and episodes can't be compared, that is none
        of the two."""
        if self.days is not None and other.days is not None:
            return Retention(days=max(self.days, other.days))
        if self.episodes is not None and other.episodes is not None:
            return Retention(episodes=max(self.episodes, other.episodes))
        return Retention()

    def __str__(self) -> str:
        """Return it as commands and the state event `org.aircheck.room` say it."""
        if self.days is not None:
            return f"{self.days} days"
        return "forever" if self.episodes is None else f"{self.episodes} episodes"


class RuleKind(StrEnum):
    DAYS = "days"  # of the room
    EPISODES = "episodes"  # of the room
    MAX_DAYS = "max_days"  # of the administrator: retention.max_days


@dataclass(frozen=True, slots=True)
class RetentionRule:
    """The rule by which a recording goes: older than `most` days, or beyond the newest `most` episodes."""

    kind: RuleKind
    most: int


class Behind(StrEnum):
    """The state of a room that was restored from a backup."""

    WALKED = "walked"  # what happened since the backup is being read
    UNWALKED = "unwalked"  # the room's history could not be read as far back as the backup
    ASKED = "asked"  # so each recording is compared with the homeserver
    OUT = "out"  # the bot was not in the room when the backup was made; whether it is now is not known


@dataclass(frozen=True, slots=True)
class Room:
    room_id: RoomId
    key: str  # random; names the room in public addresses
    podcast_guid: str  # podcast:guid, for ever; empty until the room is public for the first time
    joined: bool  # the bot is in the room
    recording_on: bool  # voice broadcasts
    visibility: Visibility
    public_since: Position | None
    encrypted: bool
    direct: bool  # is_direct on the invite
    inviter: UserId | None
    revision: int  # rises with each change that a feed or page shows
    changed_at: datetime
    cover: BlobKey | None = None  # the picture, a square JPEG; None until it is made
    cover_of: str | None = None  # the source of the picture: an mxc address, or the name that was drawn
    told_at: Position | None = Position(
        0
    )  # position of the notice or command that began recording; None: still awaited
    told_by: EventId | None = None  # that notice
    messages_since: Position | None = None  # voice messages behind this position are recorded; None: none are
    messages_wait: bool = False  # they will be, once the notice is in the room
    calls_on: bool = False  # the bot joins the room's calls and records them
    call_wanted: bool = False  # `record call`: the call that runs now is recorded, and no other
    # policies: who set each, and when, is in the log of changes (`storage.changes`)
    announce: Announce = Announce.QUIET
    language: str | None = None  # in which the bot speaks here; None: `feeds.language`
    retention: Retention = Retention()
    review: bool = False  # new episodes wait for approval
    replay: bool = False  # finished recordings are handed back as voice messages
    speakers: tuple[UserId, ...] | None = None  # only they are recorded; None: everybody
    podcast: PodcastTexts = PodcastTexts()
    own_cover: BlobKey | None = None  # the podcast's picture that a moderator chose
    own_cover_event: EventId | None = None  # the message that it was posted in; its redaction ends the cover
    own_cover_room: RoomId | None = None  # the room of that message, which may be an earlier one of the podcast's
    own_cover_sender: UserId | None = None
    closed_since: Position | None = None  # the room closed itself to strangers: what begins after is not public
    behind: Behind | None = None  # restored from a backup, and what happened since then is not known yet

    def without_own_cover(self) -> "Room":
        return replace(self, own_cover=None, own_cover_event=None, own_cover_room=None, own_cover_sender=None)

    @property
    def records(self) -> bool:
        """Whether broadcasts that begin now are recorded: recording is on, and the room was told."""
        return self.recording_on and self.told_at is not None

    def records_transmission(self, position: Position) -> bool:
        """Return whether a transmission of a walkie-talkie at this position is recorded."""
        told = self.told_at is not None and position > self.told_at
        return (self.recording_on and told) or self.records_message(position)

    def records_message(self, position: Position) -> bool:
        """Return whether a voice message at this position is recorded."""
        return self.messages_since is not None and position > self.messages_since

    @property
    def switched_on(self) -> frozenset[Recorded]:
        """The kinds that are switched on, whether the room was told or not."""
        broadcasts = {Recorded.BROADCASTS} if self.recording_on else set()
        messages = {Recorded.MESSAGES} if self.messages_on else set()
        return frozenset(broadcasts | messages | ({Recorded.CALLS} if self.calls_on else set()))

    @property
    def messages_on(self) -> bool:
        """Whether the recording of voice messages is switched on, whether the room was told or not."""
        return self.messages_wait or self.messages_since is not None

    @property
    def recorded(self) -> frozenset[Recorded]:
        """The kinds that are recorded now."""
        return self.switched_on - self.awaits_notice

    @property
    def awaits_notice(self) -> frozenset[Recorded]:
        """The kinds that are switched on, and not recorded only because the room was not told yet."""
        untold = {Recorded.BROADCASTS: self.told_at is None, Recorded.MESSAGES: self.messages_since is None}
        return frozenset(kind for kind in self.switched_on if untold.get(kind))  # each call has a notice of its own

    @property
    def publishes(self) -> bool:
        """Whether broadcasts that begin now are public."""
        return self.visibility is Visibility.PUBLIC and self.closed_since is None

    def opens(self, position: Position) -> bool:
        """Return whether what begins at this position is public."""
        return (
            self.visibility is Visibility.PUBLIC
            and position > (self.public_since or 0)
            and (self.closed_since is None or position < self.closed_since)
        )

    @property
    def waits(self) -> bool:
        """Whether something is not recorded only because the room was not told yet."""
        return self.joined and bool(self.awaits_notice)


@dataclass(frozen=True, slots=True)
class StateEvent:
    """An entry of a room's current state. `position`: for m.room.member the position of the last change of membership,
    for all others the event's own."""

    room_id: RoomId
    type: str
    state_key: str
    sender: UserId
    content: Json
    position: Position
    event_id: EventId | None = None
    sent_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class RoomPower:
    """The state that decides on permissions in a room; None: not known, or not set."""

    create: StateEvent | None  # m.room.create
    power: StateEvent | None  # m.room.power_levels


@dataclass(frozen=True, slots=True)
class Message:
    """A place in a Megolm session: its key encrypts one message under each index, in the order of time."""

    session_id: SessionId
    index: int


@dataclass(frozen=True, slots=True)
class HeardEvent:
    """An event as it was heard: plain or decrypted JSON, before anything is done about it."""

    room_id: RoomId
    event_id: EventId
    event: Json  # type, sender, content, origin_server_ts, state_key or redacts where it has them
    position: Position = Position(0)  # given by the journal
    encrypted: bool = False  # the event was sent as m.room.encrypted
    clear_relation: Json | None = None  # m.relates_to of the m.room.encrypted wrapper
    session_id: SessionId | None = None  # set: it could not be decrypted; `event` is the wrapper
    history: bool = False  # met while history was walked
    received_at: datetime | None = None
    message: Message | None = None  # set: it was decrypted


@dataclass(frozen=True, slots=True)
class TimelineGap:
    """A part of a room's timeline that a sync left out: positions above `low`, and below those of events heard after
    it."""

    id: int
    room_id: RoomId
    low: Position
    next_position: Position  # of the next event to be found; events found later are older
    cursor: str  # where the next page begins
    mark: str | None  # an earlier cursor; if it comes again, the history has a circle
    until_token: str | None  # the sync token before the gap, where there is one
    until_event: EventId | None  # the newest event that was heard before the gap, where there is no token
    pages: int
    unclaimed: int  # chunks kept of broadcasts that are not known so far
    seen_at: datetime
    hold_until: datetime  # until then events heard after the gap wait for it
    walking: bool  # False: the gap was read, or given up


@dataclass(frozen=True, slots=True)
class Change:
    """A row of the audit log: a person, or the bot itself, changed something. It holds nothing that was said."""

    id: int  # 0 before it is stored
    at: datetime
    room_id: RoomId | None  # None: everywhere
    by: UserId | None  # None: the bot itself, by a rule
    what: str  # the command, such as `record`, or the bot's own rule
    subject: str | None = None  # a recording's code, or a user
    before: str | None = None
    after: str | None = None
    event_id: EventId | None = None  # of the command


@dataclass(frozen=True, slots=True)
class OptOut:
    """A member's `optout` or `optin`, said in a room or, with an empty `room_id`, for everywhere."""

    user_id: UserId
    room_id: RoomId
    position: Position  # of the command in the journal
    out: bool  # False: opted in again
    at: datetime  # when the command was sent
    event_id: EventId | None = None  # of the command


EVERYWHERE = RoomId("")
"""The room of an opt-out that holds everywhere."""


@dataclass(frozen=True, slots=True)
class Question:
    """A question of the bot's before it does what cannot be undone. Only its asker can confirm it, in the same room."""

    command: EventId  # the command that asked for it; its id names the question
    room_id: RoomId  # in which it is asked: the room, or the direct chat where the command was said
    asker: UserId
    verb: str
    words: tuple[str, ...]  # of the verb, as they will be carried out: a recording by its code
    asked_at: datetime
    encrypted: bool  # the command was encrypted
    event_id: EventId | None = None  # of the notice that asks; None: not known yet
    answered: bool = False  # carried out, ended, or replaced by a newer question
    about: RoomId = RoomId("")  # the room in which the verb is carried out
    thread: EventId | None = None  # the root of the command's thread
    sent_at: datetime | None = None  # origin_server_ts of the command, by the clock of its asker's homeserver
    said_at: datetime | None = None  # by our clock; None: it is not known to be in the room


@dataclass(frozen=True, slots=True)
class ConsentNotice:
    """A notice that told a room what is recorded, for whom and how long; the newest one stands."""

    event_id: EventId
    room_id: RoomId
    said_at: datetime
    body: str
    pinned: bool = False


class FloorMarkKind(StrEnum):
    """The two kinds of state that tell who has the floor of a walkie-talkie."""

    POWER = "power"  # m.room.power_levels
    FLOOR = "floor"  # org.aircheck.walkie.floor, by the bot


@dataclass(frozen=True, slots=True)
class FloorMark:
    """A place in a room's timeline at which it may have changed who has the floor of its walkie-talkie."""

    room_id: RoomId
    position: Position
    kind: FloorMarkKind
    users: tuple[UserId, ...]  # POWER: who may speak in the locked room; FLOOR: the holder, or nobody
    ours: bool  # the bot sent it
    locked: bool  # the room is locked for everybody else; FLOOR: always
    noted_at: datetime


class FloorPhase(StrEnum):
    """The phases of the floor of a walkie-talkie."""

    FREE = "free"  # nobody has it, and nobody waits
    HELD = "held"  # one member has it
    RELEASING = "releasing"  # it was taken back, and the homeserver may not know yet
    GUARD = "guard"  # the homeserver has locked it; the pause before the next has it


@dataclass(frozen=True, slots=True)
class FloorRequest:
    """A member who waits for the floor. `event_id`: the reaction, the event or the command that asked."""

    user: UserId
    event_id: EventId
    position: Position


@dataclass(frozen=True, slots=True)
class Floor:
    """The floor of a walkie-talkie: who may speak, until when, and who waits, the first in front."""

    phase: FloorPhase = FloorPhase.FREE
    holder: UserId | None = None
    since: datetime | None = None  # when the holder got it; without one: when it became free
    until: datetime | None = None  # the end of the holder's time
    queue: tuple[FloorRequest, ...] = ()
    guard_until: datetime | None = None
    serial: int = 0  # number of the last grant
    request: EventId | None = None  # the event by which the holder asked


@dataclass(frozen=True, slots=True)
class Raised:
    """A member whose power level the bot has raised, or is about to. `before`: the JSON value of their own entry."""

    user: UserId
    had_entry: bool
    before: object = None
    lowered_at: datetime | None = None  # when they got it back; a write of somebody else may undo that for a while
    had_section: bool = True  # the levels had `users`


@dataclass(frozen=True, slots=True)
class SavedLevel:
    """An entry in `events` of the power levels that `walkie on` has replaced. `before`: its JSON value."""

    event_type: str
    ours: int
    had_entry: bool
    before: object = None
    had_section: bool = True  # the levels had `events`


@dataclass(frozen=True, slots=True)
class DelayedRelease:
    """The delayed events (MSC4140) that release the floor if the bot dies: their ids, and what they will write."""

    serial: int  # of the grant
    ids: tuple[str, ...] = ()
    levels: Json | None = None  # None: the holder has no raised level
    asked: bool = False  # asked for, and the ids are not known yet
    stale: tuple[str, ...] = ()  # of earlier ones, to be cancelled


@dataclass(frozen=True, slots=True)
class Walkie:
    """The walkie-talkie of a room: what is to be, and what the homeserver was brought to so far."""

    room_id: RoomId
    on: bool
    floor_s: float  # how long one may hold the floor, in seconds
    guard_s: float  # the pause between two
    floor: Floor = Floor()
    panel: EventId | None = None  # the notice to which members react; None: not posted
    locked: bool = False  # the room's power levels are those of a walkie-talkie
    saved: tuple[SavedLevel, ...] = ()  # to be put back
    raised: tuple[Raised, ...] = ()
    shown: Json | None = None  # the content of the floor event, as last written; None: not known
    delayed: DelayedRelease | None = None
    hindered: bool = False  # the bot lacks a right, and the room was told
    pinned: EventId | None = None  # the panel that the bot has pinned


class PermitSource(StrEnum):
    MEMBER = "member"  # a state event of the member's own client
    BOT = "bot"  # a reaction or command, for which the bot writes the state event


@dataclass(frozen=True, slots=True)
class Permit:
    """A member's permit to take part in a walkie-talkie. Of the two sources the newer one counts."""

    room_id: RoomId
    user_id: UserId
    source: PermitSource
    position: Position
    receive: bool
    send: bool
    expires_at: datetime | None = None  # None: never
    devices: tuple[str, ...] | None = None  # None: all
    written: bool = True  # of the bot's: its state event was written


class JobState(StrEnum):
    READY = "ready"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"  # given up; `error` says why


@dataclass(frozen=True, slots=True)
class JobName:
    """The kind and subject of a job: two that wait under one name are the same job."""

    kind: JobKind
    subject: str


@dataclass(frozen=True, slots=True)
class NewJob:
    """A job to be written. A second one of the same kind and subject, while the first still waits, is the same job (the
    earlier time wins). With `once` it stays the same job even after it has run, so that its effect is not repeated."""

    kind: JobKind
    subject: str
    payload: Json
    run_at: datetime | None = None  # None: now
    once: bool = False
    turn: str | None = None  # the recording, room or person whose jobs take turns with those of others

    @property
    def name(self) -> JobName:
        return JobName(self.kind, self.subject)


@dataclass(frozen=True, slots=True)
class Job:
    id: JobId
    kind: JobKind
    subject: str
    payload: Json
    state: JobState
    run_at: datetime
    attempts: int
    error: str | None = None
    turn: str | None = None


@dataclass(frozen=True, slots=True)
class Listener:
    """A member with a personal address. The token is never stored, only its look-up hash. While `next_generation` is
    set both addresses work: the listener asked for a new one and has not received it yet."""

    room_id: RoomId
    user_id: UserId
    generation: int
    token_sha256: str
    next_generation: int | None = None
    next_sha256: str | None = None


@dataclass(frozen=True, slots=True)
class ListenerUse:
    """The last use of a listener's personal address. `app` is the name that the app gives itself, empty for none."""

    room_id: RoomId
    user_id: UserId
    used_at: datetime
    app: str


@dataclass(frozen=True, slots=True)
class FeedEdition:
    """A document of a feed as it was last rendered: its Last-Modified moves with its content, and with nothing else."""

    name: str
    digest: str  # SHA-256 of the content, without the date in it
    changed_at: datetime


@dataclass(frozen=True, slots=True)
class Original:
    """The sound of a recording as its client sent it, joined into one Ogg Opus stream."""

    recording_id: RecordingId
    fingerprint: str  # of the episode that it belongs to
    blob: BlobKey
    bytes: int
    sha384: str  # base64, as `podcast:integrity` has it


@dataclass(frozen=True, slots=True)
class Portrait:
    """The picture of a speaker of a room, made of their avatar there."""

    room_id: RoomId
    user_id: UserId
    avatar: str  # the mxc address that it was made of
    blob: BlobKey | None = None  # a square JPEG; None: the avatar can't be used


@dataclass(frozen=True, slots=True)
class Reach:
    """The recordings of one room that an access reaches: all under the history visibilities `always`, under others
    those that began after `since` (None: none). `only_public`: of those, the public ones."""

    room_id: RoomId
    always: tuple[HistoryVisibility, ...]
    since: Position | None = None
    only_public: bool = False
