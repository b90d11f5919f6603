"""The check whether calls of Element Call can be recorded, with a homeserver and a token service of its own."""

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web

from bot.calls import checking, tokens, transports
from bot.calls.media import late
from bot.calls.private import OwnServices
from bot.check.element_call import MOST_SERVICES
from bot.check.finding import Finding, Level
from bot.matrix.delayed import CAPABILITY
from bot.matrix.wire import Wire
from storage.records import DeviceId, UserId

US, DEVICE = UserId("@bot:hs.invalid"), DeviceId("DEV")
CLIENT = "/_matrix/client"
TRANSPORTS = f"{CLIENT}/unstable/org.matrix.msc4143/rtc/transports"
OPENID = {"access_token": "secret-openid", "token_type": "Bearer", "matrix_server_name": "hs.invalid", "expires_in": 60}


class Lab:
    """A homeserver, a token service and a media server at one address. Each answer is a status and a body."""

    def __init__(self) -> None:
        self.base = ""
        self.asked: list[tuple[str, Any]] = []
        self.answers: dict[str, tuple[int, Any]] = {
            f"{CLIENT}/v3/user/{US}/openid/request_token": (200, OPENID | {"more": "of another time"}),
            f"{CLIENT}/v3/capabilities": (
                200,
                {"capabilities": {CAPABILITY: {"max_delay_ms": 86_400_000}}},
            ),
            f"{CLIENT}/versions": (200, {"versions": [], "unstable_features": {"org.matrix.msc4354": True}}),
            "/sfu/get": (200, {}),
            "/rtc/validate": (200, "success"),
        }

    def name(self, *addresses: str) -> None:
        """Let the homeserver name these token services."""
        named = [{"type": "livekit", "livekit_service_url": address} for address in addresses]
        self.answers[TRANSPORTS] = (200, {"rtc_transports": named})

    async def answer(self, request: web.BaseRequest) -> web.Response:
        body = await request.read()
        self.asked.append((request.path, json.loads(body) if body else request.headers.get("Authorization")))
        status, told = self.answers.get(request.path, (404, {"errcode": "M_UNRECOGNIZED", "error": "no"}))
        return web.Response(status=status, text=told if isinstance(told, str) else json.dumps(told))

    async def check(self, *, wanted: bool = True) -> list[Finding]:
        wire = Wire(self.base)
        wire.token = "secret-token"
        try:
            return list(await checking.check(wire, US, DEVICE, wanted=wanted))
        finally:
            await wire.close()


@pytest.fixture
async def lab(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Lab]:
    lab = Lab()
    runner = web.ServerRunner(web.Server(lab.answer), shutdown_timeout=0.01)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    lab.base = f"http://127.0.0.1:{runner.addresses[0][1]}"
    lab.answers["/sfu/get"] = (200, {"url": lab.base.replace("http", "ws"), "jwt": "secret-jwt"})
    lab.name(lab.base)
    yield lab
    await runner.cleanup()


async def test_a_service_and_its_server_that_let_the_bot_in_are_fine(lab: Lab) -> None:
    """The service gets an OpenID token for a room that no call has, and the server the token; neither is shown."""
    found = await lab.check()
    assert {each.level for each in found} == {Level.OK}
    assert [each.subject for each in found] == ["Element Call", "bot in calls", "sticky events"]
    told = dict(lab.asked)
    assert told["/sfu/get"] == {"room": "!aircheck-check:hs.invalid", "openid_token": OPENID, "device_id": DEVICE}
    assert told["/rtc/validate"] == "Bearer secret-jwt"
    assert "secret" not in " ".join(map(str, found))


REFUSED = [
    ("/sfu/get", (401, {}), "federation API"),
    ("/sfu/get", (403, {}), "let users of this homeserver in"),
    ("/sfu/get", (404, "no page"), "is the proxy right"),
    ("/sfu/get", (500, {}), "reach its media server"),
    ("/sfu/get", (200, "<html>"), "is no JSON"),
    ("/sfu/get", (200, ["url"]), "is malformed"),
    ("/sfu/get", (200, {"url": "gopher://x", "jwt": "secret"}), "can't be used"),
    ("/sfu/get", (200, {"url": "ws://127.0.0.1:1", "jwt": "secret"}), "does not answer"),
    ("/rtc/validate", (401, "invalid token: secret"), "their keys"),
    ("/rtc/validate", (502, "bad gateway"), "does not answer"),
]


@pytest.mark.parametrize(("where", "answer", "words"), REFUSED)
async def test_what_keeps_the_bot_out_is_told(lab: Lab, where: str, answer: tuple[int, Any], words: str) -> None:
    """A refusal fails where calls are to be recorded, and else is a warning; it says what to look at."""
    lab.answers[where] = answer
    first, *_ = await lab.check()
    assert (first.level, words in first.text) == (Level.FAIL, True), first
    assert "secret" not in str(first)
    assert (await lab.check(wanted=False))[0].level is Level.WARN


