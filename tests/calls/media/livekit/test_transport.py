"""Transports to an SFU that restarts ICE."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
from aioice import Connection

from bot.calls.media.door import Refused
from bot.calls.media.livekit.description import Local, Remote, offer, read
from bot.calls.media.livekit.subscriber import Subscriber
from bot.calls.media.livekit.transport import Transport

PRINT = ":".join(["AB"] * 32)


def described(number: int) -> str:
    """Describe the transport of an SFU that is not there."""
    return offer(Local(f"user{number}", "p" * 22, PRINT, ()), "track", 1, number)


def remote(number: int, prints: str = PRINT) -> Remote:
    return replace(read(described(number), "offer", {}), fingerprints=(f"sha-256 {prints}",))


@pytest.fixture
async def transport() -> AsyncIterator[Transport]:
    one = plain()
    yield one
    await one.close()


def plain() -> Transport:
    return Transport(private=True, admits=lambda _: True, received=lambda _: None, changed=lambda _: None)


async def test_connections_that_are_given_up_are_closed(transport: Transport) -> None:
    """An ICE connection that never was up is closed when another one begins."""
    for number in range(4):
        await transport.prepare(None)
        transport.connect(remote(number), controlling=False, client=True)
    async with asyncio.timeout(60):
        while len(transport._connections) > 1:  # noqa: ASYNC110 (state of the transport)
            await asyncio.sleep(0.01)


async def test_restarts_are_bounded() -> None:
    """An SFU that restarts ICE again and again is refused."""
    subscriber = Subscriber(private=True, owner=lambda _: None, heard=lambda *_: None, changed=lambda _: None)
    try:
        for number in range(6):
            await subscriber.answer(described(number), {}, None)
        with pytest.raises(Refused, match="too_many"):
            await subscriber.answer(described(6), {}, None)
    finally:
        await subscriber.close()


async def test_the_second_connection_begins_what_the_first_could_not(monkeypatch: pytest.MonkeyPatch) -> None:
    """DTLS begins on the first ICE connection that is up, and that waits for the other's first check."""
    ours, theirs = plain(), plain()
    connect, order = Connection.connect, list[str]()

    async def noted(connection: Connection) -> None:
        order.append("controlling" if connection.ice_controlling else "controlled")
        await connect(connection)

    monkeypatch.setattr(Connection, "connect", noted)
    monkeypatch.setattr("bot.calls.media.livekit.transport.ASKED_S", 5)
    monkeypatch.setattr("bot.calls.media.livekit.transport.CONNECT_S", 0.05)
    try:
        local = await ours.prepare(None)
        ours.connect(remote(1), controlling=True, client=True)  # nobody is there
        async with asyncio.timeout(60):
            while ours._tasks:  # noqa: ASYNC110 (state of the transport)
                await asyncio.sleep(0.01)
        monkeypatch.setattr("bot.calls.media.livekit.transport.CONNECT_S", 10)
        order.clear()
        local, other = await ours.prepare(None), await theirs.prepare(None)
        for transport, end in ((ours, other), (theirs, local)):
            for candidate in end.candidates:
                await transport.add_candidate(candidate)
        ours.connect(_of(other), controlling=False, client=True)
        await asyncio.sleep(0.05)
        theirs.connect(_of(local), controlling=True, client=False)
        async with asyncio.timeout(60):
            while not (ours.is_up and theirs.is_up):  # noqa: ASYNC110 (state of the transports)
                await asyncio.sleep(0.01)
        assert order == ["controlling", "controlled"]
        assert ours.is_settled
    finally:
        await ours.close()
        await theirs.close()


def _of(end: Local) -> Remote:
    return replace(remote(0, end.fingerprint), fragment=end.fragment, password=end.password)
