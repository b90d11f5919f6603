"""The check of calls of Element Call against a real homeserver, media server and token service."""

import pytest

from bot.calls import checking
from bot.check.finding import Finding, Level
from bot.matrix.wire import Wire, path
from storage.records import DeviceId, UserId
from tests.calls_clients.backend import Backend
from tests.lab import PASSWORD
from tests.livekit.token_service import room_alias

pytestmark = pytest.mark.calls


async def check(rtc: Backend, name: str) -> list[Finding]:
    """Log in as somebody new and check."""
    user_id = await rtc.homeserver.register(name, PASSWORD)
    wire = Wire(rtc.homeserver.address)
    try:
        identifier = {"type": "m.id.user", "user": user_id}
        login = {"type": "m.login.password", "identifier": identifier, "password": PASSWORD}
        told = await wire.call("POST", path("login"), body=login, auth=False)
        wire.token = told["access_token"]
        return list(await checking.check(wire, UserId(user_id), DeviceId(told["device_id"]), wanted=True))
    finally:
        await wire.close()


async def test_the_bot_is_let_in_and_joins_nothing(rtc: Backend) -> None:
    """All lines are fine, and nobody is in the room that was opened for the check."""
    found = await check(rtc, "checker")
    assert [each.level for each in found] == [Level.OK] * 3, found
    room = rtc.tokens.given[-1].room
    assert room == room_alias(f"!aircheck-check:{rtc.homeserver.server_name}")
    assert await rtc.sfu.rooms.participants(room) == []


async def test_a_service_that_refuses_or_a_server_that_is_down_is_told(rtc: Backend) -> None:
    """Each is a line that says what to look at."""
    rtc.tokens.refused.add(rtc.homeserver.server_name)
    try:
        first, *_ = await check(rtc, "refused")
    finally:
        rtc.tokens.refused.clear()
    assert (first.level, "(403)" in first.text) == (Level.FAIL, True), first
    await rtc.sfu.kill()
    try:
        first, *_ = await check(rtc, "unlucky")
    finally:
        await rtc.sfu.start()
    assert (first.level, "does it reach its media server?" in first.text) == (Level.FAIL, True), first
