"""Megolm sessions of one person's device, shared at once as every client does, or late on purpose.

Late sharing stands for a client that was offline or waited for a verification.
"""

import uuid
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import nio

from bot.event_types import ENCRYPTED

MEGOLM = "m.megolm.v1.aes-sha2"
Device = tuple[str, str]  # user id, device id


@dataclass
class IssuedSession:
    """An own Megolm session, with its key from the first message on."""

    session_id: str
    first_key: str
    shared_with: set[Device] = field(default_factory=set)


class RoomKeys:
    """The sessions of one nio client, shared by hand: nio can't share late, or with a second recipient."""

    def __init__(self, client: nio.AsyncClient) -> None:
        self._client = client
        self._held: set[str] = set()
        self._issued: dict[str, list[IssuedSession]] = {}

    def hold_back(self, users: Iterable[str]) -> None:
        """Give these users no key from the next message on, until `release`."""
        self._held.update(users)
        for room_id in self._issued:
            self.rotate(room_id)

    def rotate(self, room_id: str) -> None:
        """Begin a new session with the next message in the room."""
        self._client.olm.outbound_group_sessions.pop(room_id, None)

    async def release(self, room_id: str) -> None:
        """Hold nobody back any more, and send everybody in the room the keys that they have missed."""
        self._held.clear()
        await self._learn_members(room_id)
        for issued in self._issued.get(room_id, []):
            await self._give(room_id, issued, issued.first_key)

    async def prepare(self, room_id: str) -> None:
        """Share the key of the room's next message with every device that is not held back."""
        await self._learn_members(room_id)
        olm = self._client.olm
        session = olm.outbound_group_sessions.get(room_id)
        if session is None or session.expired:
            olm.create_outbound_group_session(room_id)
            session = olm.outbound_group_sessions[room_id]
            self._issued.setdefault(room_id, []).append(IssuedSession(session.id, session.session_key))
        # A late device gets the key at its current index, which does not open earlier messages.
        await self._give(room_id, self._issued[room_id][-1], session.session_key)
        session.shared = True

    async def _learn_members(self, room_id: str) -> None:
        client = self._client
        if not client.rooms[room_id].members_synced:
            await client.joined_members(room_id)
        if client.should_query_keys:
            await client.keys_query()
        missing = client.olm.get_missing_sessions(self._readers(room_id))
        if missing:
            await client.keys_claim(missing)

    def _readers(self, room_id: str) -> list[str]:
        return [user for user in self._client.rooms[room_id].users if user not in self._held]

    async def _give(self, room_id: str, issued: IssuedSession, session_key: str) -> None:
        content = {
            "algorithm": MEGOLM,
            "room_id": room_id,
            "session_id": issued.session_id,
            "session_key": session_key,
        }
        olm = self._client.olm
        for user_id in self._readers(room_id):
            for device in olm.device_store.active_user_devices(user_id):
                pair = (user_id, device.id)
                if pair in issued.shared_with or device.id == self._client.device_id:
                    continue
                session = olm.session_store.get(device.curve25519)
                if session is None:  # it has no one-time key left; the next message claims one again
                    continue
                sealed: dict[str, Any] = olm._olm_encrypt(session, device, "m.room_key", content)
                message = nio.ToDeviceMessage(ENCRYPTED, user_id, device.id, sealed)
                if isinstance(await self._client.to_device(message, str(uuid.uuid4())), nio.ToDeviceResponse):
                    issued.shared_with.add(pair)
