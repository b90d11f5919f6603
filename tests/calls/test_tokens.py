"""Tokens for SFUs: what services are asked, and what of their answers is taken."""

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, cast

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from bot.calls.model import Device, Member, Transport
from bot.calls.tokens import MOST_BYTES, Grant, Tokens
from bot.errors import GiveUp, TryLater
from bot.matrix.wire import Wire
from storage.records import RoomId, UserId

ROOM = RoomId("!room:hs")
BOT = Device(UserId("@bot:hs"), "OURS", "@bot:hs:OURS")
OURS = Member(BOT, None, identity="@bot:hs:OURS")
STICKY = Member(replace(BOT, session_id="member"), None, identity="hash")
OPENID = {"access_token": "openid", "token_type": "Bearer", "matrix_server_name": "hs", "expires_in": 3600}
GRANT = {"url": "ws://127.0.0.1:7880", "jwt": "token"}


class FakeWire:
    """A homeserver that gives OpenID tokens, each another."""

    def __init__(self) -> None:
        self.given = 0

    async def call(self, method: str, path: str, *, body: Mapping[str, Any], timeout_s: float) -> dict[str, Any]:
        assert (method, path) == ("POST", "/_matrix/client/v3/user/%40bot%3Ahs/openid/request_token")
        self.given += 1
        return {**OPENID, "access_token": f"openid {self.given}", "more": True}


@dataclass
class Service:
    """A token service that answers what the test wants, and remembers what it was asked."""

    answers: dict[str, web.Response] = field(default_factory=dict)
    asked: list[tuple[str, Any]] = field(default_factory=list)
    address: str = ""

    async def answer(self, request: web.Request) -> web.Response:
        self.asked.append((request.path, await request.json()))
        return self.answers.get(request.path) or web.Response(status=404)

    def gives(self, path: str = "/jwt/sfu/get", **answer: Any) -> None:
        self.answers[path] = web.json_response({**GRANT, **answer})


@pytest.fixture
async def service() -> AsyncIterator[Service]:
    made = Service()
    application = web.Application()
    application.router.add_post("/{path:.*}", made.answer)
    server = TestServer(application)
    await server.start_server()
    made.address = str(server.make_url("/jwt"))
    yield made
    await server.close()


def tokens(*, private: bool = True) -> Tokens:
    async def may_be_private(service: str) -> bool:
        return private

    return Tokens(cast("Wire", FakeWire()), may_be_private)


async def grant(service: Service, ours: Member = OURS) -> Grant:
    return await tokens().grant(ROOM, ours, Transport(service.address))


async def test_a_member_by_state_asks_as_such(service: Service) -> None:
    """The room and the device are named, with an OpenID token of the homeserver."""
    service.gives()
    assert await grant(service) == Grant("ws://127.0.0.1:7880", "token", private=True)
    openid = {**OPENID, "access_token": "openid 1"}
    assert service.asked == [("/jwt/sfu/get", {"room": ROOM, "device_id": "OURS", "openid_token": openid})]


async def test_a_member_by_a_sticky_event_asks_as_such(service: Service) -> None:
    """The slot and the membership are named."""
    service.gives("/jwt/get_token")
    await grant(service, STICKY)
    [(path, body)] = service.asked
    assert path == "/jwt/get_token"
    assert (body["room_id"], body["slot_id"]) == (ROOM, "m.call#ROOM")
    assert body["member"] == {"id": "member", "claimed_user_id": "@bot:hs", "claimed_device_id": "OURS"}


async def test_a_service_without_the_one_request_is_asked_by_the_other(service: Service) -> None:
    """Each request has an OpenID token of its own."""
    service.gives("/jwt/get_token")
    assert (await grant(service)).token == "token"
    assert [body["openid_token"]["access_token"] for _, body in service.asked] == ["openid 1", "openid 2"]


@pytest.mark.parametrize(
    ("status", "error"),
    [(403, GiveUp), (401, GiveUp), (404, GiveUp), (429, TryLater), (502, TryLater), (302, TryLater)],
)
async def test_refusals_are_told_from_troubles(service: Service, status: int, error: type[Exception]) -> None:
    """A refusal is final for now, a trouble may pass. Redirects are not followed."""
    headers = {"Location": "/elsewhere"}
    service.answers = {
        path: web.Response(status=status, headers=headers) for path in ("/jwt/sfu/get", "/jwt/get_token")
    }
    with pytest.raises(error):
        await grant(service)
    assert all(path.startswith("/jwt/") for path, _ in service.asked)


@pytest.mark.parametrize(
    "answer",
    [
        b"no JSON",
        b"[]",
        b'{"url": "ws://127.0.0.1"}',
        b'{"url": 1, "jwt": "x"}',
        b'{"url": "ws://127.0.0.1", "jwt": "a\\nb"}',
        b"[" * 20_000,
        b" " * (MOST_BYTES + 1),
    ],
)
async def test_malformed_answers_are_troubles(service: Service, answer: bytes) -> None:
    """Nothing of a malformed or endless answer is taken."""
    service.answers["/jwt/sfu/get"] = web.Response(body=answer)
    with pytest.raises(TryLater):
        await grant(service)


@pytest.mark.parametrize("url", ["http://127.0.0.1", "file:///etc/passwd", "ws://user@127.0.0.1", "ws://", "ws://[::"])
async def test_an_sfu_is_a_web_socket(service: Service, url: str) -> None:
    """The address that a service gives is checked."""
    service.gives(url=url)
    with pytest.raises(GiveUp):
        await grant(service)


@pytest.mark.parametrize(
    "address",
    [
        "http://sfu.example",
        "https://127.0.0.1",
        "https://127.1",
        "https://[::1]",
        "https://10.0.0.5",
        "https://me@sfu.example",
        "https://localhost:9",
    ],
)
async def test_private_networks_are_not_asked(address: str) -> None:
    """A homeserver of the Internet has SFUs there: a service is asked by HTTPS, at a public address."""
    with pytest.raises(GiveUp):
        await tokens(private=False).grant(ROOM, OURS, Transport(address))


async def test_a_service_that_is_away(service: Service) -> None:
    """A service that can't be reached is asked again later."""
    with pytest.raises(TryLater):
        await tokens().grant(ROOM, OURS, Transport("http://127.0.0.1:9"))


def test_a_grant_does_not_show_its_token() -> None:
    """No token comes into a log."""
    assert "secret" not in repr(Grant("wss://sfu.example", "secret"))


PAYLOADS = {"a": "eyJ2aWRlbyI6eyJyb29tIjoiYSJ9fQ", "b": "eyJ2aWRlbyI6eyJyb29tIjoiYiJ9fQ"}


def test_the_room_that_a_token_is_for() -> None:
    """Grants are for one room whichever way its address is written; a token that can't be read is for none."""
    place = Grant("wss://sfu.example/livekit", f"x.{PAYLOADS['a']}.y").place
    assert place is not None
    assert Grant("wss://SFU.example:443/livekit/", f"other.{PAYLOADS['a']}.z").place == place
    assert Grant("wss://sfu.example/livekit", f"x.{PAYLOADS['b']}.y").place != place
    assert Grant("wss://sfu.example:444/livekit", f"x.{PAYLOADS['a']}.y").place != place
    for token in ("", "x", "x.!.y", "x.e30.y", "x.W10.y", "x.eyJ2aWRlbyI6eyJyb29tIjoxfX0.y", "x.\xff.y"):
        assert Grant("wss://sfu.example/livekit", token).place is None
