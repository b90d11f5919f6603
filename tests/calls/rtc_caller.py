"""A member's client in a MatrixRTC call on a real homeserver, in compatibility mode. It speaks at the small SFU."""

import asyncio
import base64
import secrets
import time
from collections.abc import Sequence

from bot.demo.people import Person
from bot.demo.received import Received
from bot.event_types import CALL_MEMBER, RTC_KEYS
from storage.records import Json
from tests.calls.caller import send_sealed
from tests.livekit.sfu import Room, Speaker


class RtcCaller:
    """A person's device in the call of a room. `service_url`: of the token service of `sfu_room`."""

    def __init__(self, person: Person, room: str, service_url: str, sfu_room: Room) -> None:
        self.person = person
        self.room = room
        self.identity = f"{person.user_id}:{person.device_id}"
        self._service_url = service_url
        self._sfu_room = sfu_room
        self._key = secrets.token_bytes(16)
        self._speaker: Speaker | None = None

    @property
    def speaker(self) -> Speaker:
        assert self._speaker is not None, "it is in the call"
        return self._speaker

    async def enter(self) -> None:
        """Show the device in the call, and publish its microphone."""
        await self._show(
            {
                "application": "m.call",
                "call_id": "",
                "scope": "m.room",
                "device_id": self.person.device_id,
                "membershipID": self.identity,
                "expires": 4 * 3600 * 1000,
                "m.call.intent": "audio",
                "focus_active": {"type": "livekit", "focus_selection": "multi_sfu"},
                "foci_preferred": [
                    {"type": "livekit", "livekit_service_url": self._service_url, "livekit_alias": self.room}
                ],
            }
        )
        self._speaker = await self._sfu_room.enter(self.identity)
        self._speaker.encrypt(0, self._key)
        await self._speaker.publish()

    async def give_key_to(self, bot: str) -> Received:
        """Wait until the bot shows itself in the call, and send it the key."""
        shown = await self.person.wait_for(
            lambda event: (event.room_id, event.type, event.sender) == (self.room, CALL_MEMBER, bot) and event.content
        )
        device_id = shown.content["device_id"]
        content = {
            "keys": {"index": 0, "key": _text(self._key)},
            "member": {"claimed_device_id": self.person.device_id, "id": self.identity},
            "room_id": self.room,
            "session": {"application": "m.call", "call_id": "", "scope": "m.room"},
            "sent_ts": int(time.time() * 1000),
        }
        await send_sealed(self.person, bot, device_id, RTC_KEYS, content)
        return shown

    async def say(self, packets: Sequence[bytes]) -> None:
        """Speak, packet after packet, once the bot receives it."""
        async with asyncio.timeout(60):
            while not self._sfu_room.member.receives(self.speaker):  # noqa: ASYNC110 (the SFU's state)
                await asyncio.sleep(0.01)
        await self.speaker.say(packets)

    async def leave(self) -> None:
        """Leave the call, then the SFU."""
        await self._show({})
        await self.speaker.leave()

    async def _show(self, content: Json) -> None:
        key = f"_{self.person.user_id}_{self.person.device_id}_m.call"
        await self.person.send_state(self.room, CALL_MEMBER, content, key)


def _text(key: bytes) -> str:
    return base64.b64encode(key).decode()
