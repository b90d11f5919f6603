"""The servers that calls by MatrixRTC need, together: Synapse, a token service, LiveKit's server."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest

from tests.calls_clients.backend import Backend
from tests.lab import PASSWORD, RtcHomeserver
from tests.livekit.token_service import SLOT, legacy_identity, member_identity, room_alias

pytestmark = pytest.mark.calls

ROOM = "!room:example.org"


class Device:
    """A device that is logged in by plain HTTP, and asks for tokens as a client does."""

    def __init__(self, http: aiohttp.ClientSession, homeserver: RtcHomeserver, login: dict[str, str]) -> None:
        self._http = http
        self._homeserver = homeserver
        self.user_id = login["user_id"]
        self.device_id = login["device_id"]
        self._headers = {"Authorization": f"Bearer {login['access_token']}"}

    async def call(self, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        """Call the client API of the homeserver."""
        where = f"{self._homeserver.address}/_matrix/client/{path}"
        async with self._http.request(method, where, json=body, headers=self._headers) as answer:
            told: dict[str, Any] = await answer.json()
            assert answer.status == 200, told
            return told

    async def openid(self) -> dict[str, Any]:
        return await self.call("POST", f"v3/user/{self.user_id}/openid/request_token", {})

    async def legacy_token(self, service_url: str, **changed: Any) -> tuple[int, dict[str, Any]]:
        """Ask a token service as clients in compatibility mode do; return the status and what it says."""
        body = {"room": ROOM, "openid_token": await self.openid(), "device_id": self.device_id, **changed}
        return await self.post(f"{service_url}/sfu/get", body)

    async def token(self, service_url: str, **changed: Any) -> tuple[int, dict[str, Any]]:
        """Ask a token service as clients in Matrix 2.0 mode do; return the status and what it says."""
        member = {"id": "m1", "claimed_user_id": self.user_id, "claimed_device_id": self.device_id, **changed}
        body = {"room_id": ROOM, "slot_id": SLOT, "openid_token": await self.openid(), "member": member}
        return await self.post(f"{service_url}/get_token", body)

    async def post(self, where: str, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        async with self._http.post(where, json=body) as answer:
            return answer.status, await answer.json()

    @asynccontextmanager
    async def joined(self, url: str, jwt: str) -> AsyncIterator[aiohttp.ClientWebSocketResponse]:
        """Join a room of an SFU and stay in it. Raises WSServerHandshakeError with the status of a refusal."""
        params = {"access_token": jwt, "protocol": "15", "auto_subscribe": "0"}
        async with self._http.ws_connect(f"{url}/rtc", params=params) as socket:
            assert await socket.receive_bytes(timeout=20)  # the join response
            yield socket


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


async def log_in(http: aiohttp.ClientSession, homeserver: RtcHomeserver, name: str) -> Device:
    user_id = await homeserver.register(f"{name}{homeserver.port}-{id(http)}", PASSWORD)
    login = {
        "type": "m.login.password",
        "identifier": {"type": "m.id.user", "user": user_id},
        "password": PASSWORD,
    }
    async with http.post(f"{homeserver.address}/_matrix/client/v3/login", json=login) as answer:
        return Device(http, homeserver, await answer.json())


async def test_a_token_for_an_openid_token_of_the_homeserver_joins_the_sfu(
    rtc: Backend, http: aiohttp.ClientSession
) -> None:
    """Both endpoints give tokens whose holders are in one room of the SFU, each by the name of its mode."""
    ann, ben = await log_in(http, rtc.homeserver, "ann"), await log_in(http, rtc.homeserver, "ben")
    told = await ann.call("GET", "unstable/org.matrix.msc4143/rtc/transports")
    [transport] = told["rtc_transports"]
    service_url = transport["livekit_service_url"]
    _, first = await ann.legacy_token(service_url)
    _, second = await ben.token(service_url)
    async with ann.joined(**first), ben.joined(**second):
        present = {str(there["identity"]) for there in await rtc.sfu.rooms.participants(room_alias(ROOM))}
    assert present == {legacy_identity(ann.user_id, ann.device_id), member_identity(ben.user_id, ben.device_id, "m1")}


async def test_a_token_is_given_to_the_owner_of_an_openid_token_alone(
    rtc: Backend, http: aiohttp.ClientSession
) -> None:
    """An invented OpenID token, another user's name and a request of another shape get no token."""
    ann, where = await log_in(http, rtc.homeserver, "ann"), rtc.homeserver.service_url
    invented = {**await ann.openid(), "access_token": "invented"}
    answers = [
        await ann.legacy_token(where, openid_token=invented),
        await ann.token(where, claimed_user_id=f"@ben:{rtc.homeserver.server_name}"),
        await ann.token(where, id=""),
        await ann.legacy_token(where, room=""),
        await ann.legacy_token(where, device_id=7),
        await ann.legacy_token(where, unknown=True),
        await ann.legacy_token(where, delay_id="d1"),
    ]
    unauthorized, bad, unread = (401, "M_UNAUTHORIZED"), (400, "M_BAD_JSON"), (400, "M_NOT_JSON")
    told = [(status, answer["errcode"]) for status, answer in answers]
    assert told == [unauthorized, unauthorized, bad, bad, unread, unread, bad]
    assert rtc.tokens.given == []


