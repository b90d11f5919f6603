"""Forms of the bot's own entry in calls: where it stands, what it says while the bot is in the call and after. Pure.

An entry is state, or a sticky event, which is kept among the room's state.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import ClassVar, Protocol

from bot import facts
from bot.calls.model import Call, Device, Member
from bot.calls.wire import matrixrtc, matrixrtc_own, msc3401_state, mxvc
from bot.dialects import rtc
from bot.event_types import CALL_MEMBER, CALL_STATE, RTC_MEMBER
from storage.records import CallProtocol, EventId, HeardEvent, Json, Position, RoomId, StateEvent

KINDS = frozenset({CALL_MEMBER, CALL_STATE, RTC_MEMBER})
"""All types under which an entry stands in the stored state."""
REMOVED_AFTER = timedelta(seconds=60)
"""The time after which the homeserver removes the entry of a bot that has died."""


@dataclass(frozen=True, slots=True)
class Place:
    """A place at which an entry stands: the key of a piece of state, or of sticky events of the bot's."""

    kind: str
    key: str
    sticky: bool = False


class Entry(Protocol):
    """An entry of the bot's in calls of a protocol. `every`: the pause between two looks at it. `lapses_after`: the age
    at which members give it up; None: not while the bot is in the call. `is_removed`: its removal is scheduled, where
    the homeserver can do that. `begins_anew`: what members made for an entry of a process before is of no use.

    `own` is what stands there now."""

    every: ClassVar[timedelta]
    lapses_after: ClassVar[timedelta | None]
    is_removed: ClassVar[bool]
    begins_anew: ClassVar[bool]

    @property
    def place(self) -> Place: ...

    def entered(self, own: StateEvent | None, now: datetime) -> Json:
        """Return the content while the bot is in the call."""

    def left(self, own: StateEvent | None, now: datetime) -> Json:
        """Return the content after it has left."""

    def is_listed(self, own: StateEvent | None) -> bool:
        """Return whether the bot stands there."""

    def is_fresh(self, own: StateEvent | None, now: datetime) -> bool:
        """Return whether the bot stands there as it is in the call, and nothing need be written yet."""


@dataclass(frozen=True, slots=True)
class Msc3401Entry:
    """State of the bot's user, in which other devices of that user may stand."""

    us: Device
    call_id: str = ""
    every: ClassVar[timedelta] = REMOVED_AFTER / 3
    lapses_after: ClassVar[timedelta | None] = None  # it stands for an hour, and clients call the bot all the same
    is_removed: ClassVar[bool] = True
    begins_anew: ClassVar[bool] = False

    @property
    def place(self) -> Place:
        return Place(CALL_MEMBER, self.us.user_id)

    def entered(self, own: StateEvent | None, now: datetime) -> Json:
        return msc3401_state.entered(_content(own), self.us, self.call_id, now)

    def left(self, own: StateEvent | None, now: datetime) -> Json:
        return msc3401_state.left(_content(own), self.us, now)

    def is_listed(self, own: StateEvent | None) -> bool:
        return msc3401_state.is_listed(_content(own), self.us)

    def is_fresh(self, own: StateEvent | None, now: datetime) -> bool:
        return msc3401_state.is_fresh(_content(own), self.us, self.call_id, now)


@dataclass(frozen=True, slots=True)
class MxvcEntry:
    """State under the name of the bot's device, written anew each time. It lapses by itself."""

    us: Device
    every: ClassVar[timedelta] = mxvc.REFRESH
    lapses_after: ClassVar[timedelta | None] = mxvc.DEAD_AFTER
    is_removed: ClassVar[bool] = False
    begins_anew: ClassVar[bool] = True  # a page keeps its connection to a device while its entry stands

    @property
    def place(self) -> Place:
        return Place(CALL_STATE, self.us.device_id)

    def entered(self, own: StateEvent | None, now: datetime) -> Json:
        return mxvc.entered(now)

    def left(self, own: StateEvent | None, now: datetime) -> Json:
        return mxvc.left(now)

    def is_listed(self, own: StateEvent | None) -> bool:
        return mxvc.is_listed(_content(own))

    def is_fresh(self, own: StateEvent | None, now: datetime) -> bool:
        return False


