"""LiveKit's access tokens and its room service, as far as tests need them.

Sources: https://docs.livekit.io/home/get-started/authentication/, github.com/livekit/protocol `auth/accesstoken.go`,
`livekit_room.proto`. The room service is Twirp, which also speaks JSON.
"""

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import aiohttp

HOUR_S = 3600


@dataclass(frozen=True, slots=True)
class Keys:
    """An API key of an SFU and the secret that signs the tokens of its holder."""

    key: str
    secret: str

    def sign(self, grants: Mapping[str, Any], identity: str = "", life_s: int = HOUR_S) -> str:
        """Make an access token (JWT, HS256) with these video grants. The SFU lets its end pass by a minute."""
        now = int(time.time())
        claims = {"iss": self.key, "sub": identity, "nbf": now + min(life_s, 0), "exp": now + life_s, "video": grants}
        words = ".".join(_encoded(json.dumps(part).encode()) for part in ({"alg": "HS256", "typ": "JWT"}, claims))
        return f"{words}.{_encoded(hmac.digest(self.secret.encode(), words.encode(), hashlib.sha256))}"

    def claims(self, token: str) -> dict[str, Any]:
        """Return the claims of a token that this secret signed. Raises ValueError for any other."""
        words, _, signature = token.rpartition(".")
        if not hmac.compare_digest(signature, _encoded(hmac.digest(self.secret.encode(), words.encode(), "sha256"))):
            raise ValueError("the token was signed by another secret")
        part = words.partition(".")[2]
        claims: dict[str, Any] = json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
        return claims


def _encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


class RoomServiceError(Exception):
    """Answer of a room service that did not do what it was asked for."""


@dataclass(frozen=True, slots=True)
class RoomService:
    """Client of the room service of an SFU, whose address is `ws://…`."""

    address: str
    keys: Keys

    async def create(self, room: str) -> None:
        """Open a room, or do nothing if it is open. The time-outs are those of lk-jwt-service."""
        await self.ask("CreateRoom", {"roomCreate": True}, name=room, empty_timeout=300, departure_timeout=20)

    async def participants(self, room: str) -> list[dict[str, Any]]:
        """Return who is in a room (`identity`, `state`, `tracks`, …); nobody is in a room that is not open."""
        try:
            answer = await self.ask("ListParticipants", {"roomAdmin": True, "room": room}, room=room)
        except RoomServiceError:
            return []
        return list(answer.get("participants", []))

    async def remove(self, room: str, identity: str) -> None:
        """Put a participant out of a room."""
        await self.ask("RemoveParticipant", {"roomAdmin": True, "room": room}, room=room, identity=identity)

    async def ask(self, method: str, grants: Mapping[str, Any], **fields: Any) -> dict[str, Any]:
        """Call a method of `livekit.RoomService` with the grants that it wants. Raises RoomServiceError."""
        where = f"http{self.address.removeprefix('ws')}/twirp/livekit.RoomService/{method}"
        headers = {"Authorization": f"Bearer {self.keys.sign(grants)}"}
        try:
            async with aiohttp.ClientSession() as http, http.post(where, json=fields, headers=headers) as answer:
                told: dict[str, Any] = await answer.json(content_type=None)
        except (aiohttp.ClientError, ValueError) as error:
            raise RoomServiceError(f"{method}: {error}") from error
        if answer.status != 200:
            raise RoomServiceError(f"{method}: {told.get('code')}: {told.get('msg')}")
        return told