async def test_a_server_that_opens_no_room_for_the_bot_takes_its_token(lab: Lab) -> None:
    """The room of the check was not opened, as where users may join rooms only."""
    lab.answers["/rtc/validate"] = (404, "requested room does not exist")
    assert (await lab.check())[0].level is Level.OK


async def test_a_server_in_a_private_network_is_told(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """A homeserver of the Internet has its media server there: the name that its service gives leads elsewhere."""

    async def never(*_: object) -> bool:
        return False

    def public(*_: str, **__: object) -> None: ...

    monkeypatch.setattr(OwnServices, "may_be_private", never)
    monkeypatch.setattr(tokens, "_check", public)
    monkeypatch.setattr(tokens, "strangers", lambda **_: None)
    lab.answers["/sfu/get"] = (200, {"url": "wss://localhost:1", "jwt": "secret"})
    first, *_ = await lab.check()
    assert (first.level, "is in a private network" in first.text) == (Level.FAIL, True), first


async def test_a_service_that_is_down_is_told_by_host_and_port_alone(lab: Lab) -> None:
    """Nothing else of its address is shown."""
    lab.name("http://127.0.0.1:1/livekit/secret")
    first, *_ = await lab.check()
    assert first.level is Level.FAIL
    assert first.text.startswith("127.0.0.1:1 gives the bot no token: the token service can't be reached")
    assert "secret" not in str(first)


async def test_a_homeserver_without_media_servers_is_no_fault(lab: Lab) -> None:
    """A line says so, whoever wants calls recorded; its .well-known file was asked too."""
    del lab.answers[TRANSPORTS]
    found = await lab.check()
    assert [each.level for each in found] == [Level.OK]
    assert "names no media server" in found[0].text


@pytest.mark.parametrize(
    "answer", [(200, {"rtc_transports": [{"type": "other"}, 7, {"type": "livekit"}]}), (404, "no page"), (502, "away")]
)
async def test_the_file_of_the_server_name_is_read_where_the_api_names_none(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, answer: tuple[int, Any]
) -> None:
    """Malformed entries, and transports of other types, are passed over; each service is named once. A proxy may not
    let the API through."""
    lab.answers[TRANSPORTS] = answer
    entry = {"type": "livekit", "livekit_service_url": "https://rtc.example"}
    lab.answers["/.well-known/matrix/client"] = (200, {transports.FOCI: [entry, entry, None]})
    monkeypatch.setattr(transports, "Wire", lambda _address: Wire(lab.base))
    wire = Wire(lab.base)
    wire.token = "token"
    assert await transports.services(wire, "hs.invalid") == ("https://rtc.example",)
    await wire.close()


async def test_only_so_many_services_are_asked(lab: Lab) -> None:
    """The rest is counted."""
    lab.name(*(f"{lab.base}/{number}" for number in range(MOST_SERVICES + 2)))
    found = await lab.check()
    assert sum(path.endswith("/sfu/get") for path, _ in lab.asked) == MOST_SERVICES
    assert any(each.text == "2 more services were not asked" for each in found)


async def test_without_delayed_events_a_dead_bot_stays_listed(lab: Lab) -> None:
    """The warning names the setting of Synapse; to have no sticky events is no fault."""
    lab.answers[f"{CLIENT}/v3/capabilities"] = (200, {"capabilities": {}})
    lab.answers[f"{CLIENT}/versions"] = (200, {"versions": []})
    _, bot, sticky = await lab.check()
    assert (bot.level, "max_event_delay_duration" in bot.text) == (Level.WARN, True)
    assert (sticky.level, "has none" in sticky.text) == (Level.OK, True)


async def test_a_homeserver_that_does_not_answer_is_a_warning(lab: Lab) -> None:
    """The line of the homeserver itself fails already."""
    lab.answers[TRANSPORTS] = (502, "bad gateway")
    (finding,) = await lab.check()
    assert (finding.level, finding.subject) == (Level.WARN, "Element Call")


async def test_in_a_room_the_libraries_are_looked_at_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the extra, or with libraries that can't be loaded, nobody is asked for a token."""
    nobody: Any = None
    monkeypatch.setattr(checking, "installed", lambda: False)
    (finding,) = await checking.check_for_room(nobody)
    assert (finding.level, "extra `calls`" in finding.text) == (Level.FAIL, True)
    monkeypatch.setattr(checking, "installed", lambda: True)
    monkeypatch.setattr(late, "RTC", "a_library_that_is_not_there")
    (finding,) = await checking.check_for_room(nobody)
    assert (finding.level, "a_library_that_is_not_there" in finding.text) == (Level.FAIL, True)
