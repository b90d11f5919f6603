"""Recordings, their states and their speakers. Pure."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from storage.records.calls import Away, CallProtocol, Stem, Turn, Unheard
from storage.records.ids import BlobKey, DeviceId, EventId, Position, RecordingId, RoomId, Samples, UserId
from storage.records.rooms import HistoryVisibility


class RecordingKind(StrEnum):
    VOICE_BROADCAST = "voice_broadcast"  # one speaker, numbered chunks
    VOICE_MESSAGES = "voice_messages"  # a session of voice messages: many speakers, one after the other
    WALKIE_TALKIE = "walkie_talkie"  # a session of transmissions, which only the holder of the floor can send
    CALL = "call"  # many speakers at once: a stem for each time that a device was in


class Via(StrEnum):
    """The way on which a voice broadcast came, if it is not an event of its room."""

    STUDIO = "studio"


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


@dataclass(frozen=True, slots=True)
class Credit:
    """A speaker of a recording, with the display name that they had when they spoke, as it came."""

    user_id: UserId
    name: str | None
    heard: Samples | None = None  # of calls alone: how long they speak in it


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
    via: Via | None = None  # set: its events are ours, and the homeserver knows none of them
    cover: BlobKey | None = None  # a picture of its own, a square JPEG
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
