"""A MatrixRTC authorization service for tests, after the documents and answers of lk-jwt-service 0.5.

It speaks with a real LiveKit server or with a fake one, of which it needs the room service's `CreateRoom` alone.
OpenID tokens are checked with the homeserver that they name, as the real service does.
Source: https://github.com/element-hq/lk-jwt-service (README, `handler.go`, `requests.go`, `helper.go`).
"""

import base64
import hashlib
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import aiohttp
from aiohttp import web

from tests.livekit.access import HOUR_S, RoomService, RoomServiceError

SLOT = "m.call#ROOM"

OPENID = {"access_token": str, "token_type": str, "matrix_server_name": str, "expires_in": int}
DELEGATION = {"delay_id": str, "delay_timeout": int, "delay_cs_api_url": str}
LEGACY = {"room": str, "openid_token": OPENID, "device_id": str, **DELEGATION}
MEMBER = {"id": str, "claimed_user_id": str, "claimed_device_id": str}
REQUEST = {"room_id": str, "slot_id": str, "openid_token": OPENID, "member": MEMBER, **DELEGATION}

CORS = {
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Allow-Methods": "POST",
    "Access-Control-Allow-Headers": "Accept, Content-Type, Content-Length, Accept-Encoding, X-CSRF-Token",
}


def room_alias(room_id: str, slot_id: str = SLOT) -> str:
    """Name the room of the SFU in which the calls of a Matrix room's slot take place."""
    return _hashed(room_id, slot_id)


def legacy_identity(user_id: str, device_id: str) -> str:
    """Name a participant in compatibility mode."""
    return f"{user_id}:{device_id}"


def member_identity(user_id: str, device_id: str, member_id: str) -> str:
    """Name a participant in Matrix 2.0 mode."""
    return _hashed(user_id, device_id, member_id)


def _hashed(*words: str) -> str:
    # As Go writes JSON: without spaces, in UTF-8, and <, >, & escaped.
    text = json.dumps(words, separators=(",", ":"), ensure_ascii=False)
    for char in "<>&":
        text = text.replace(char, f"\\u{ord(char):04x}")
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode().rstrip("=")


class Refusal(Exception):
    """Answer in place of a token."""

    def __init__(self, status: int, code: str, error: str) -> None:
        super().__init__(error)
        self.answer = web.json_response({"errcode": code, "error": error}, status=status, headers=CORS)


@dataclass(frozen=True, slots=True)
class Given:
    """A token that was given, with what stands in it."""

    path: str
    user_id: str
    room: str
    identity: str


