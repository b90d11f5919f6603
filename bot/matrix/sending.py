"""The bot's requests about rooms: send, join, leave, create a direct chat, read state and single events."""

import asyncio
import logging
from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from bot import facts
from bot.errors import GiveUp, TryLater
from bot.event_types import CREATE, ENCRYPTED, ENCRYPTION, HISTORY_VISIBILITY
from bot.matrix import nesting
from bot.matrix.keys import Keys
from bot.matrix.sync import events_of, section
from bot.matrix.upkeep import Upkeep
from bot.matrix.wire import MAX_STATE_BYTES, Refused, Wire, path
from storage.records import EventId, HeardEvent, Json, RoomId, UserId

log = logging.getLogger(__name__)

MEGOLM_STATE = {"type": ENCRYPTION, "state_key": "", "content": {"algorithm": "m.megolm.v1.aes-sha2"}}
DIRECT = "m.direct"
NOT_ENCRYPTED = frozenset({"m.reaction"})  # clients and homeservers read reactions in clear


class Sending:
    """Requests about rooms. All raise TryLater, or GiveUp with its reason (forbidden, not_found, …)."""

    def __init__(
        self, wire: Wire, keys: Keys, upkeep: Upkeep, encrypted_rooms: Callable[[], Awaitable[frozenset[RoomId]]]
    ) -> None:
        self._wire = wire
        self._keys = keys
        self._upkeep = upkeep
        self._encrypted_rooms = encrypted_rooms
        self._known_encrypted: set[RoomId] = set()
        self._made: dict[RoomId, bool] = {}  # whether the bot made the room for a walkie-talkie
        self._sharing: defaultdict[RoomId, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def send(self, room_id: RoomId, kind: str, content: Json, *, txn_id: str) -> EventId:
        """Send one event, encrypted if the room is. A repeat with the same `txn_id` sends nothing new."""
        body: dict[str, Any] = dict(content)
        if kind not in NOT_ENCRYPTED and await self.is_encrypted(room_id):
            kind, body = ENCRYPTED, await self._encrypt(room_id, kind, body)
        answer = await self._wire.call("PUT", path("rooms", room_id, "send", kind, txn_id), body=body)
        return EventId(_text(answer, "event_id"))

    async def redact(self, room_id: RoomId, event_id: EventId, *, txn_id: str) -> None:
        """Redact an event: the bot's own, or anybody's where the bot has the power."""
        await self._wire.call("PUT", path("rooms", room_id, "redact", event_id, txn_id), body={})

    async def join(self, room_id: RoomId) -> None:
        await self._wire.call("POST", path("join", room_id), body={}, timeout_s=180)

    async def leave(self, room_id: RoomId, reason: str | None = None) -> None:
        """Leave the room, or reject its invite; its members can read the reason."""
        await self._wire.call("POST", path("rooms", room_id, "leave"), body={"reason": reason} if reason else {})

    async def joined_members(self, room_id: RoomId) -> frozenset[UserId]:
        answer = await self._wire.call("GET", path("rooms", room_id, "joined_members"))
        if not isinstance(answer.get("joined"), dict):
            raise TryLater("the homeserver's answer has no members", room=room_id)
        return frozenset(UserId(user) for user in section(answer, "joined"))

    async def create_direct(self, user_id: UserId) -> RoomId:
        """Create an encrypted direct chat, invite the user and note it in m.direct.

        Personal addresses are sent there, so nobody else can be invited, and history is hidden from before the join.
        """
        body = {
            "preset": "private_chat",
            "is_direct": True,
            "invite": [user_id],
            "initial_state": [
                MEGOLM_STATE,
                {"type": HISTORY_VISIBILITY, "state_key": "", "content": {"history_visibility": "joined"}},
                {"type": "m.room.guest_access", "state_key": "", "content": {"guest_access": "forbidden"}},
            ],
            "power_level_content_override": {"invite": 100},
        }
        answer = await self._wire.call("POST", path("createRoom"), body=body)
        room_id = RoomId(_text(answer, "room_id"))
        self._known_encrypted.add(room_id)
        try:
            await self._note_direct(user_id, room_id)
        except (TryLater, Refused) as error:  # the room exists; a second one would be worse
            log.warning("m.direct could not be written: room=%s (%s)", room_id, error)
        return room_id

    async def create_walkie(self, name: str, marker: Json, levels: Mapping[str, int]) -> RoomId:
        """Create an encrypted room that nobody can join uninvited, and in which only the bot has any power. `marker`
        becomes a part of its m.room.create event, by which a repeat finds it. `levels`: what events of some types need;
        state of all other types needs the default of 50, which nobody but the bot has."""
        body = {
            "preset": "private_chat",
            "name": name,
            "creation_content": marker,
            "power_level_content_override": {"events": dict(levels)},
            "initial_state": [
                MEGOLM_STATE,
                {"type": "m.room.guest_access", "state_key": "", "content": {"guest_access": "forbidden"}},
            ],
        }
        room_id = RoomId(_text(await self._wire.call("POST", path("createRoom"), body=body), "room_id"))
        self._known_encrypted.add(room_id)
        return room_id

    async def invite(self, room_id: RoomId, user_id: UserId) -> None:
        await self._wire.call("POST", path("rooms", room_id, "invite"), body={"user_id": user_id})

    async def joined_rooms(self) -> tuple[RoomId, ...]:
        answer = await self._wire.call("GET", path("joined_rooms"))
        listed = answer.get("joined_rooms")
        return tuple(RoomId(room) for room in listed if isinstance(room, str)) if isinstance(listed, list) else ()

    async def room_state(self, room_id: RoomId) -> list[Json]:
        """Read the room's current state as whole events."""
        where = path("rooms", room_id, "state")
        answer = events_of(await self._wire.call_any("GET", where, max_bytes=MAX_STATE_BYTES))
        if not answer:  # a room has at least its m.room.create
            raise TryLater("the homeserver's answer is not the state of a room", room=room_id)
        return list(answer)

    async def state(self, room_id: RoomId, kind: str) -> Json | None:
        """Read the content of a state event whose state key is empty; None where there is none."""
        try:
            return await self._wire.call("GET", path("rooms", room_id, "state", kind) + "/")
        except Refused as refused:
            if refused.status != 404:
                raise
            return None

    async def set_state(self, room_id: RoomId, kind: str, content: Json, *, key: str = "") -> EventId:
        """Write a state event under a state key."""
        where = state_path(room_id, kind, key)
        return EventId(_text(await self._wire.call("PUT", where, body=dict(content)), "event_id"))

    async def account_data(self, room_id: RoomId | None, kind: str) -> Json | None:
        """Read what the bot keeps on its account about a room, or of itself (None); None where there is nothing."""
        try:
            return await self._wire.call("GET", self._account_path(room_id, kind))
        except Refused as refused:
            if refused.status != 404:
                raise
            return None

    async def set_account_data(self, room_id: RoomId | None, kind: str, content: Json) -> None:
        """Write what the bot keeps on its account about a room, or of itself (None)."""
        await self._wire.call("PUT", self._account_path(room_id, kind), body=dict(content))

    async def replaced(self, room_id: RoomId, event_id: EventId) -> Json | None:
        """Read the content of the state event that this one replaced; None where the homeserver does not tell."""
        event = await self._wire.call("GET", path("rooms", room_id, "event", event_id))
        unsigned = section(event, "unsigned")
        if isinstance(unsigned.get("prev_content"), dict):
            return section(unsigned, "prev_content")
        before = unsigned.get("replaces_state")
        if not isinstance(before, str):
            return None
        try:
            return section(await self._wire.call("GET", path("rooms", room_id, "event", before)), "content")
        except Refused:  # from a time that the bot may not read
            return None

    async def get_event(self, room_id: RoomId, event_id: EventId) -> HeardEvent:
        """Read one event, decrypted if its key is there."""
        raw = await self._wire.call("GET", path("rooms", room_id, "event", event_id))
        heard = self._keys.hear(room_id, raw, history=True)
        if heard is None and nesting.is_too_deep(raw):
            raise GiveUp("an event is nested too deep", reason="not_an_event", room=room_id, event=event_id)
        if heard is None:
            raise TryLater("the homeserver's answer is not an event", room=room_id, event=event_id)
        return heard

    async def is_encrypted(self, room_id: RoomId) -> bool:
        """Look into the stored state, and ask the homeserver if it says no: nothing may be sent in clear by mistake."""
        if room_id in self._known_encrypted:
            return True
        encrypted = room_id in await self._encrypted_rooms()
        if not encrypted:
            encrypted = await self.state(room_id, ENCRYPTION) is not None
        if encrypted:
            self._known_encrypted.add(room_id)  # encryption can't be switched off
        return encrypted

    # ---- internals

    def _account_path(self, room_id: RoomId | None, kind: str) -> str:
        user_id = self._keys.olm.user_id
        if room_id is None:
            return path("user", user_id, "account_data", kind)
        return path("user", user_id, "rooms", room_id, "account_data", kind)

    async def _note_direct(self, user_id: UserId, room_id: RoomId) -> None:
        chats = await self.account_data(None, DIRECT) or {}
        known = chats.get(user_id)
        rooms = [room for room in known if isinstance(room, str)] if isinstance(known, list) else []
        await self.set_account_data(None, DIRECT, {**chats, user_id: [*rooms, room_id]})

    async def _encrypt(self, room_id: RoomId, kind: str, content: dict[str, Any]) -> dict[str, Any]:
        """Share the room key with all devices of all members, then encrypt the event; relations stay in clear."""
        async with self._sharing[room_id]:
            # Read in turn: an older answer would give the key to a member whose leaving a newer one has shown.
            members = await self.joined_members(room_id) | await self._expected(room_id)
            await self._share(room_id, members)
            wrapper: dict[str, Any] = self._keys.olm.group_encrypt(room_id, {"type": kind, "content": content})
        if "m.relates_to" in content:
            wrapper["m.relates_to"] = content["m.relates_to"]
        return wrapper

    async def _expected(self, room_id: RoomId) -> frozenset[UserId]:
        """Return those who are invited to a room that the bot made: they can read what was said before they joined, as
        the history of such a room shows it."""
        if room_id not in self._made:
            create = await self.state(room_id, CREATE)
            self._made[room_id] = create is not None and facts.walkie_made_by(create) is not None
        if not self._made[room_id]:
            return frozenset()
        where = path("rooms", room_id, "members")
        answer = await self._wire.call("GET", where, query={"membership": "invite"}, max_bytes=MAX_STATE_BYTES)
        keys = (event.get("state_key") for event in events_of(answer.get("chunk")))
        return frozenset(UserId(key) for key in keys if isinstance(key, str))

    async def _share(self, room_id: RoomId, members: frozenset[UserId]) -> None:
        olm = self._keys.olm
        unknown = (members - olm.tracked_users) | (members & olm.users_for_key_query)
        if unknown:
            await self._upkeep.query(unknown)
        missing = olm.get_missing_sessions(sorted(members))
        if missing:
            await self._upkeep.claim(missing)
        devices = {(user, device.id) for user in members for device in olm.device_store.active_user_devices(user)}
        session = olm.outbound_group_sessions.get(room_id)
        if session is not None and (session.expired or not session.users_shared_with <= devices):
            del olm.outbound_group_sessions[room_id]  # a member or device that is gone must not read new messages
            session = None
        if session is not None:
            session.shared = False  # or nio would start a new session for each new device
        for receivers, body in olm.share(room_id, sorted(members)):
            await self._upkeep.send_to_device(ENCRYPTED, body)
            olm.outbound_group_sessions[room_id].users_shared_with.update(receivers)
        olm.outbound_group_sessions[room_id].shared = True


def state_path(room_id: RoomId, kind: str, key: str) -> str:
    """Return the path of a state event; the state key may be empty."""
    return path("rooms", room_id, "state", kind, key) if key else path("rooms", room_id, "state", kind) + "/"


def _text(answer: Json, key: str) -> str:
    value = answer.get(key)
    if not isinstance(value, str):
        raise TryLater(f"the homeserver's answer has no {key}")
    return value
