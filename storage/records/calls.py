"""Calls: their stems, their members, and their events. Pure."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from storage.records.ids import BlobKey, EventId, Position, RoomId, Samples, UserId


class CallProtocol(StrEnum):
    """The way in which the members of a call find one another."""

    MSC3401 = "msc3401"  # full mesh over to-device messages
    MXVC = "mxvc"  # voice channels: full mesh over plain timeline events
    MATRIXRTC = "matrixrtc"  # Element Call: media through LiveKit


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