@dataclass
class TokenService:
    """Service of one SFU. A test may change `refused` and `life_s` while it serves."""

    sfu: RoomService
    full_access: frozenset[str]
    """Servers whose users open rooms on the SFU; all others join those that are open."""
    homeservers: Mapping[str, str] = field(default_factory=dict)
    """Base address of the federation API by server name, for names that have no port."""
    refused: set[str] = field(default_factory=set)
    """Servers whose users get no token."""
    life_s: int = HOUR_S
    """Life of a token; -120 or less makes one that the SFU takes for expired."""
    given: list[Given] = field(default_factory=list)

    @asynccontextmanager
    async def serving(self, port: int = 0) -> AsyncIterator[str]:
        """Serve on a port of loopback (0: a free one) and return the `livekit_service_url`."""
        app = web.Application()
        app.router.add_route("*", "/sfu/get", self._legacy)
        app.router.add_route("*", "/get_token", self._get_token)
        app.router.add_get("/healthz", self._healthz)
        runner = web.AppRunner(app, shutdown_timeout=1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", port)
        try:
            await site.start()
            yield f"http://127.0.0.1:{runner.addresses[0][1]}"
        finally:
            await runner.cleanup()

    async def _healthz(self, request: web.Request) -> web.Response:
        return web.Response()

    async def _legacy(self, request: web.Request) -> web.Response:
        return await self._answer(request, LEGACY, self._legacy_token)

    async def _get_token(self, request: web.Request) -> web.Response:
        return await self._answer(request, REQUEST, self._member_token)

    async def _answer(self, request: web.Request, shape: Mapping[str, Any], give: Any) -> web.Response:
        if request.method == "OPTIONS":
            return web.Response(headers=CORS)
        if request.method != "POST":
            return web.Response(status=405, headers=CORS)
        try:
            body = await _body(request, shape)
            given = await give(request.path, body)
            server = body["openid_token"]["matrix_server_name"]
            if server in self.full_access:
                await self._open(given.room)
        except Refusal as refusal:
            return refusal.answer
        self.given.append(given)
        grants = {
            "room": given.room,
            "roomJoin": True,
            "canPublish": True,
            "canSubscribe": True,
            "canUpdateOwnMetadata": True,
        }
        token = self.sfu.keys.sign(grants, given.identity, self.life_s)
        return web.json_response({"url": self.sfu.address, "jwt": token}, headers=CORS)

    async def _open(self, room: str) -> None:
        try:
            await self.sfu.create(room)
        except RoomServiceError:
            raise Refusal(500, "M_UNKNOWN", "Unable to create room on SFU") from None

    async def _legacy_token(self, path: str, body: Mapping[str, Any]) -> Given:
        if not body.get("room"):
            raise Refusal(400, "M_BAD_JSON", "Missing room parameter")
        user_id = await self._checked(body, "Missing OpenID token parameters")
        return Given(path, user_id, room_alias(body["room"]), legacy_identity(user_id, body.get("device_id") or ""))

    async def _member_token(self, path: str, body: Mapping[str, Any]) -> Given:
        if not body.get("room_id") or not body.get("slot_id"):
            raise Refusal(400, "M_BAD_JSON", "The request body is missing `room_id` or `slot_id`")
        member = body.get("member") or {}
        if not all(member.get(key) for key in MEMBER):
            error = "The request body `member` is missing a `id`, `claimed_user_id` or `claimed_device_id`"
            raise Refusal(400, "M_BAD_JSON", error)
        missing = "The request body `openid_token` is missing a `access_token` or `matrix_server_name`"
        user_id = await self._checked(body, missing)
        if member["claimed_user_id"] != user_id:
            raise Refusal(401, "M_UNAUTHORIZED", "The request could not be authorised.")
        identity = member_identity(user_id, member["claimed_device_id"], member["id"])
        return Given(path, user_id, room_alias(body["room_id"], body["slot_id"]), identity)

    async def _checked(self, body: Mapping[str, Any], missing: str) -> str:
        """Return the user to whom the homeserver gave the OpenID token."""
        token = body.get("openid_token") or {}
        server = token.get("matrix_server_name")
        if not token.get("access_token") or not server:
            raise Refusal(400, "M_BAD_JSON", missing)
        if bool(body.get("delay_id")) != ((body.get("delay_timeout") or 0) > 0):
            raise Refusal(400, "M_BAD_JSON", "The request body is missing `delay_id` or `delay_timeout`")
        if server in self.refused:
            raise Refusal(403, "M_FORBIDDEN", "This service gives no tokens to users of your homeserver.")
        user_id = await self._owner(server, token["access_token"])
        if user_id is None or user_id.partition(":")[2] != server:
            raise Refusal(401, "M_UNAUTHORIZED", "The request could not be authorised.")
        return user_id

    async def _owner(self, server: str, token: str) -> str | None:
        address = self.homeservers.get(server, f"https://{server}")
        where = f"{address}/_matrix/federation/v1/openid/userinfo"
        # Homeservers of tests signed their certificates themselves.
        async with (
            aiohttp.ClientSession() as http,
            http.get(where, params={"access_token": token}, ssl=False) as answer,
        ):
            return str((await answer.json())["sub"]) if answer.status == 200 else None


async def _body(request: web.Request, shape: Mapping[str, Any]) -> dict[str, Any]:
    """Read a request. Raises Refusal for what is not JSON and for a field that is unknown or of another type."""
    try:
        body = await request.json()
    except ValueError:
        body = None
    if not isinstance(body, dict) or not _fits(shape, body):
        raise Refusal(400, "M_NOT_JSON", "Error reading request")
    return body


def _fits(shape: Any, value: object) -> bool:
    if isinstance(shape, Mapping):
        return isinstance(value, dict) and all(key in shape and _fits(shape[key], item) for key, item in value.items())
    return value is None or type(value) is shape
