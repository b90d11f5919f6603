"""The bot's own entry in the calls of a room, by which their members see it: written, kept fresh, removed.

Where the homeserver has delayed events (MSC4140), the removal of an entry is scheduled before it is written, and put
off again and again: a bot that dies is shown no longer than a minute. An MXVC entry lapses by itself after 20 s.

The stored state follows what is written here by a sync. Until it does, what was written counts.
"""

import asyncio
import logging
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from bot import facts
from bot.calls import entries
from bot.calls.entries import KINDS, REMOVED_AFTER, Entry, Place
from bot.calls.model import Call, Device, Member
from bot.calls.wire.matrixrtc_own import STICKY
from bot.errors import AircheckError, GiveUp
from bot.event_types import CREATE
from bot.matrix.delayed import DelayedEvents
from bot.matrix.sending import Sending
from bot.matrix.sticky import StickyRequests
from storage import rooms
from storage.database import Connection
from storage.errors import StoreError
from storage.records import CallProtocol, EventId, Json, RoomId, StateEvent
from storage.store import Store

log = logging.getLogger(__name__)

AGAIN_S = 2.0
"""The pause after a failure: of MXVC's 20 s no more than a part may be lost."""

Key = tuple[RoomId, CallProtocol]
Spot = tuple[RoomId, Place]


@dataclass(frozen=True, slots=True)
class _Written:
    """The entry that this process wrote last, as it will be stored. `before`: the event that was stored then."""

    state: StateEvent | None
    before: EventId | None


@dataclass(frozen=True, slots=True)
class _Removal:
    """The removal that is scheduled."""

    delay_id: str
    content: Json


