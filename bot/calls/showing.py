"""The bot's own entry in the state of a room, by which the members of a call see it: written, kept fresh, removed.

Where the homeserver has delayed events (MSC4140), the removal of an MSC3401 entry is scheduled with it and put off
again and again: a bot that dies is shown no longer than half a minute. An MXVC entry lapses by itself.
"""

import asyncio
import logging
from collections.abc import Callable
from datetime import datetime

from bot.calls.model import Call, Device
from bot.calls.wire import msc3401_state
from bot.errors import AircheckError
from bot.event_types import CALL_MEMBER, CALL_STATE
from bot.matrix.delayed import DelayedEvents
from bot.matrix.sending import Sending
from storage import rooms
from storage.errors import StoreError
from storage.records import CallProtocol, Json, RoomId
from storage.store import Store

log = logging.getLogger(__name__)

REMOVED_AFTER_S = 30.0
EVERY_S = 10.0
"""The pause between two looks at an entry: MXVC's is written anew each time (it lapses after 20 s)."""
TYPES = {CallProtocol.MSC3401: CALL_MEMBER, CallProtocol.MXVC: CALL_STATE}

Key = tuple[RoomId, CallProtocol]


class Showing:
    """The bot's entries in all calls. `device`: the bot's, which is known once it has logged in."""

    def __init__(
        self,
        store: Store,
        sending: Sending,
        delayed: DelayedEvents,
        device: Callable[[CallProtocol], Device],
        clock: Callable[[], datetime],
    ) -> None:
        self._store = store
        self._sending = sending
        self._delayed = delayed
        self._device = device
        self._clock = clock
        self._kept: dict[Key, asyncio.Task[None]] = {}
        self._removals: dict[Key, str] = {}  # ids of delayed events

    async def show(self, room_id: RoomId, call: Call, ours: Device) -> None:
        """Write the entry of the bot's device, and keep it fresh from then on. Raises TryLater, GiveUp, StoreError."""
        key = room_id, call.protocol
        await self._stop(key)
        await self._write(key, call, ours)
        self._kept[key] = asyncio.create_task(self._keep(key, call, ours), name=f"entry in a call of {room_id}")

    async def hide(self, key: Key, *, shown: bool) -> None:
        """Remove the entry, if there is one; `shown`: the room's state that is stored may not show it yet. Raises
        TryLater, GiveUp, StoreError."""
        shown = await self._stop(key) or shown
        own = await self._own(key)
        if shown or self._is_listed(key[1], own):
            await self._put(key, self._left(key[1], own))
        await self._cancel_removal(key)

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

    async def _keep(self, key: Key, call: Call, ours: Device) -> None:
        """Write the entry anew before it lapses, and where it is gone; put off its removal."""
        trouble = ""
        while True:
            await asyncio.sleep(EVERY_S)
            try:
                if not await self._is_kept(key, call, ours):
                    await self._write(key, call, ours)
                trouble = ""
            except (AircheckError, StoreError) as error:
                if str(error) != trouble:
                    log.warning("entry in a call not kept, trying again: room=%s (%s)", key[0], error)
                trouble = str(error)

    async def _is_kept(self, key: Key, call: Call, ours: Device) -> bool:
        """Return whether the entry needs no writing. Raises TryLater."""
        if key[1] is CallProtocol.MXVC:
            return False
        own = await self._own(key)
        is_put_off = key not in self._removals or await self._delayed.restart(self._removals[key])
        return is_put_off and msc3401_state.is_fresh(own, ours, call.call_id, self._clock())

    async def _write(self, key: Key, call: Call, ours: Device) -> None:
        """Write the entry, once its removal is scheduled."""
        own = await self._own(key)
        await self._schedule_removal(key, own)
        await self._put(key, self._entered(own, call, ours))

    async def _schedule_removal(self, key: Key, own: Json | None) -> None:
        if key[1] is not CallProtocol.MSC3401 or await self._delayed.longest_ms() < REMOVED_AFTER_S * 1000:
            return
        await self._cancel_removal(key)
        left, delay_ms = self._left(key[1], own), round(REMOVED_AFTER_S * 1000)
        delay_id = await self._delayed.schedule(key[0], CALL_MEMBER, left, delay_ms, key=self._state_key(key[1]))
        if delay_id is not None:
            self._removals[key] = delay_id

    async def _cancel_removal(self, key: Key) -> None:
        """Cancel what is scheduled, by this process or the one before."""
        if key[1] is not CallProtocol.MSC3401 or not await self._delayed.longest_ms():
            return
        known = self._removals.pop(key, None)
        for delay_id in [known] if known is not None else await self._delayed.scheduled(key[0], {CALL_MEMBER}):
            await self._delayed.cancel(delay_id)

    # ---- its form

    async def _put(self, key: Key, content: Json) -> None:
        await self._sending.set_state(key[0], TYPES[key[1]], content, key=self._state_key(key[1]))

    async def _own(self, key: Key) -> Json | None:
        async with self._store.read() as db:
            state = await rooms.state(db, key[0], TYPES[key[1]], self._state_key(key[1]))
        return state.content if state is not None else None

    def _state_key(self, protocol: CallProtocol) -> str:
        device = self._device(protocol)
        return device.user_id if protocol is CallProtocol.MSC3401 else device.device_id

    def _entered(self, own: Json | None, call: Call, ours: Device) -> Json:
        return msc3401_state.entered(own, ours, call.call_id, self._clock())

    def _left(self, protocol: CallProtocol, own: Json | None) -> Json:
        return msc3401_state.left(own, self._device(protocol), self._clock())

    def _is_listed(self, protocol: CallProtocol, own: Json | None) -> bool:
        return msc3401_state.is_listed(own, self._device(protocol))
