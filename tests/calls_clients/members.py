"""Members of a call by MatrixRTC: their devices show that they are in it, give out keys and speak through `speakers`.

The events are those of matrix-js-sdk 43, with an SFU for each homeserver.
"""

import time
import uuid
from collections.abc import Sequence
from pathlib import Path

import aiohttp

from bot.demo.client_api import CLIENT, part
from bot.demo.people import Person
from bot.event_types import CALL_MEMBER, RTC_MEMBER
from storage.records import Json
from tests.calls.caller import send_sealed
from tests.calls_clients.speakers import MediaKey, Speakers, Spoken
from tests.livekit.token_service import SLOT, legacy_identity, member_identity

KEYS = "io.element.call.encryption_keys"
EXPIRES_MS = 4 * 3600 * 1000
STICKY_MS = 3600 * 1000


class Member:
    """A device of a person, which calls in a room. `service_url`: the token service of the SFU that it speaks at.

    In compatibility mode it shows itself by state, in Matrix 2.0 mode (`sticky`) by sticky events.
    """

    def __init__(
        self,
        person: Person,
        room: str,
        service_url: str,
        speakers: Speakers,
        *,
        encrypts: bool,
        sticky: bool = False,
    ) -> None:
        self.person = person
        self.room = room
        self.service_url = service_url
        self.key = MediaKey.new() if encrypts else None
        self.sticky = sticky
        self.member_id = str(uuid.uuid4()) if sticky else legacy_identity(person.user_id, person.device_id)
        self._speakers = speakers

    @property
    def identity(self) -> str:
        """Name of the participant at the SFU."""
        if self.sticky:
            return member_identity(self.person.user_id, self.person.device_id, self.member_id)
        return self.member_id

    async def enter(self, sound: Path | None) -> None:
        """Join the SFU, and the call. Without a sound this member has no microphone."""
        await self._speakers.join(self.identity, await self._token(), sound, self.key)
        await self._show(self._sticky_entry() if self.sticky else self._entry())

    async def rejoin(self, sound: Path | None) -> None:
        """Join the SFU anew, as a client does whose connection is lost; the call goes on."""
        await self._speakers.leave(self.identity)
        await self._speakers.join(self.identity, await self._token(), sound, self.key)

    async def share_key(self, listeners: Sequence[tuple[str, str]]) -> None:
        """Send the key to these devices: pairs of user and device."""
        assert self.key is not None
        content = {
            "keys": {"index": self.key.index, "key": self.key.key},
            "member": {"claimed_device_id": self.person.device_id, "id": self.member_id},
            "room_id": self.room,
            "session": {"application": "m.call", "call_id": "", "scope": "m.room"},
            "sent_ts": int(time.time() * 1000),
        }
        for user, device_id in listeners:
            await send_sealed(self.person, user, device_id, KEYS, content)

    async def rotate(self, listeners: Sequence[tuple[str, str]]) -> int:
        """Use a new key from now on, and send it to these devices; return the first packet of it."""
        assert self.key is not None
        self.key = MediaKey.new((self.key.index + 1) % 256)
        packet = await self._speakers.use(self.identity, self.key)
        await self.share_key(listeners)
        return packet

    async def mute(self, *, muted: bool) -> None:
        await self._speakers.mute(self.identity, muted=muted)

    async def leave(self) -> Spoken:
        """Leave the call and the SFU."""
        await self._show({})
        return await self._speakers.leave(self.identity)

    async def _show(self, entry: Json) -> None:
        if not self.sticky:
            state_key = f"_{self.person.user_id}_{self.person.device_id}_m.call"
            await self.person.send_state(self.room, CALL_MEMBER, entry, state_key)
            return
        # Only what shows a member is encrypted as the room is: the end of it is a delayed event, which can't be.
        content = {**entry, "slot_id": SLOT, "msc4354_sticky_key": self.member_id}
        await self.person.send(self.room, RTC_MEMBER, content, encrypt=None if entry else False, sticky_ms=STICKY_MS)

    def _entry(self) -> Json:
        return {
            "application": "m.call",
            "call_id": "",
            "scope": "m.room",
            "device_id": self.person.device_id,
            "membershipID": self.member_id,
            "expires": EXPIRES_MS,
            "m.call.intent": "audio",
            "focus_active": {"type": "livekit", "focus_selection": "multi_sfu"},
            "foci_preferred": [
                {"type": "livekit", "livekit_service_url": self.service_url, "livekit_alias": self.room}
            ],
        }

    def _sticky_entry(self) -> Json:
        return {
            "application": {"type": "m.call", "m.call.intent": "audio"},
            "transports": {
                "published": [{"type": "livekit", "livekit_service_url": self.service_url}],
                "can_subscribe": ["livekit"],
            },
            "member": {"device_id": self.person.device_id, "user_id": self.person.user_id, "id": self.member_id},
            "versions": [],
        }

    async def _token(self) -> Json:
        user_id, device_id = self.person.user_id, self.person.device_id
        path = f"{CLIENT}/user/{part(user_id)}/openid/request_token"
        openid = await self.person.api.call("POST", path, {})
        request = "sfu/get"
        body: Json = {"room": self.room, "device_id": device_id}
        if self.sticky:
            member = {"id": self.member_id, "claimed_user_id": user_id, "claimed_device_id": device_id}
            request, body = "get_token", {"room_id": self.room, "slot_id": SLOT, "member": member}
        told = {**body, "openid_token": openid}
        async with aiohttp.ClientSession() as http, http.post(f"{self.service_url}/{request}", json=told) as answer:
            token: Json = await answer.json()
            assert answer.status == 200, token
        return token
