"""Walkie-talkies: the floor, the power levels that hold it, and permits. Pure."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from storage.records.ids import EventId, Json, Position, RoomId, UserId


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
