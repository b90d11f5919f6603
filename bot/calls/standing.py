"""A room as its calls see it, read in one transaction: what goes on, what is recorded, and whose sound may be
received."""

import asyncio
from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import datetime
from itertools import chain

from bot import facts
from bot.calls.model import Call, Device
from bot.calls.wire import matrixrtc, msc3401_state, mxvc
from bot.event_types import CALLS, RTC_MEMBER
from bot.intake import consent
from storage import calls, heirs, rooms
from storage.database import Connection
from storage.records import CallProtocol, Recording, Room, RoomId, RoomPower, UserId

READERS = {
    CallProtocol.MATRIXRTC: matrixrtc.calls_of,
    CallProtocol.MSC3401: msc3401_state.calls_of,
    CallProtocol.MXVC: mxvc.calls_of,
}
"""The readers of the calls that count of those that go on in a room, by protocol."""
LONG = 300
"""Events; to read more takes longer than the event loop may be held."""


@dataclass(frozen=True, slots=True)
class Standing:
    """A room and its calls. `declined`: users in its calls whose sound may not be received; `gone`: those who were in
    one, and are not in the room any more."""

    room: Room
    power: RoomPower
    calls: tuple[Call, ...]  # that go on and count; of each protocol the newest first
    declined: frozenset[UserId]
    gone: frozenset[UserId]
    running: tuple[Recording, ...]
    is_present: bool  # the room is the present one of its podcast

    @property
    def is_wanted(self) -> bool:
        """Whether calls of this room are recorded, or the one that runs now is."""
        return self.room.joined and self.is_present and (self.room.calls_on or self.room.call_wanted)

    def recorded(self, protocol: CallProtocol) -> Recording | None:
        """Return the recording of a call of this protocol that runs."""
        return next((recording for recording in self.running if recording.protocol is protocol), None)

    def newest(self, protocol: CallProtocol) -> Call | None:
        """Return the call that counts: clients join the newest one."""
        return next((call for call in self.calls if call.protocol is protocol), None)

    def call_of(self, recording: Recording) -> Call | None:
        """Return the call that is recorded; None: it is over. A client stays in it while newer ones begin."""
        theirs = (call for call in self.calls if call.protocol is recording.protocol)
        return next((call for call in theirs if call.call_id == recording.call_id), None)

    def company(self, call: Call) -> frozenset[Device]:
        """Return the devices in a call whose sound may be received."""
        return frozenset(member.device for member in call.members if member.device.user_id not in self.declined)

    def first(self, call: Call) -> UserId:
        """Return the first member whose sound may be received, of a call that has one."""
        return next(member.device.user_id for member in call.members if member.device.user_id not in self.declined)

    def going_on(self) -> tuple[Call, ...]:
        """Return the calls that count with somebody in them whose sound may be received."""
        return tuple(filter(self.has_company, self.calls))

    def has_company(self, call: Call) -> bool:
        """Return whether anybody is in a call whose sound may be received."""
        return bool(self.company(call))


async def look(
    db: Connection,
    room_id: RoomId,
    device: Callable[[CallProtocol], Device],
    now: datetime,
    *,
    heard: Collection[UserId] = (),
) -> Standing | None:
    """Read how a room stands; None for an unknown one. `device`: the bot's, as it is seen in calls of a protocol.
    `heard`: users whose sound may be received now, also from devices that the state no longer lists."""
    room = await rooms.room(db, room_id)
    if room is None:
        return None
    state = await rooms.states_in(db, room_id, CALLS | {RTC_MEMBER})
    members = await rooms.member_states(db, room_id, {*(event.sender for event in state), *heard})
    running = await calls.running(db, room_id)
    recorded = {recording.call_id for recording in running if recording.call_id is not None}
    ours = {protocol: device(protocol) for protocol in READERS}

    def read() -> tuple[frozenset[UserId], tuple[Call, ...]]:
        joined = frozenset(UserId(user) for user, member in members.items() if facts.is_joined(member))
        found = (reader(state, joined, ours[each], now, recorded) for each, reader in READERS.items())
        return joined, tuple(chain.from_iterable(found))

    joined, found = await asyncio.to_thread(read) if len(state) > LONG else read()
    present = {*(member.device.user_id for call in found for member in call.members), *heard}
    return Standing(
        room=room,
        power=await rooms.power(db, room_id),
        calls=found,
        declined=frozenset({user for user in present if not await consent.may_record(db, room_id, user)}),
        gone=frozenset(heard) - joined,
        running=running,
        is_present=await heirs.present(db, room_id) == room_id,
    )