class Showing:
    """The bot's entries in all calls. `device`: the bot's, which is known once it has logged in."""

    def __init__(
        self,
        store: Store,
        sending: Sending,
        delayed: DelayedEvents,
        sticky: StickyRequests,
        device: Callable[[CallProtocol], Device],
        clock: Callable[[], datetime],
        pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._store = store
        self._sending = sending
        self._delayed = delayed
        self._sticky = sticky
        self._device = device
        self._clock = clock
        self._pause = pause
        self._kept: dict[Key, asyncio.Task[None]] = {}
        self._wakes: dict[Key, asyncio.Event] = {}  # of those who keep an entry
        self._shown: dict[Key, Entry] = {}
        self._written: dict[Spot, _Written] = {}
        self._removals: dict[Spot, _Removal] = {}
        self._asked: set[Spot] = set()

    async def show(self, room_id: RoomId, call: Call, us: Member, lost: Callable[[bool], None]) -> None:
        """Write the entry of the bot, and keep it fresh from then on. Raises TryLater, GiveUp, StoreError.

        `lost` is called, once, when members see the bot no more: the homeserver refuses the entry (True), or an entry
        that lapses could not be written in time. It is not kept after that.
        """
        key = room_id, call.protocol
        await self._stop(key)
        entry = await self._entry(room_id, call, us)
        for old in await self._standing(key):
            if old.begins_anew:
                await self._remove((room_id, old.place), old)
        self._shown[key] = entry
        await self._write(room_id, entry)
        self._begin_to_keep(key, entry, lost)

    async def move(self, key: Key, us: Member, lost: Callable[[bool], None]) -> None:
        """Write the entry of the same membership anew, which names another SFU, and keep it fresh."""
        if await self._stop(key):
            entry = self._shown[key] = entries.moved(self._shown[key], us)
            self._begin_to_keep(key, entry, lost).set()

    async def hide(self, key: Key, *, shown: bool) -> None:
        """Remove the entry, and keep it fresh no longer; an entry of a process before, too. `shown`: it was written,
        whatever the state says. Raises TryLater, GiveUp, StoreError."""
        shown = await self._stop(key) or shown
        there = {entry.place: entry for entry in await self._standing(key)}
        entry = self._shown.get(key)
        if shown and entry is not None:
            there[entry.place] = entry
        for place, each in there.items():
            await self._remove((key[0], place), each)
        if entry is not None and (key[0], entry.place) in self._removals:
            await self._cancel_removal((key[0], entry.place))
        self._shown.pop(key, None)

    async def look(self, key: Key) -> None:
        """Have the entry written again at once where it is gone, as after somebody has overwritten it. Raises
        StoreError."""
        entry, wake = self._shown.get(key), self._wakes.get(key)
        if entry is not None and wake is not None and not entry.is_listed(await self._own((key[0], entry.place))):
            wake.set()

    async def rooms(self, db: Connection) -> frozenset[RoomId]:
        """Return the rooms whose stored state shows the bot in a call."""
        mine = await rooms.states_sent(db, self._device(CallProtocol.MSC3401).user_id, KINDS)
        ours = {protocol: self._device(protocol) for protocol in CallProtocol}
        return frozenset(
            event.room_id for event in mine for protocol in ours if entries.standing(protocol, ours[protocol], [event])
        )

    async def close(self) -> None:
        for key in tuple(self._kept):
            await self._stop(key)

    async def _stop(self, key: Key) -> bool:
        task = self._kept.pop(key, None)
        self._wakes.pop(key, None)
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        return task is not None

    # ---- keeping it fresh

    def _begin_to_keep(self, key: Key, entry: Entry, lost: Callable[[bool], None]) -> asyncio.Event:
        """Keep an entry fresh from now on. Set what it returns to have it looked at without a pause."""
        wake = self._wakes[key] = asyncio.Event()
        keeping = self._keep(key[0], entry, lost, wake)
        self._kept[key] = asyncio.create_task(keeping, name=f"entry in a call of {key[0]}")
        return wake

    async def _keep(self, room_id: RoomId, entry: Entry, lost: Callable[[bool], None], wake: asyncio.Event) -> None:
        """Write the entry anew before it lapses, and where it is gone; put off its removal."""
        trouble, kept_at, every_s = "", self._clock(), entry.every.total_seconds()
        while trouble == "" or not self._has_lapsed(room_id, entry, kept_at):
            await self._rest(AGAIN_S if trouble else every_s, wake)
            try:
                async with asyncio.timeout(every_s if entry.lapses_after is not None else None):
                    if not await self._is_kept(room_id, entry):
                        await self._write(room_id, entry)
                trouble, kept_at = "", self._clock()
            except GiveUp as refused:
                log.warning("entry in a call refused: room=%s reason=%s", room_id, refused.reason)
                lost(True)
                return
            except (AircheckError, StoreError, TimeoutError) as error:
                if str(error) != trouble:
                    log.warning("entry in a call not kept, trying again: room=%s (%s)", room_id, error)
                trouble = str(error) or type(error).__name__
        lost(False)

    async def _rest(self, seconds: float, wake: asyncio.Event) -> None:
        """Wait for so long, or until it is woken."""
        if wake.is_set():
            wake.clear()
            return
        waits = asyncio.ensure_future(self._pause(seconds)), asyncio.ensure_future(wake.wait())
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for each in waits:
                each.cancel()
        wake.clear()

    def _has_lapsed(self, room_id: RoomId, entry: Entry, kept_at: datetime) -> bool:
        """Return whether members give up an entry that was kept for the last time then."""
        if entry.lapses_after is None or (entry.is_removed and (room_id, entry.place) not in self._removals):
            return False
        return self._clock() - kept_at >= entry.lapses_after

    async def _is_kept(self, room_id: RoomId, entry: Entry) -> bool:
        """Return whether the entry needs no writing, its removal put off. Raises TryLater."""
        spot = room_id, entry.place
        removal = self._removals.get(spot)
        if removal is not None and not await self._delayed.restart(removal.delay_id):
            del self._removals[spot]  # it was sent
            return False
        return entry.is_fresh(await self._own(spot), self._clock())

    async def _write(self, room_id: RoomId, entry: Entry) -> None:
        """Write the entry, once its removal is scheduled."""
        spot = room_id, entry.place
        own = await self._own(spot)
        await self._schedule_removal(spot, entry, own)
        await self._put(spot, entry.entered(own, self._clock()))

    async def _remove(self, spot: Spot, entry: Entry) -> None:
        """Write that the bot has left, and have nothing scheduled any more."""
        await self._put(spot, entry.left(await self._own(spot), self._clock()))
        if entry.is_removed:
            await self._cancel_removal(spot)
        if spot[1].sticky:
            self._asked.discard(spot)  # its key is of one joining

    # ---- its removal by the homeserver

    async def _schedule_removal(self, spot: Spot, entry: Entry, own: StateEvent | None) -> None:
        """Schedule the removal of the entry alone: other devices of the bot's user stay as they are now."""
        if not entry.is_removed or await self._delayed.longest_ms() < _ms(REMOVED_AFTER):
            return
        left = entry.left(own, self._clock())
        known = self._removals.get(spot)
        if known is not None and known.content == left and await self._delayed.restart(known.delay_id):
            return
        await self._cancel_removal(spot)
        delay_id = await self._schedule(spot, left)
        if delay_id is not None:
            self._removals[spot] = _Removal(delay_id, left)

    async def _schedule(self, spot: Spot, left: Json) -> str | None:
        room_id, place = spot
        if not place.sticky:
            return await self._delayed.schedule(room_id, place.kind, left, _ms(REMOVED_AFTER), key=place.key)
        return await self._delayed.schedule_sticky(
            room_id, place.kind, left, _ms(REMOVED_AFTER), _ms(STICKY), txn_id=secrets.token_urlsafe(12)
        )

    async def _cancel_removal(self, spot: Spot) -> None:
        """Cancel what is scheduled, by this process or the one before, for which the homeserver is asked once."""
        if not await self._delayed.longest_ms():
            return
        room_id, place = spot
        known = self._removals.get(spot)
        lost: list[str] = []
        if spot not in self._asked:
            lost = await self._delayed.scheduled_at(room_id, place.kind, place.key, sticky=place.sticky)
        for delay_id in {*lost, *([known.delay_id] if known is not None else [])}:
            await self._delayed.cancel(delay_id)
        self._asked.add(spot)
        self._removals.pop(spot, None)

    # ---- what stands in the room

    async def _put(self, spot: Spot, content: Json) -> None:
        (room_id, place), us = spot, self._device(CallProtocol.MSC3401)
        stored = await self._stored(spot)
        if place.sticky:
            txn_id = secrets.token_urlsafe(12)
            event_id = await self._sticky.send(room_id, place.kind, content, _ms(STICKY), txn_id=txn_id)
        else:
            event_id = await self._sending.set_state(room_id, place.kind, content, key=place.key)
        state = entries.as_stored(room_id, place, us, content, event_id, self._clock())
        self._written[spot] = _Written(state, stored.event_id if stored else None)

    async def _stored(self, spot: Spot) -> StateEvent | None:
        room_id, place = spot
        key = entries.stored_key(place, self._device(CallProtocol.MSC3401))
        async with self._store.read() as db:
            return await rooms.state(db, room_id, place.kind, key)

    async def _own(self, spot: Spot) -> StateEvent | None:
        """Return the entry: as it is stored, or as this process wrote it since."""
        stored, written = await self._stored(spot), self._written.get(spot)
        if written is not None and (stored.event_id if stored else None) == written.before:
            return written.state
        self._written.pop(spot, None)  # the sync has brought it, or what came after it
        return stored

    async def _standing(self, key: Key) -> tuple[Entry, ...]:
        """Return the entries of the bot's device that stand in a room's calls of a protocol: as they are stored, or as
        this process wrote them since."""
        room_id, protocol = key
        ours = self._device(protocol)
        async with self._store.read() as db:
            stored = await rooms.states_sent(db, ours.user_id, KINDS, room_id)
        now = {(event.type, event.state_key): event for event in stored}
        for spot in tuple(self._written):
            if spot[0] == room_id:
                place, own = spot[1], await self._own(spot)
                stands_at = place.kind, entries.stored_key(place, ours)
                now.pop(stands_at, None)
                if own is not None and own.sender == ours.user_id:
                    now[stands_at] = own
        return entries.standing(protocol, ours, now.values())

    async def _entry(self, room_id: RoomId, call: Call, us: Member) -> Entry:
        async with self._store.read() as db:
            create = await rooms.state(db, room_id, CREATE)
        return entries.entry_in(call, us, room_id, facts.room_version(create))


def _ms(span: timedelta) -> int:
    return span // timedelta(milliseconds=1)
