"""Messages between devices about calls (Client-Server API, send-to-device messaging): sealed by Olm, or plain.

Users of unencrypted rooms count too, whose devices nio would never query.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import Any
from weakref import WeakValueDictionary

from bot.errors import AircheckError, GiveUp
from bot.event_types import ENCRYPTED
from bot.matrix.batch import Signal
from bot.matrix.keys import MOST_OF_A_SENDER, Keys
from bot.matrix.upkeep import Silent, Upkeep
from storage.errors import StoreError
from storage.records import DeviceId, Json, UserId

log = logging.getLogger(__name__)

UNKNOWN_FOR_S = 60.0
"""The time after which a device that its user did not publish is looked up again, or all of a user who sent a message
from such a one."""
MOST_LOOKED_UP = 50
"""Users whose devices are looked up at a time, because a message came from one that is not known."""

Listener = Callable[[tuple[Signal, ...]], None]


class ToDevice:
    """Messages to devices, and those that came, which go to `listener` once their batch is stored. `heeds` tells whose
    count: anybody, on any homeserver, can send messages."""

    def __init__(self, keys: Keys, upkeep: Upkeep) -> None:
        self.listener: Listener | None = None
        self.heeds: Callable[[UserId], Awaitable[bool]] | None = None
        self._keys = keys
        self._upkeep = upkeep
        self._unpublished = Silent(UNKNOWN_FOR_S)
        self._unknown = Silent(UNKNOWN_FOR_S)
        self._sealing: WeakValueDictionary[tuple[str, str], asyncio.Lock] = WeakValueDictionary()
        self._waiting: dict[UserId, list[Signal]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    # ---- sending

    async def send(
        self, user_id: UserId, device_id: str, kind: str, content: Json, *, encrypted: bool | None, txn_id: str
    ) -> bool:
        """Send a message to one device, and return whether it was sealed. A repeat with the same `txn_id` sends nothing
        new. `encrypted` None: sealed if the bot has keys of the device, else plain.

        Raises TryLater, Refused, and GiveUp (no_keys) where the message must be sealed and can't be.
        """
        body: Json = content
        sealed = None if encrypted is False else await self._seal(user_id, device_id, kind, content)
        if sealed is not None:
            kind, body = ENCRYPTED, sealed
        elif encrypted:
            raise GiveUp("a device of the call has published no keys", reason="no_keys")
        await self._upkeep.send_to_device(kind, {"messages": {user_id: {device_id: dict(body)}}}, txn_id=txn_id)
        return sealed is not None

    async def _seal(self, user_id: UserId, device_id: str, kind: str, content: Json) -> dict[str, Any] | None:
        """Encrypt a message for a device; None where it has no keys, or no one-time key is left."""
        lock = self._sealing.setdefault((user_id, device_id), asyncio.Lock())
        async with lock:  # or two messages would start two Olm sessions
            device = await self._device(user_id, device_id)
            if device is None:
                return None
            if self._keys.olm.session_store.get(device.curve25519) is None:
                await self._upkeep.claim({user_id: [device_id]})
            sealed: dict[str, Any] | None = self._keys.olm.seal(device, kind, content)
            return sealed

    async def _device(self, user_id: UserId, device_id: str) -> Any | None:
        """Find a device that its user published, and look it up if it is not known."""
        name = f"{user_id} {device_id}"
        device = self._known(user_id, device_id)
        if device is None and name not in self._unpublished:
            await self._query(user_id)
            device = self._known(user_id, device_id)
            if device is None:
                self._unpublished.note(name)
        return device

    def _known(self, user_id: UserId, device_id: str) -> Any | None:
        devices = self._keys.olm.device_store.active_user_devices(user_id)
        return next((device for device in devices if device.id == device_id), None)

    async def _query(self, user_id: UserId) -> None:
        olm = self._keys.olm
        tracked = user_id in olm.tracked_users
        await self._upkeep.query([user_id])
        if not tracked:
            olm.tracked_users.discard(user_id)  # nobody tells how devices change that share no encrypted room with us

    # ---- receiving

    async def hand(self, signals: Sequence[Signal]) -> None:
        """Hand messages on of whose senders count, each with the device that sealed it. Those of a device that is not
        known follow when its user's devices were looked up, or are dropped."""
        senders = dict.fromkeys(signal.sender for signal in signals if signal.room_id is None)
        strangers = {user_id for user_id in senders if not await self._is_heeded(user_id)}
        attributed = []
        for signal in signals:
            if signal.room_id is None and signal.sender in strangers:
                continue
            if (known := self._attributed(signal)) is not None:
                attributed.append(known)
            else:
                self._look_up_later(signal)
        self._give(attributed)

    async def _is_heeded(self, user_id: UserId) -> bool:
        """Return whether messages of a user count; where the store fails, they do: what takes them is bounded too."""
        try:
            return self.heeds is not None and await self.heeds(user_id)
        except StoreError as error:
            log.warning("senders of messages about calls not looked up (%s)", error)
            return True

    def _attributed(self, signal: Signal) -> Signal | None:
        if signal.sealed_by is None:
            return signal
        device = self._keys.olm.device_of(signal.sender, *signal.sealed_by)
        return None if device is None else replace(signal, device_id=DeviceId(device.id))

    def _give(self, signals: list[Signal]) -> None:
        if not signals or self.listener is None:
            return
        try:
            self.listener(tuple(signals))
        except Exception as error:  # the sync goes on, whatever a call does
            log.error("messages about calls were not handled (%s)", type(error).__name__)  # without what they said

    def _look_up_later(self, signal: Signal) -> None:
        if signal.sender in self._unknown:
            return
        waiting = self._waiting.get(signal.sender)
        if waiting is None and len(self._waiting) < MOST_LOOKED_UP:
            waiting = self._waiting[signal.sender] = []
            task = asyncio.create_task(self._look_up(signal.sender, waiting))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        if waiting is not None and len(waiting) < MOST_OF_A_SENDER:
            waiting.append(signal)

    async def _look_up(self, user_id: UserId, waiting: list[Signal]) -> None:
        """Query the devices of a user until no message of theirs waits, or one is of no device."""
        try:
            while waiting and user_id not in self._unknown:
                asked, waiting[:] = list(waiting), []
                await self._query(user_id)
                attributed = [known for signal in asked if (known := self._attributed(signal)) is not None]
                if len(attributed) < len(asked):
                    self._unknown.note(user_id)
                    log.info("messages about calls dropped: no device has their keys: sender=%s", user_id)
                self._give(attributed)
        except AircheckError as error:
            log.info("messages about calls dropped: sender=%s (%s)", user_id, error)
        finally:
            del self._waiting[user_id]

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
