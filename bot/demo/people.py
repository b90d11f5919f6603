"""People of the demo and the tests: a Matrix account on one device, with encryption and a store of its own."""

import asyncio
import secrets
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self, TypeVar

import nio
from nio.crypto.attachments import decrypt_attachment, encrypt_attachment

from bot.demo.client_api import CLIENT, ClientApi, Refused, part, room_path
from bot.demo.received import Received
from bot.demo.room_keys import MEGOLM, RoomKeys
from bot.event_types import ENCRYPTION, HISTORY_VISIBILITY, MEMBER, MESSAGE, POWER_LEVELS
from bot.matrix.key_store import KeyStore
from storage.records import Json

POLL_MS = 3000
WAIT_S = 60.0
INFO_TYPE = "io.element.voice_broadcast_info"
SYNC_FILTER = {"room": {"timeline": {"limit": 500}}}

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Uploaded:
    """Media on the homeserver; `file` is its EncryptedFile without `url`, None when it is not encrypted."""

    mxc: str
    file: Mapping[str, Any] | None = None


class Person:
    """A logged-in device. Nothing happens in the background: news come by `sync_once` and the waiting functions."""

    def __init__(self, client: nio.AsyncClient, api: ClientApi) -> None:
        self._client = client
        self._syncing = asyncio.Lock()
        self._taken: set[str] = set()
        self._sealed: dict[str, nio.MegolmEvent] = {}
        self.api = api
        self.keys = RoomKeys(client)
        self.received: list[Received] = []
        self.invites: dict[str, str] = {}  # room: who invites

    @classmethod
    async def log_in(
        cls, homeserver: str, user_id: str, password: str, directory: Path, *, device_name: str = "Element"
    ) -> Self:
        """Log in as a new device of this account; `directory` (made when needed) keeps its keys."""
        await asyncio.to_thread(directory.mkdir, parents=True, exist_ok=True)
        config = nio.AsyncClientConfig(store=KeyStore, encryption_enabled=True, pickle_key=secrets.token_hex(16))
        client = nio.AsyncClient(homeserver, user_id, store_path=str(directory), config=config)
        answer = await client.login(password, device_name=device_name)
        if not isinstance(answer, nio.LoginResponse):
            await client.close()
            raise Refused(f"{user_id} can't log in: {answer.status_code}", errcode=str(answer.status_code))
        person = cls(client, ClientApi(homeserver, answer.access_token))
        await client.keys_upload()
        await person.sync_once()
        return person

    @property
    def user_id(self) -> str:
        return str(self._client.user_id)

    @property
    def device_id(self) -> str:
        return str(self._client.device_id)

    async def close(self) -> None:
        """Close connections and store; the device stays logged in."""
        await self.api.close()
        await self._client.close()
        self._client.store.database.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    # ---- news

    async def sync_once(self, timeout_ms: int = 0) -> Sequence[Received]:
        """Sync once, waiting this long for news; give the new events, which are also kept in `received`."""
        async with self._syncing:
            client = self._client
            answer = await client.sync(timeout=timeout_ms, sync_filter=SYNC_FILTER)
            if not isinstance(answer, nio.SyncResponse):
                raise Refused(f"sync failed: {answer.status_code}", errcode=str(answer.status_code))
            client.olm.uploaded_key_count = answer.device_key_count.signed_curve25519
            if client.should_upload_keys:
                await client.keys_upload()
            if client.should_query_keys:
                await client.keys_query()
            await client.send_to_device_messages()
            news = [*self._opened(), *self._read(answer)]
            self.received += news
            return news

    async def wait_for(self, predicate: Callable[[Received], object], timeout: float = WAIT_S) -> Received:
        """Sync until an event fits the predicate; each event is returned by one wait only. Raises TimeoutError."""

        def match() -> Received | None:
            for event in self.received:
                if not self._is_taken(event) and predicate(event):
                    self._taken.add(self._name(event))
                    return event
            return None

        return await self.wait_until(match, timeout)

    async def wait_until(self, check: Callable[[], T | None], timeout: float = WAIT_S) -> T:
        """Sync until `check` gives something. Raises TimeoutError, which names the types of the last events."""
        try:
            async with asyncio.timeout(timeout):
                while (result := check()) is None:
                    await self.sync_once(POLL_MS)
                return result
        except TimeoutError:
            last = ", ".join(f"{event.type} of {event.sender}" for event in self.received[-8:])
            raise TimeoutError(f"{self.user_id} waited {timeout:g} s in vain; last came: {last}") from None

    async def wait_for_invite(self, sender: str, timeout: float = WAIT_S) -> str:
        """Sync until this user invites to a room; give the room."""
        return await self.wait_until(
            lambda: next((room for room, who in self.invites.items() if who == sender), None), timeout
        )

    def membership(self, room_id: str, user_id: str) -> str | None:
        """Give the newest membership that this device has heard of."""
        for event in reversed(self.received):
            if (event.room_id, event.type, event.event.get("state_key")) == (room_id, MEMBER, user_id):
                return str(event.content.get("membership"))
        return None

    # ---- rooms

    async def create_room(
        self,
        name: str | None = None,
        *,
        encrypted: bool = False,
        invite: Sequence[str] = (),
        all_may_broadcast: bool = True,
        direct: bool = False,
        version: str | None = None,
        visibility: str = "shared",
    ) -> str:
        """Create a private room; `visibility` is that of its history (m.room.history_visibility)."""
        state = [{"type": HISTORY_VISIBILITY, "content": {"history_visibility": visibility}}]
        if encrypted:
            state.append({"type": ENCRYPTION, "content": {"algorithm": MEGOLM}})
        body: dict[str, Any] = {"preset": "private_chat", "initial_state": state, "invite": list(invite)}
        body |= {"is_direct": True} if direct else {}
        body |= {"name": name} if name is not None else {}
        body |= {"room_version": version} if version is not None else {}
        if all_may_broadcast:
            body["power_level_content_override"] = {"events": {INFO_TYPE: 0}}
        room_id = str((await self.api.call("POST", f"{CLIENT}/createRoom", body))["room_id"])
        await self._know(room_id)
        return room_id

    async def join(self, room_id: str) -> None:
        await self.api.call("POST", f"{CLIENT}/join/{part(room_id)}", {})
        self.invites.pop(room_id, None)
        await self._know(room_id)

    async def leave(self, room_id: str) -> None:
        await self.api.call("POST", room_path(room_id, "leave"), {})

    async def invite(self, room_id: str, user_id: str) -> None:
        await self.api.call("POST", room_path(room_id, "invite"), {"user_id": user_id})

    async def kick(self, room_id: str, user_id: str) -> None:
        await self.api.call("POST", room_path(room_id, "kick"), {"user_id": user_id})

    async def ban(self, room_id: str, user_id: str) -> None:
        await self.api.call("POST", room_path(room_id, "ban"), {"user_id": user_id})

    async def set_power(self, room_id: str, levels: Mapping[str, int]) -> None:
        """Set the power levels of these users; others keep theirs."""
        content = dict(await self.state(room_id, POWER_LEVELS))
        await self.send_state(room_id, POWER_LEVELS, content | {"users": {**content.get("users", {}), **levels}})

    async def is_encrypted(self, room_id: str) -> bool:
        return bool((await self._know(room_id)).encrypted)

    async def state(self, room_id: str, kind: str, state_key: str = "") -> Json:
        """Read the content of one state event."""
        return await self.api.call("GET", room_path(room_id, "state", kind, state_key))

    async def send_state(self, room_id: str, kind: str, content: Json, state_key: str = "") -> str:
        answer = await self.api.call("PUT", room_path(room_id, "state", kind, state_key), content)
        return str(answer["event_id"])

    async def fetch_event(self, room_id: str, event_id: str) -> Json:
        """Read an event as the homeserver has it, without decrypting it."""
        return await self.api.call("GET", room_path(room_id, "event", event_id))

    # ---- speaking

    async def send(
        self, room_id: str, kind: str, content: Json, *, encrypt: bool | None = None, sticky_ms: int | None = None
    ) -> str:
        """Send one event, encrypted as the room is unless `encrypt` says otherwise; give its event id. `sticky_ms`: for
        how long it is sticky (MSC4354)."""
        room = await self._know(room_id)
        if not self._syncing.locked():  # a sync under way brings the newest members too
            await self.sync_once()
        if encrypt if encrypt is not None else room.encrypted and kind != "m.reaction":
            await self.keys.prepare(room_id)
            kind, content = self._client.encrypt(room_id, kind, dict(content))
        query = "" if sticky_ms is None else f"?org.matrix.msc4354.sticky_duration_ms={sticky_ms}"
        answer = await self.api.call("PUT", room_path(room_id, "send", kind, uuid.uuid4().hex) + query, content)
        return str(answer["event_id"])

    async def say(self, room_id: str, text: str, *, reply_to: str | None = None, encrypt: bool | None = None) -> str:
        content: dict[str, Any] = {"msgtype": "m.text", "body": text}
        if reply_to is not None:
            content["m.relates_to"] = {"m.in_reply_to": {"event_id": reply_to}}
        return await self.send(room_id, MESSAGE, content, encrypt=encrypt)

    async def react(self, room_id: str, event_id: str, key: str) -> str:
        relation = {"rel_type": "m.annotation", "event_id": event_id, "key": key}
        return await self.send(room_id, "m.reaction", {"m.relates_to": relation})

    async def redact(self, room_id: str, event_id: str) -> str:
        path = room_path(room_id, "redact", event_id, uuid.uuid4().hex)
        return str((await self.api.call("PUT", path, {}))["event_id"])

    async def upload(self, data: bytes, mimetype: str, *, encrypted: bool = False) -> Uploaded:
        """Upload media; encrypted media does not tell its type to the homeserver."""
        if not encrypted:
            return Uploaded(await self.api.upload(data, mimetype))
        sealed, key = await asyncio.to_thread(encrypt_attachment, data)
        return Uploaded(await self.api.upload(sealed, "application/octet-stream"), key)

    async def download(self, media: Uploaded) -> bytes:
        """Download media, check its hash and decrypt it."""
        data = await self.api.download(media.mxc)
        if media.file is None:
            return data
        opened: bytes = decrypt_attachment(
            data, media.file["key"]["k"], media.file["hashes"]["sha256"], media.file["iv"]
        )
        return opened

    async def open_media(self, event: Received) -> bytes:
        """Download the media of a message, decrypted."""
        file = event.content.get("file")
        return await self.download(Uploaded(str((file or event.content)["url"]), file))

    async def set_profile(self, *, name: str | None = None, avatar: str | None = None) -> None:
        """Set the display name, the avatar's mxc address, or both."""
        path = f"{CLIENT}/profile/{part(self.user_id)}"
        if name is not None:
            await self.api.call("PUT", f"{path}/displayname", {"displayname": name})
        if avatar is not None:
            await self.api.call("PUT", f"{path}/avatar_url", {"avatar_url": avatar})

    async def export_keys(self, path: Path, passphrase: str) -> None:
        """Write this device's room keys as clients export them (Client-Server API, key exports)."""
        await self._client.export_keys(str(path), passphrase, count=1000)

    # ---- internals

    async def _know(self, room_id: str) -> nio.MatrixRoom:
        return await self.wait_until(lambda: self._client.rooms.get(room_id))

    def _read(self, answer: nio.SyncResponse) -> list[Received]:
        news = []
        for room_id, invite in answer.rooms.invite.items():
            for event in invite.invite_state:
                if getattr(event, "membership", None) == "invite" and event.state_key == self.user_id:
                    self.invites[room_id] = str(event.sender)
        for room_id, room in [*answer.rooms.join.items(), *answer.rooms.leave.items()]:
            self.invites.pop(room_id, None)
            for event in [*room.state, *room.timeline.events]:
                sealed = isinstance(event, nio.MegolmEvent)
                if sealed:
                    self._sealed[event.event_id] = event
                news.append(Received(room_id, event.source, sealed))
        return news

    def _opened(self) -> list[Received]:
        """Decrypt kept events whose key has come since."""
        opened = []
        for event_id, event in list(self._sealed.items()):
            try:
                read = self._client.decrypt_event(event)
            except nio.EncryptionError:
                continue  # its key has not come yet
            del self._sealed[event_id]
            opened.append(Received(event.room_id, read.source))
        return opened

    def _name(self, event: Received) -> str:
        return f"{event.event_id} {event.sealed}"

    def _is_taken(self, event: Received) -> bool:
        return self._name(event) in self._taken
