"""Tokens by which the bot joins the rooms of SFUs (MSC4195), from the services that members of a call name.

A service is a stranger, named by a member: it is asked by HTTPS at a public address and nowhere else, unless the
homeserver stands for it (`private`). It learns who the bot is by an OpenID token, made for this one request. Such a
token does not say whom it is for: while it is valid a dishonest service can pass for the bot at another one.

Two requests are spoken: `/sfu/get` for members whose entry is state, and `/get_token` for those whose entry is a sticky
event. Each names the bot as its entry does. A service that does not know the one is asked by the other.
"""

import base64
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import aiohttp
from yarl import URL

from bot.calls.model import Member, Transport
from bot.calls.wire.matrixrtc import SLOT, plain_identity
from bot.errors import GiveUp, TryLater
from bot.matrix.media import PrivateAddress, address_of_stranger, strangers
from bot.matrix.wire import USER_AGENT, Wire, path
from storage.records import Json, RoomId

TIMEOUT = aiohttp.ClientTimeout(total=10, sock_connect=5)
MOST_BYTES = 64 * 1024
MOST_CHARACTERS = 8 * 1024
"""The longest address of an SFU, and the longest token, that are taken."""
OPENID = ("access_token", "token_type", "matrix_server_name", "expires_in")
"""Keys of an OpenID token (Client-Server API, request_token); services refuse others."""
UNKNOWN = frozenset({404, 405})
LATER = frozenset({408, 425, 429})


@dataclass(frozen=True, slots=True)
class Place:
    """A room of an SFU, whichever service gives tokens for it."""

    host: str
    port: int | None
    path: str
    room: str


@dataclass(frozen=True, slots=True)
class Grant:
    """The address of an SFU, and a token for a room there. `private`: it may lead into private networks."""

    url: str
    token: str = field(repr=False)
    private: bool = False

    @property
    def place(self) -> Place | None:
        """The room that the token names; None: it can't be read. The SFU judges whether the token is genuine."""
        try:
            payload = self.token.split(".")[1]
            room = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))["video"]["room"]
            url = URL(self.url)
        except (ValueError, LookupError, TypeError, RecursionError):
            return None
        return Place(url.host or "", url.port, url.path.rstrip("/"), room) if isinstance(room, str) else None


class Refusal(GiveUp):
    """An answer by which a service refuses the bot."""

    def __init__(self, status: int) -> None:
        super().__init__(f"the token service refuses the bot ({status})", reason="refused")
        self.status = status


class Trouble(TryLater):
    """An answer by which a service gives no token now."""

    def __init__(self, status: int) -> None:
        super().__init__(f"the token service answered {status}")
        self.status = status


class _Unknown(Exception):
    """A service that does not know this request."""


class Tokens:
    """The services of all SFUs. `may_be_private`: whether a service may lead into private networks, by its address; it
    may raise TryLater."""

    def __init__(self, wire: Wire, may_be_private: Callable[[str], Awaitable[bool]]) -> None:
        self._wire = wire
        self._may_be_private = may_be_private

    async def grant(self, room_id: RoomId, ours: Member, transport: Transport) -> Grant:
        """Ask for a token by which the bot, as it is listed in a room's call, joins an SFU. Raises GiveUp where it is
        refused, TryLater where the service can't be asked now."""
        private = await self._may_be_private(transport.service_url)
        _check(transport.service_url, "https", private=private)
        for request, body in _requests(room_id, ours):
            try:
                answer = await self._ask(f"{transport.service_url}{request}", body, ours, private=private)
                return _read(answer, private=private)
            except _Unknown:
                continue
        raise Refusal(404)

    async def _ask(self, address: str, body: Json, ours: Member, *, private: bool) -> bytes:
        """Make one request, and return what is answered."""
        where = path("user", ours.device.user_id, "openid", "request_token")
        openid = await self._wire.call("POST", where, body={}, timeout_s=10.0)
        told = {**body, "openid_token": {key: openid[key] for key in OPENID if key in openid}}
        try:
            async with (
                aiohttp.ClientSession(
                    connector=strangers(private=private),
                    timeout=TIMEOUT,
                    cookie_jar=aiohttp.DummyCookieJar(),
                    headers={"User-Agent": USER_AGENT},
                ) as http,
                http.post(address, json=told, allow_redirects=False) as response,
            ):
                _judge(response.status)
                return await _body(response)
        except aiohttp.ClientConnectorError as error:
            if isinstance(error.os_error, PrivateAddress):
                raise GiveUp("the service is in a private network", reason="refused") from None
            raise TryLater("the token service can't be reached") from None
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            raise TryLater(f"the token service can't be reached ({type(error).__name__})") from None


def _requests(room_id: RoomId, ours: Member) -> tuple[tuple[str, Json], ...]:
    """Return both requests, the one first that names the bot as its entry in the call does."""
    device = ours.device
    older: Json = {"room": room_id, "device_id": device.device_id}
    claimed = {"id": device.session_id, "claimed_user_id": device.user_id, "claimed_device_id": device.device_id}
    newer: Json = {"room_id": room_id, "slot_id": SLOT, "member": claimed}
    both = (("/sfu/get", older), ("/get_token", newer))
    return both if ours.identity == plain_identity(device.user_id, device.device_id) else both[::-1]


def _judge(status: int) -> None:
    """Tell refusals from troubles. Raises _Unknown, GiveUp, TryLater."""
    if status == 200:
        return
    if status in UNKNOWN:
        raise _Unknown
    if 400 <= status < 500 and status not in LATER:
        raise Refusal(status)
    raise Trouble(status)


async def _body(response: aiohttp.ClientResponse) -> bytes:
    body = bytearray()
    async for piece in response.content.iter_chunked(MOST_BYTES):
        body += piece
        if len(body) > MOST_BYTES:
            raise TryLater("the token service's answer is too long")
    return bytes(body)


def _read(answer: bytes, *, private: bool) -> Grant:
    """Read and check an answer: it leads where it will. Raises GiveUp, TryLater."""
    try:
        told: Any = json.loads(answer)
    except (ValueError, RecursionError):
        raise TryLater("the token service's answer is no JSON") from None
    url, token = (told.get("url"), told.get("jwt")) if isinstance(told, dict) else (None, None)
    if not _is_fit(url) or not _is_fit(token):
        raise TryLater("the token service's answer is malformed")
    _check(str(url), "wss", private=private)
    return Grant(str(url), str(token), private)


def _is_fit(value: object) -> bool:
    return isinstance(value, str) and 0 < len(value) <= MOST_CHARACTERS and value.isascii() and value.isprintable()


def _check(address: str, secure: str, *, private: bool) -> None:
    """Check an address that a stranger gave. Raises GiveUp."""
    try:
        address_of_stranger(address, secure, private=private)
    except (ValueError, PrivateAddress):
        raise GiveUp("the address of an SFU can't be used", reason="refused") from None
