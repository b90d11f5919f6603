"""The state of the bot's part in a call: the devices in it, and the leg to each. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum

from bot.calls.model import Candidate, Device, LegId, Member, Received
from storage.records import CallEventKind, CallProtocol, UserId

Key = tuple[UserId, str]
"""A device, whatever its session: user and device id."""


def key_of(device: Device) -> Key:
    return device.user_id, device.device_id


@dataclass(frozen=True, slots=True)
class Setup:
    """All that stands fast while the bot is in a call. `ours`: the bot's device; its session id is new for each
    process, since the ids of legs are made from it. `began`: the start of the recording."""

    protocol: CallProtocol
    call_id: str
    ours: Device
    began: datetime
    encrypted: bool  # the room is: what comes in clear is refused
    push_to_talk: bool
    empty: timedelta  # calls.empty_s
    silent: timedelta  # calls.silent_s
    longest: timedelta  # recording.max_broadcast_s
    beep: bool


class Phase(StrEnum):
    """The phases of a leg."""

    OFFERING = "offering"  # the media make our offer
    OFFERED = "offered"  # our offer waits for an answer
    ANSWERING = "answering"  # the media make our answer
    CONNECTING = "connecting"  # offer and answer are exchanged
    AWAITED = "awaited"  # MatrixRTC: the device is not at its SFU yet, or the bot is not
    CONNECTED = "connected"  # its stem is open
    CLOSING = "closing"  # the connection is over; a hang-up may still tell why


@dataclass(frozen=True, slots=True)
class Leg:
    id: LegId
    device: Device  # with the session that it was made with
    phase: Phase
    until: datetime | None  # the end of this phase, if nothing happens; None: it has none
    is_ours: bool  # the bot made the offer
    encrypted: bool | None  # of what the bot sends; see `Send`
    muted: bool = False
    seq: int = 0  # of the next message
    candidates: int = 0  # handed to the media
    connected_at: datetime | None = None
    has_moved: bool = False  # MatrixRTC: from an SFU where it was heard, so that it neither left nor comes


@dataclass(frozen=True, slots=True)
class Rate:
    """A count of what happened since `since`, for at most a minute."""

    since: datetime
    count: int = 0


@dataclass(frozen=True, slots=True)
class Peer:
    """A device that the room's state lists in the call."""

    member: Member
    hoped_until: datetime  # until then it is somebody, though it isn't connected
    leg: Leg | None = None
    call_at: datetime | None = None  # the bot calls it then, unless it has a leg
    calls: int = 0  # offers of the bot in a row that led to no lasting connection; MatrixRTC: failures in a row
    heard_at: datetime | None = None
    was_there: bool = False  # before the bot came
    has_moved: bool = False  # its next leg has
    ended: tuple[LegId, ...] = ()  # the last legs that ended, or were hung up before their offer came
    early: tuple[tuple[LegId, Candidate], ...] = ()  # candidates for an offer or answer that has not come


@dataclass(frozen=True, slots=True)
class Absence:
    """A time in which a device is not heard, though it should be."""

    why: CallEventKind
    since: datetime
    is_told: bool = False  # the room was told


@dataclass(frozen=True, slots=True)
class Waiting:
    """A message of a device that the room's state does not list yet."""

    received: Received
    at: datetime


@dataclass(frozen=True, slots=True)
class Session:
    """The bot's part in a call."""

    setup: Setup
    entered: datetime
    peers: Mapping[Key, Peer] = field(default_factory=dict)
    declined: frozenset[UserId] = frozenset()
    came: frozenset[Key] = frozenset()  # devices that were in once
    stems: Mapping[UserId, int] = field(default_factory=dict)  # how many each user has, also before a crash of the bot
    rates: Mapping[UserId, Mapping[str, Rate]] = field(default_factory=dict)  # also of users who are gone
    told_declined: frozenset[UserId] = frozenset()
    told_refused: frozenset[Key] = frozenset()
    unheard: Mapping[Key, Absence] = field(default_factory=dict)
    hopes: Mapping[UserId, datetime] = field(default_factory=dict)  # see `rules.UNREACHABLE`; of users not heard since
    waiting: tuple[Waiting, ...] = ()
    legs: int = 0  # ids given out
    has_seen: bool = False
    is_cut: bool = False  # the homeserver does not answer
    alone_since: datetime | None = None
    quiet_since: datetime | None = None  # the last sound, or the time when somebody came; None: nobody is connected
    told_silent: bool = False
    is_over: bool = False