async def test_users_of_other_homeservers_join_rooms_that_are_open(
    rtc: Backend, far_rtc_homeserver: RtcHomeserver, http: aiohttp.ClientSession
) -> None:
    """A guest's token opens nothing; once a user of the SFU's own homeserver has asked, the guest joins."""
    ann, far = await log_in(http, rtc.homeserver, "ann"), await log_in(http, far_rtc_homeserver, "far")
    _, guests = await far.legacy_token(rtc.homeserver.service_url)
    with pytest.raises(aiohttp.WSServerHandshakeError) as refusal:
        async with far.joined(**guests):
            raise AssertionError("the room was not open")
    assert refusal.value.status == 404
    await ann.legacy_token(rtc.homeserver.service_url)
    async with far.joined(**guests):
        [present] = await rtc.sfu.rooms.participants(room_alias(ROOM))
    assert present["identity"] == legacy_identity(far.user_id, far.device_id)


async def test_a_homeserver_can_be_refused(
    rtc: Backend, far_rtc_homeserver: RtcHomeserver, http: aiohttp.ClientSession
) -> None:
    """Users of a refused homeserver get no token, others do."""
    ann, far = await log_in(http, rtc.homeserver, "ann"), await log_in(http, far_rtc_homeserver, "far")
    rtc.tokens.refused.add(far_rtc_homeserver.server_name)
    for ask in (far.legacy_token, far.token):
        status, told = await ask(rtc.homeserver.service_url)
        assert (status, told["errcode"]) == (403, "M_FORBIDDEN")
    status, _ = await ann.token(rtc.homeserver.service_url)
    assert status == 200


async def test_members_of_two_homeservers_are_on_two_sfus_at_once(
    rtc: Backend, far_rtc: Backend, http: aiohttp.ClientSession
) -> None:
    """Each member opens the room on the SFU of their homeserver, and joins that of the other as a guest."""
    ann, far = await log_in(http, rtc.homeserver, "ann"), await log_in(http, far_rtc.homeserver, "far")
    here, there = rtc.homeserver.service_url, far_rtc.homeserver.service_url
    _, own = await ann.token(here)
    _, theirs = await far.token(there)
    _, anns = await ann.token(there)
    _, fars = await far.token(here)
    async with ann.joined(**own), far.joined(**theirs), ann.joined(**anns), far.joined(**fars):
        lists = [await site.sfu.rooms.participants(room_alias(ROOM)) for site in (rtc, far_rtc)]
    identities = {member_identity(who.user_id, who.device_id, "m1") for who in (ann, far)}
    assert [{str(participant["identity"]) for participant in present} for present in lists] == [identities, identities]


async def test_an_expired_token_is_refused_by_the_sfu(rtc: Backend, http: aiohttp.ClientSession) -> None:
    """A token whose end has passed joins nothing; the SFU says that it is unauthorized."""
    ann = await log_in(http, rtc.homeserver, "ann")
    rtc.tokens.life_s = -120
    _, told = await ann.token(rtc.homeserver.service_url)
    with pytest.raises(aiohttp.WSServerHandshakeError) as refusal:
        async with ann.joined(**told):
            raise AssertionError("the token is expired")
    assert refusal.value.status == 401


@pytest.mark.parametrize("crashes", [False, True], ids=["stopped", "killed"])
async def test_after_a_restart_of_the_sfu_a_new_token_joins(
    rtc: Backend, http: aiohttp.ClientSession, *, crashes: bool
) -> None:
    """A restart ends the connection and forgets the room: the old token joins nothing until a new one is given."""
    ann, where = await log_in(http, rtc.homeserver, "ann"), rtc.homeserver.service_url
    _, old = await ann.token(where)
    async with ann.joined(**old) as socket:
        await (rtc.sfu.kill() if crashes else rtc.sfu.stop())
        while not socket.closed:
            await socket.receive(timeout=20)
    status, told = await ann.token(where)
    assert (status, told["errcode"]) == (500, "M_UNKNOWN")
    await rtc.sfu.start()
    with pytest.raises(aiohttp.WSServerHandshakeError) as refusal:
        async with ann.joined(**old):
            raise AssertionError("the room was forgotten")
    assert refusal.value.status == 404
    _, new = await ann.token(where)
    async with ann.joined(**new):
        assert len(await rtc.sfu.rooms.participants(room_alias(ROOM))) == 1
