"""The TURN servers of an SFU: which may be connected to, and where."""

import asyncio
import ssl
from typing import Any

import pytest
from livekit.protocol import rtc

from bot.calls.media.livekit.relay import relay
from bot.calls.media.livekit.transport import Relay


class Names:
    """The addresses that names lead to, and how often each was looked up."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.asked: list[str] = []
        self.known = {
            "turn.example": ["8.8.8.8", "8.8.4.4"],
            "inside.example": ["10.0.0.5"],
            "both.example": ["8.8.8.8", "::1"],
            "10.0.0.5": ["10.0.0.5"],
        }
        monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", self._look_up)

    async def _look_up(self, host: str, port: int, **_: Any) -> Any:
        self.asked.append(host)
        if host not in self.known:
            raise OSError
        return [(0, 0, 0, "", (address, port)) for address in self.known[host]]


@pytest.fixture
async def names(monkeypatch: pytest.MonkeyPatch) -> Names:
    return Names(monkeypatch)


async def of(*urls: str, private: bool = False) -> Relay | None:
    server = rtc.ICEServer(urls=urls, username="bot", credential="secret")
    return await relay([server], private=private)


async def test_relays_in_private_networks_are_passed_over(names: Names) -> None:
    """Only one whose addresses are all public is used."""
    hosts = ("inside.example", "both.example", "10.0.0.5", "nowhere.example")
    urls = ["stun:turn.example", *(f"turn:{host}?transport=udp" for host in hosts)]
    assert await of(*urls) is None
    found = await of(*urls, "turn:turn.example:443?transport=tcp")
    assert found == Relay("8.8.8.8", 443, "tcp", None, "bot", "secret")


async def test_relays_of_an_sfu_that_may_be_private(names: Names) -> None:
    """A relay of its network is used."""
    assert await of("turn:inside.example:3478?transport=udp", private=True) == Relay(
        "10.0.0.5", 3478, "udp", None, "bot", "secret"
    )


async def test_the_address_that_was_judged_is_connected_to(names: Names) -> None:
    """The name is not looked up again, when it might lead elsewhere; TLS asks for its certificate all the same."""
    found = await of("turns:turn.example:443?transport=tcp")
    assert found is not None
    assert found.tls is not None
    assert (found.host, names.asked) == ("8.8.8.8", ["turn.example"])
    assert (found.tls.check_hostname, found.tls.verify_mode) == (True, ssl.CERT_REQUIRED)
    sent = ssl.MemoryBIO()
    with pytest.raises(ssl.SSLWantReadError):
        found.tls.wrap_bio(ssl.MemoryBIO(), sent, server_hostname=found.host).do_handshake()
    assert b"turn.example" in sent.read()


async def test_the_relay_that_gets_through_most_networks_is_chosen() -> None:
    """TLS goes before TCP, and TCP before UDP, in whatever order they are named."""
    urls = ["turn:127.0.0.1:1?transport=udp", "turn:127.0.0.1:2?transport=tcp", "turns:127.0.0.1:3?transport=tcp"]
    ports = []
    while urls:
        chosen = await of(*urls, private=True)
        assert chosen is not None
        ports.append(chosen.port)
        urls.pop()
    assert ports == [3, 2, 1]
