"""The bot's own entry in the state of a room, by which the members of a call see it: written, kept fresh, removed.

Where the homeserver has delayed events (MSC4140), the removal of an MSC3401 entry is scheduled before it is written,
and put off again and again: a bot that dies is shown no longer than a minute. An MXVC entry lapses by itself after
20 s.

The stored state follows what is written here by a sync. Until it does, what was written counts.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime

from bot.calls.model import Call, Device
from bot.calls.wire import msc3401_state, mxvc
from bot.errors import AircheckError, GiveUp
from bot.event_types import SHOWN_IN_CALL
from bot.matrix.delayed import DelayedEvents
from bot.matrix.sending import Sending
from storage import rooms
from storage.database import Connection
from storage.errors import StoreError
from storage.records import CallProtocol, EventId, Json, RoomId, StateEvent
from storage.store import Store

log = logging.getLogger(__name__)

REMOVED_AFTER_S = 60.0
"""The time after which the homeserver removes the entry of a bot that has died."""
EVERY_S = {CallProtocol.MSC3401: REMOVED_AFTER_S / 3, CallProtocol.MXVC: mxvc.REFRESH.total_seconds()}
"""The pauses between two looks at an entry. MXVC's is written anew each time."""
AGAIN_S = 2.0
"""The pause after a failure: of MXVC's 20 s no more than a part may be lost."""

Key = tuple[RoomId, CallProtocol]


