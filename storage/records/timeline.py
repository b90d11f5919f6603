"""The timeline and the state of rooms, as they were heard. Pure."""

from dataclasses import dataclass
from datetime import datetime

from storage.records.ids import EventId, Json, Position, RoomId, SessionId, UserId


@dataclass(frozen=True, slots=True)
class Withheld:
    """A client's statement that it does not share a Megolm session's key (Client-Server API, m.room_key.withheld).
    Nothing proves that the session is the sender's."""

    session_id: SessionId
    sender: UserId
    code: str


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
