"""The beginning of a call's recording: whether it is wanted, what it lacks, and who was in the call when the bot left
it.

A recording begins with its row and the notice to the room. The bot shows itself in the call once the notice stands in
the room, and receives no sound before.
"""

import logging
from dataclasses import replace
from datetime import datetime

from bot import orders, rules
from bot.calls import telling
from bot.calls.model import Call, Device, Member
from bot.calls.parts import Key, Parts
from bot.calls.standing import Standing
from bot.calls.wire import matrixrtc_own
from bot.errors import GiveUp
from bot.event_types import RTC_MEMBER, SHOWN_IN_CALL
from storage import calls, jobs, rooms
from storage.database import Connection
from storage.records import CallProtocol, EndedBy, EventId, RecordingState, RoomId

log = logging.getLogger(__name__)


class Beginning:
    """The beginning of recordings. It remembers who was in the calls that the bot has left."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._store, self._clock, self._calling = parts.store, parts.clock, parts.calling
        self._prefix = parts.settings.commands.prefix
        self._left: dict[tuple[Key, str], frozenset[Device]] = {}  # calls: who was in then, and is in it since

    def note_left(self, key: Key, call_id: str, who: frozenset[Device]) -> None:
        """Remember that the bot leaves a call, and who is in it."""
        self._left[key, call_id] = who

    async def forget_wish(self, room_id: RoomId) -> None:
        """Forget that a moderator wants the call recorded that runs now: it is begun, or can't be, and no later one is
        meant."""
        async with self._store.write() as db:
            room = await rooms.room(db, room_id)
            if room is not None and room.call_wanted:
                await rooms.save_room(db, replace(room, call_wanted=False))

    async def is_sticky(self, call: Call | None) -> bool:
        """Return whether the bot joins a call by a sticky event: members use nothing else, and the homeserver has them.
        Raises TryLater."""
        known = self.known_sticky(call)
        return await self._parts.has_sticky() if known is None else known

    def known_sticky(self, call: Call | None) -> bool | None:
        """Return the same without a request; None: the homeserver was not asked yet."""
        if call is None or call.protocol is not CallProtocol.MATRIXRTC or not matrixrtc_own.uses_sticky(call):
            return False
        return self._parts.known_sticky()

    async def own(self, call: Call, ours: Device) -> Member:
        """Return the bot as a member of a call that it joins now. `ours`: its device. Raises TryLater."""
        if call.protocol is not CallProtocol.MATRIXRTC:
            return Member(ours, None)
        return matrixrtc_own.own_member(call, ours, sticky=await self.is_sticky(call))

    def may_show(self, standing: Standing, protocol: CallProtocol, *, sticky: bool) -> bool:
        """Return whether the bot may show itself in a room's calls of a protocol, by a sticky event or by state."""
        us = self._parts.device(protocol).user_id
        return rules.may_show_in_call(us, protocol, standing.power, sticky=sticky)

    async def begin(self, standing: Standing, key: Key) -> None:
        """Begin to record the call that goes on, if that is wanted; the notice to the room is on its way then."""
        room_id, protocol = key
        call = standing.newest(protocol)
        if call is None or not standing.is_wanted:
            return
        if not standing.has_company(call):
            self._forget_others(key, call)
            self._left[key, call.call_id] = frozenset()
            return
        now, prefix = self._clock(), self._prefix
        is_fit, sticky = await self._is_fit(), await self.is_sticky(call)
        async with self._store.write() as db:
            if not is_fit:
                await telling.unfit(db, room_id, now)
                return
            if not self.may_show(standing, protocol, sticky=sticky):
                await telling.lacks(db, room_id, protocol, now, sticky=sticky)
                self._left.pop((key, call.call_id), None)
                return
            if standing.room.encrypted and protocol is CallProtocol.MXVC:
                await telling.unencrypted(db, room_id, now)
                return
            if not standing.room.call_wanted and await self._stays_away(db, standing, key, call):
                await _look_at_end_of(db, room_id, call, now)
                return
            recording = await self._calling.begin(
                db,
                room_id,
                protocol,
                call.call_id,
                events=[*_events(call), *await self._own_entries(db, key)],
                broadcaster=standing.first(call),
            )
            if recording is None:
                return
            await telling.begun(db, recording, now, prefix=prefix)
            await telling.present(db, recording.id, call.users, now, prefix=prefix)
        self._left.pop((key, call.call_id), None)

    async def _is_fit(self) -> bool:
        """Return whether the libraries do by which sound is received, before anybody is told that it is. Raises
        TryLater."""
        try:
            await self._parts.media.ready()
        except GiveUp as unfit:
            log.error("no call can be recorded: %s", unfit.sentence)
            return False
        return True

    def _forget_others(self, key: Key, call: Call) -> None:
        """Forget what is remembered of a room's other calls: anybody can begin one, and the newest counts."""
        for other, call_id in tuple(self._left):
            if other == key and call_id != call.call_id:
                del self._left[other, call_id]

    async def _stays_away(self, db: Connection, standing: Standing, key: Key, call: Call) -> bool:
        """Return whether the bot has left this call, and does not come back yet.

        - For good: until nobody is in it any more who was then. What follows is another conversation.
        - Alone, or where it may not be seen: until somebody comes. A client that has died stays listed for up to an
          hour.
        """
        here, present = (key, call.call_id), standing.company(call)
        was_there = self._left.get(here)
        if await self._was_left(db, key, call):
            stayed = self._left[here] = present if was_there is None else was_there & present
            return bool(stayed)
        if was_there is None:
            return False
        self._left[here] = was_there & present  # a device that left and comes again is there
        return present <= was_there

    async def _own_entries(self, db: Connection, key: Key) -> list[EventId]:
        """Return the events of the bot's own entry: another one after each recording, for a call whose other events
        name recordings already."""
        us = self._parts.device(key[1]).user_id
        entries = await rooms.states_sent(db, us, {SHOWN_IN_CALL[key[1]], RTC_MEMBER}, key[0])
        return [entry.event_id for entry in entries if entry.event_id is not None]

    async def _was_left(self, db: Connection, key: Key, call: Call) -> bool:
        """Return whether the bot has left this call for good: its recording was too long, or was deleted while it
        ran."""
        last = await calls.last(db, *key, call.call_id)
        if last is None:
            return False
        return last.ended_by is EndedBy.LIMIT or (last.state is RecordingState.DELETED and last.ended_by is None)


def _events(call: Call) -> list[EventId]:
    """Return the events by which the recording of a call may be named, the best first."""
    ids = [call.event_id, *(member.event_id for member in call.members)]
    return list(dict.fromkeys(event_id for event_id in ids if event_id is not None))


async def _look_at_end_of(db: Connection, room_id: RoomId, call: Call, now: datetime) -> None:
    """Have a call looked at when its members' entries have lapsed, of which no event tells."""
    ends = [member.expires_at for member in call.members if member.expires_at is not None]
    if len(ends) == len(call.members):
        await jobs.add(db, orders.KeepCalls(room_id).job(max(ends)), now)