@dataclass(frozen=True, slots=True)
class _Written:
    """The content that this process wrote last. `before` is the event that the stored state showed then."""

    content: Json
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
        device: Callable[[CallProtocol], Device],
        clock: Callable[[], datetime],
        pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._store = store
        self._sending = sending
        self._delayed = delayed
        self._device = device
        self._clock = clock
        self._pause = pause
        self._kept: dict[Key, asyncio.Task[None]] = {}
        self._written: dict[Key, _Written] = {}
        self._removals: dict[Key, _Removal] = {}
        self._asked: set[Key] = set()

    async def show(self, room_id: RoomId, call: Call, ours: Device, lost: Callable[[bool], None]) -> None:
        """Write the entry of the bot's device, and keep it fresh from then on. Raises TryLater, GiveUp, StoreError.

        `lost` is called, once, when members see the bot no more: the homeserver refuses the entry (True), or an entry
        that lapses could not be written in time. It is not kept after that.
        """
        key = room_id, call.protocol
        await self._stop(key)
        own = await self._own(key)
        if call.protocol is CallProtocol.MXVC and mxvc.is_listed(own):
            # A page keeps its connection to a device while its entry stands: here that to a process that died.
            await self._put(key, self._left(key[1], own))
        await self._write(key, call, ours)
        self._kept[key] = asyncio.create_task(self._keep(key, call, ours, lost), name=f"entry in a call of {room_id}")

    async def hide(self, key: Key, *, shown: bool) -> None:
        """Remove the entry, and keep it fresh no longer; an entry of a process before, too. `shown`: it was written,
        whatever the state says. Raises TryLater, GiveUp, StoreError."""
        shown = await self._stop(key) or shown
        own = await self._own(key)
        shown = shown or self._is_listed(key[1], own)
        if shown:
            await self._put(key, self._left(key[1], own))
        await self._remove_stale(key)
        if shown or key in self._removals:
            await self._cancel_removal(key)

    async def rooms(self, db: Connection) -> frozenset[RoomId]:
        """Return the rooms whose stored state shows the bot in a call."""
        found: set[RoomId] = set()
        for protocol in EVERY_S:
            mine = await rooms.states_of(db, {SHOWN_IN_CALL[protocol]}, self._state_key(protocol))
            found |= {event.room_id for event in mine if self._is_listed(protocol, event.content)}
        return frozenset(found)

    async def close(self) -> None:
        for key in tuple(self._kept):
            await self._stop(key)

    async def _stop(self, key: Key) -> bool:
        task = self._kept.pop(key, None)
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        return task is not None

    # ---- keeping it fresh

    async def _keep(self, key: Key, call: Call, ours: Device, lost: Callable[[bool], None]) -> None:
        """Write the entry anew before it lapses, and where it is gone; put off its removal."""
        trouble, kept_at = "", self._clock()
        at_most_s = EVERY_S[key[1]] if key[1] is CallProtocol.MXVC else None
        while trouble == "" or not self._has_lapsed(key, kept_at):
            await self._pause(AGAIN_S if trouble else EVERY_S[key[1]])
            try:
                async with asyncio.timeout(at_most_s):
                    if not await self._is_kept(key, call, ours):
                        await self._write(key, call, ours)
                trouble, kept_at = "", self._clock()
            except GiveUp as refused:
                log.warning("entry in a call refused: room=%s reason=%s", key[0], refused.reason)
                lost(True)
                return
            except (AircheckError, StoreError, TimeoutError) as error:
                if str(error) != trouble:
                    log.warning("entry in a call not kept, trying again: room=%s (%s)", key[0], error)
                trouble = str(error) or type(error).__name__
        lost(False)

    def _has_lapsed(self, key: Key, kept_at: datetime) -> bool:
        """Return whether members give up an entry that was written then. MSC3401's stands for an hour."""
        return key[1] is CallProtocol.MXVC and self._clock() - kept_at >= mxvc.DEAD_AFTER

    async def _is_kept(self, key: Key, call: Call, ours: Device) -> bool:
        """Return whether the entry needs no writing, its removal put off. Raises TryLater."""
        if key[1] is CallProtocol.MXVC:
            return False
        removal = self._removals.get(key)
        if removal is not None and not await self._delayed.restart(removal.delay_id):
            del self._removals[key]  # it was sent
            return False
        return msc3401_state.is_fresh(await self._own(key), ours, call.call_id, self._clock())

    async def _write(self, key: Key, call: Call, ours: Device) -> None:
        """Write the entry, once its removal is scheduled."""
        own = await self._own(key)
        await self._schedule_removal(key, own)
        await self._put(key, self._entered(own, call, ours))

    # ---- its removal by the homeserver

    async def _schedule_removal(self, key: Key, own: Json | None) -> None:
        """Schedule the removal of the entry alone: other devices of the bot's user stay as they are now."""
        if key[1] is not CallProtocol.MSC3401 or await self._delayed.longest_ms() < REMOVED_AFTER_S * 1000:
            return
        left = self._left(key[1], own)
        known = self._removals.get(key)
        if known is not None and known.content == left and await self._delayed.restart(known.delay_id):
            return
        await self._cancel_removal(key)
        kind, name = SHOWN_IN_CALL[key[1]], self._state_key(key[1])
        delay_id = await self._delayed.schedule(key[0], kind, left, round(REMOVED_AFTER_S * 1000), key=name)
        if delay_id is not None:
            self._removals[key] = _Removal(delay_id, left)

    async def _cancel_removal(self, key: Key) -> None:
        """Cancel what is scheduled, by this process or the one before, for which the homeserver is asked once."""
        if key[1] is not CallProtocol.MSC3401 or not await self._delayed.longest_ms():
            return
        known = self._removals.get(key)
        lost = [] if key in self._asked else await self._delayed.scheduled(key[0], {SHOWN_IN_CALL[key[1]]})
        for delay_id in {*lost, *([known.delay_id] if known is not None else [])}:
            await self._delayed.cancel(delay_id)
        self._asked.add(key)
        self._removals.pop(key, None)

    # ---- the room's state

    async def _put(self, key: Key, content: Json) -> None:
        kind, name = SHOWN_IN_CALL[key[1]], self._state_key(key[1])
        stored = await self._stored(key)
        await self._sending.set_state(key[0], kind, content, key=name)
        self._written[key] = _Written(content, stored.event_id if stored else None)

    async def _stored(self, key: Key) -> StateEvent | None:
        async with self._store.read() as db:
            return await rooms.state(db, key[0], SHOWN_IN_CALL[key[1]], self._state_key(key[1]))

    async def _own(self, key: Key) -> Json | None:
        """Return the content of the entry: as it is stored, or as this process wrote it since."""
        stored, written = await self._stored(key), self._written.get(key)
        if written is not None and (stored.event_id if stored else None) == written.before:
            return written.content
        return stored.content if stored is not None else None

    async def _remove_stale(self, key: Key) -> None:
        """Remove entries of the bot under names that it had before, in an MXVC channel."""
        if key[1] is not CallProtocol.MXVC:
            return
        kind = SHOWN_IN_CALL[key[1]]
        async with self._store.read() as db:
            state = await rooms.states_in(db, key[0], {kind})
        for name in mxvc.stale_names(state, self._device(key[1])):
            await self._sending.set_state(key[0], kind, mxvc.left(self._clock()), key=name)

    # ---- its form

    def _state_key(self, protocol: CallProtocol) -> str:
        device = self._device(protocol)
        return device.device_id if protocol is CallProtocol.MXVC else device.user_id

    def _entered(self, own: Json | None, call: Call, ours: Device) -> Json:
        if call.protocol is CallProtocol.MXVC:
            return mxvc.entered(self._clock())
        return msc3401_state.entered(own, ours, call.call_id, self._clock())

    def _left(self, protocol: CallProtocol, own: Json | None) -> Json:
        if protocol is CallProtocol.MXVC:
            return mxvc.left(self._clock())
        return msc3401_state.left(own, self._device(protocol), self._clock())

    def _is_listed(self, protocol: CallProtocol, own: Json | None) -> bool:
        if protocol is CallProtocol.MXVC:
            return mxvc.is_listed(own)
        return msc3401_state.is_listed(own, self._device(protocol))
