"""The token services that may lead into private networks: those for which the homeserver stands."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, cast

import pytest

from bot.calls.model import Device, Member, Transport
from bot.calls.private import AGAIN_S, ASKED_EVERY_S, OwnServices
from bot.calls.tokens import Tokens
from bot.errors import GiveUp, TryLater
from bot.matrix.wire import Wire
from storage.records import RoomId, UserId

NAMED = "http://lk-jwt:8080"


async def names() -> tuple[str, ...]:
    return (NAMED,)


def own(homeserver: str, named: Callable[[], Awaitable[tuple[str, ...]]] = names) -> OwnServices:
    return OwnServices(homeserver, named, lambda: 0.0)


@pytest.fixture(autouse=True)
def docker(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let `synapse` be a name of a private network."""
    known = asyncio.base_events.BaseEventLoop.getaddrinfo

    async def look_up(loop: Any, host: str, *more: Any, **named: Any) -> Any:
        return await known(loop, {"synapse": "172.18.0.2"}.get(host, host), *more, **named)

    monkeypatch.setattr(asyncio.base_events.BaseEventLoop, "getaddrinfo", look_up)


@pytest.mark.parametrize(
    ("homeserver", "service", "may"),
    [
        ("http://localhost:8008", "http://localhost:8080/jwt", True),
        ("http://localhost:8008", "http://127.0.0.1:8080", True),
        ("http://127.0.0.1:8008", "http://localhost:8080", True),
        ("http://127.0.0.1:8008", "http://[::1]:8080", True),
        ("http://synapse:8008", "http://synapse:8080", True),
        ("http://synapse:8008", "http://172.18.0.2:8080", True),
        ("http://synapse:8008", NAMED, True),
        ("http://localhost:8008", "http://10.0.0.5:8080/admin", False),
        ("http://localhost:8008", "http://0.0.0.0:8080", False),
        ("http://localhost:8008", "http://2130706433:8080", False),
        ("http://localhost:8008", "http://localhost.evil.example:8080", False),
        ("http://synapse:8008", "http://127.0.0.1:8080", False),
        ("http://synapse:8008", "http://172.18.0.3:8080", False),
        ("http://synapse:8008", f"{NAMED}/admin", False),
        ("http://synapse:8008", "https://sfu.example", False),
        ("https://1.1.1.1", "https://1.1.1.1", False),
        ("https://1.1.1.1", NAMED, False),
    ],
)
async def test_services_for_which_the_homeserver_stands(homeserver: str, service: str, may: bool) -> None:
    """They are on its own host, or named by it, where it is in a private network itself; no other name is trusted."""
    assert await own(homeserver).may_be_private(service) is may


async def test_a_private_homeserver_opens_its_network_to_no_member() -> None:
    """A service in its network that a member names alone is not even asked for, and no OpenID token is made."""
    ours = Member(Device(UserId("@bot:hs"), "OURS", "session"), None, identity="@bot:hs:OURS")
    tokens = Tokens(cast("Wire", None), own("http://localhost:8008").may_be_private)
    with pytest.raises(GiveUp):
        await tokens.grant(RoomId("!room:hs"), ours, Transport("http://10.0.0.5:8080/admin"))


async def test_the_homeserver_is_asked_now_and_then() -> None:
    """Its answer is kept for minutes. While it can't be asked it names nothing, and it is asked again sooner."""
    now, asked = 0.0, 0
    answers: list[Exception | tuple[str, ...]] = [TryLater("away"), (NAMED,), ()]

    async def ask() -> tuple[str, ...]:
        nonlocal asked
        answer = answers[asked]
        asked += 1
        if isinstance(answer, Exception):
            raise answer
        return answer

    services = OwnServices("http://synapse:8008", ask, lambda: now)
    told: list[tuple[list[bool], int]] = []
    for pause_s in (0.0, AGAIN_S - 1, 1.0, ASKED_EVERY_S - 1, 1.0):
        now += pause_s
        both = await asyncio.gather(services.may_be_private(NAMED), services.may_be_private(NAMED))
        told.append((list(both), asked))
    no, yes = [False, False], [True, True]
    assert told == [(no, 1), (no, 1), (yes, 2), (yes, 2), (no, 3)]
