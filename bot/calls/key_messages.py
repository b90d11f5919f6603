"""Messages that give a key of the bot's own sound to the devices in a MatrixRTC call, each sealed for its device."""

import asyncio
import logging
import secrets
from collections.abc import Callable
from datetime import datetime

from bot.calls.legs import SEND_AGAIN_S
from bot.calls.model import Device, Member
from bot.calls.session.own_keys import ShareKey
from bot.calls.wire import matrixrtc_keys
from bot.errors import GiveUp, TryLater
from bot.matrix.to_device import ToDevice
from storage.records import RoomId

log = logging.getLogger(__name__)

AT_ONCE = 8
"""Devices to which a key is sent at once."""


class KeyMessages:
    """The sending of keys. A device that can't be reached goes without."""

    def __init__(self, to_device: ToDevice, clock: Callable[[], datetime]) -> None:
        self._to_device = to_device
        self._clock = clock

    async def share(self, room_id: RoomId, own: Member, share: ShareKey) -> None:
        """Send a key to devices; return once it is sent, or each was tried a few times."""
        turns = asyncio.Semaphore(AT_ONCE)

        async def send(device: Device) -> None:
            async with turns:
                await self._send(room_id, own, share, device)

        await asyncio.gather(*map(send, share.devices))

    async def _send(self, room_id: RoomId, own: Member, share: ShareKey, to: Device) -> None:
        kind, content = matrixrtc_keys.write(share.index, share.key, own.device, room_id, self._clock())
        txn_id = secrets.token_urlsafe(16)
        for pause_s in (*SEND_AGAIN_S, None):
            try:
                await self._to_device.send(to.user_id, to.device_id, kind, content, encrypted=True, txn_id=txn_id)
                return
            except TryLater as error:
                if pause_s is None:
                    log.warning("key of a call not sent: room=%s (%s)", room_id, error.sentence)
                    return
                await asyncio.sleep(pause_s)
            except GiveUp as error:
                log.info("key of a call not sent: room=%s reason=%s", room_id, error.reason)
                return