@dataclass(frozen=True, slots=True)
class RtcEntry:
    """State of one device of the bot's, in a MatrixRTC call."""

    us: Member
    room_id: RoomId
    key: str
    every: ClassVar[timedelta] = REMOVED_AFTER / 3
    lapses_after: ClassVar[timedelta | None] = (
        REMOVED_AFTER  # once it is removed, the SFU would go on without anybody seeing the bot
    )
    is_removed: ClassVar[bool] = True
    begins_anew: ClassVar[bool] = True  # a member gives its key to the same entry once

    @property
    def place(self) -> Place:
        return Place(CALL_MEMBER, self.key)

    def entered(self, own: StateEvent | None, now: datetime) -> Json:
        return matrixrtc_own.entered(own, self.us, self.room_id, now)

    def left(self, own: StateEvent | None, now: datetime) -> Json:
        return matrixrtc_own.LEFT

    def is_listed(self, own: StateEvent | None) -> bool:
        return matrixrtc_own.is_listed(own, self.us.device)

    def is_fresh(self, own: StateEvent | None, now: datetime) -> bool:
        return matrixrtc_own.is_fresh(own, self.us, now)


@dataclass(frozen=True, slots=True)
class StickyEntry:
    """A sticky event of one device of the bot's, in a MatrixRTC call."""

    us: Member
    every: ClassVar[timedelta] = REMOVED_AFTER / 3
    lapses_after: ClassVar[timedelta | None] = REMOVED_AFTER
    is_removed: ClassVar[bool] = True
    begins_anew: ClassVar[bool] = True

    @property
    def place(self) -> Place:
        return Place(RTC_MEMBER, self.us.device.session_id, sticky=True)

    def entered(self, own: StateEvent | None, now: datetime) -> Json:
        return matrixrtc_own.entered_sticky(self.us)

    def left(self, own: StateEvent | None, now: datetime) -> Json:
        return matrixrtc_own.left_sticky(self.us.device.session_id)

    def is_listed(self, own: StateEvent | None) -> bool:
        return matrixrtc_own.is_listed(own, self.us.device)

    def is_fresh(self, own: StateEvent | None, now: datetime) -> bool:
        return matrixrtc_own.is_fresh(own, self.us, now)


def entry_in(call: Call, us: Member, room_id: RoomId, version: str | None) -> Entry:
    """Return the bot's entry in a call that it joins now. `version`: of the room."""
    match call.protocol:
        case CallProtocol.MSC3401:
            return Msc3401Entry(us.device, call.call_id)
        case CallProtocol.MXVC:
            return MxvcEntry(us.device)
        case CallProtocol.MATRIXRTC:
            if matrixrtc_own.is_sticky(us):
                return StickyEntry(us)
            return RtcEntry(us, room_id, matrixrtc_own.state_key(us.device, version))


def moved(entry: Entry, us: Member) -> Entry:
    """Return an entry in a MatrixRTC call of the same membership, which names another SFU."""
    match entry:
        case RtcEntry() | StickyEntry():
            return replace(entry, us=us)
    return entry


def standing(protocol: CallProtocol, ours: Device, state: Iterable[StateEvent]) -> tuple[Entry, ...]:
    """Return the entries of the bot's device, of this process or one before, that stand in a room's state."""
    mine = [event for event in state if event.sender == ours.user_id]
    match protocol:
        case CallProtocol.MSC3401:
            own = Msc3401Entry(ours)
            here = [event for event in mine if (event.type, event.state_key) == (own.place.kind, own.place.key)]
            return (own,) if any(map(own.is_listed, here)) else ()
        case CallProtocol.MXVC:
            names = (event.state_key for event in mine if event.type == CALL_STATE and mxvc.is_listed(event.content))
            return tuple(MxvcEntry(Device(ours.user_id, name)) for name in names)
        case CallProtocol.MATRIXRTC:
            return tuple(entry for event in mine if (entry := _rtc(event, ours)) is not None)


def _rtc(event: StateEvent, ours: Device) -> Entry | None:
    read = matrixrtc.entry_of(event)
    if read is None or not matrixrtc.is_of(read, ours):
        return None
    us = Member(read.device, event.event_id)
    return StickyEntry(us) if event.type == RTC_MEMBER else RtcEntry(us, event.room_id, event.state_key)


def stored_key(place: Place, us: Device) -> str:
    """Return the key under which an entry at a place is stored."""
    return rtc.digest(us.user_id, place.key) if place.sticky else place.key


def as_stored(
    room_id: RoomId, place: Place, us: Device, content: Json, event_id: EventId, now: datetime
) -> StateEvent | None:
    """Return what was written now as the sync will bring it."""
    if not place.sticky:
        at = Position(0)
        return StateEvent(room_id, place.kind, place.key, us.user_id, content, at, event_id, now)
    sent = (now - facts.EPOCH) // timedelta(milliseconds=1)
    event = {"type": place.kind, "sender": us.user_id, "origin_server_ts": sent, "content": content}
    return rtc.kept_sticky(HeardEvent(room_id, event_id, event), now + matrixrtc_own.STICKY)


def _content(own: StateEvent | None) -> Json | None:
    return None if own is None else own.content
