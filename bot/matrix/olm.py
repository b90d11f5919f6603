"""nio's Olm machine, changed where nio would lose a room key: it replaces one by a later, poorer one of the same
session.
"""

import asyncio
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from bot.event_types import SEALED_MESSAGES
from bot.matrix.key_export import RefusedError
from bot.matrix.key_store import KeyStore
from bot.matrix.nio_names import InboundGroupSession, Olm
from storage.records import Json, RoomId, SessionId, UserId

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class OlmMessage:
    """A message about a call that came sealed. nio checked sender and recipient (Client-Server API,
    m.olm.v1.curve25519-aes-sha2); whose device has both keys is for the receiver to check."""

    sender: UserId
    curve25519: str
    ed25519: str
    type: str
    content: Json = field(repr=False)  # it may hold a key


class CarefulOlm(Olm):  # type: ignore[misc]  # the library is untyped
    """nio's Olm machine that never replaces a room key by a poorer one, and keeps messages about calls, which nio
    throws away. `arrived`: sessions that got a key. `opened`: the message that the last event held, if it held one."""

    def __init__(self, user_id: str, device_id: str, store: KeyStore) -> None:
        self.arrived: set[SessionId] = set()
        self.opened: OlmMessage | None = None
        super().__init__(user_id, device_id, store)

    def _handle_olm_event(self, sender: str, sender_key: str, payload: dict[str, Any]) -> Any:
        if not payload["type"].startswith(SEALED_MESSAGES):
            return super()._handle_olm_event(sender, sender_key, payload)
        claimed = payload["keys"].get("ed25519")
        if isinstance(claimed, str):
            self.opened = OlmMessage(UserId(sender), sender_key, claimed, payload["type"], payload["content"])
        return None

    def seal(self, device: Any, kind: str, content: Json) -> dict[str, Any] | None:
        """Encrypt a message for one device; None while there is no Olm session with it."""
        session = self.session_store.get(device.curve25519)
        sealed = self._olm_encrypt(session, device, kind, dict(content)) if session is not None else None
        return sealed if isinstance(sealed, dict) else None

    def share(self, room_id: RoomId, members: Sequence[UserId]) -> Iterator[tuple[set[tuple[str, str]], Json]]:
        """Seal the room key for devices that lack it, some at a time: those receivers, and the message to them.

        Each part is one transaction of the store, and is given when the store has written it.
        """
        parts = self.share_group_session_parallel(room_id, list(members), ignore_unverified_devices=True)
        while True:
            with self.store.database.atomic():
                part = next(parts, None)
            if part is None:
                return
            yield part

    def device_of(self, user_id: str, curve25519: str, ed25519: str) -> Any | None:
        """Find the device of a user that published both keys."""
        device = self.device_store.device_from_sender_key(user_id, curve25519)
        return device if device is not None and device.ed25519 == ed25519 else None

    def find(self, room_id: str, session_id: str) -> Any | None:
        """Find the room key of this Megolm session, whoever sent it."""
        for sessions in self.inbound_group_store[room_id].values():
            if session_id in sessions:
                return sessions[session_id]
        return None

    def create_group_session(
        self, sender_key: str, sender_fp_key: str, room_id: str, session_id: str, session_key: str
    ) -> None:
        """Keep the first owner and the earliest index: a member can resend a session that is another's."""
        known = self.find(room_id, session_id)
        if known is not None:
            if known.sender_key not in (sender_key, ""):
                log.warning("room key refused: its session is another device's: room=%s", room_id)
                return
            fresh = InboundGroupSession(session_key, sender_fp_key, sender_key, room_id)
            if known.forwarding_chain and known.ed25519 == sender_fp_key:
                known.forwarding_chain.clear()
                self.store.forget_chain(session_id)
            if fresh.first_known_index >= known.first_known_index and fits(known, fresh):
                return
            if not known.sender_key:  # an export named no owner, and anybody who has the key may have sent it
                fresh.sender_key, fresh.ed25519 = known.sender_key, known.ed25519
                self._replace(known, fresh)
                self.arrived.add(SessionId(session_id))
                return
        super().create_group_session(sender_key, sender_fp_key, room_id, session_id, session_key)
        if self.find(room_id, session_id) is not None:
            self.arrived.add(SessionId(session_id))

    def add(self, session: Any) -> bool:
        """Add a room key from an export; False if a key at least as good is known. Raises RefusedError.

        The key is marked as forwarded: an export only claims whose device made a session.
        """
        known = self.find(session.room_id, session.id)
        if known is None:
            session.forwarding_chain = [*session.forwarding_chain, self.account.identity_keys["curve25519"]]
            self.keep(session)
            return True
        if not fits(known, session):
            raise RefusedError("it contradicts the known key of this session")
        if known.first_known_index <= session.first_known_index:
            return False
        session.sender_key, session.ed25519 = known.sender_key, known.ed25519
        self._replace(known, session)
        return True

    def _replace(self, known: Any, better: Any) -> None:
        better.forwarding_chain = known.forwarding_chain
        self.keep(better)

    def keep(self, session: Any) -> None:
        """Store a room key as it is."""
        self.inbound_group_store[session.room_id][session.sender_key][session.id] = session
        self.save_inbound_group_session(session)

    async def rooms_of_sessions(self) -> dict[str, str]:
        """Map every session with a key to its room."""
        rooms: dict[str, str] = {}
        for room_id, senders in list(self.inbound_group_store._entries.items()):
            for sessions in list(senders.values()):
                rooms.update(dict.fromkeys(sessions, room_id))
            await asyncio.sleep(0)
        return rooms


def fits(known: Any, other: Any) -> bool:
    """Tell whether two keys of a session agree from the later of their indices on. Exported keys are not signed."""
    index = max(known.first_known_index, other.first_known_index)
    return bool(known.export_session(index) == other.export_session(index))
