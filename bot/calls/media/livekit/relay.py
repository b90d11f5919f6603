"""The TURN servers that an SFU names, for when it can't be reached directly."""

import asyncio
import socket
import ssl
from collections.abc import Iterable
from typing import Any

from aiortc.rtcicetransport import parse_stun_turn_uri
from livekit.protocol import rtc

from bot.addresses import is_public
from bot.calls.media.livekit.transport import Relay

MOST_URLS = 16


async def relay(servers: Iterable[rtc.ICEServer], *, private: bool) -> Relay | None:
    """Return the likeliest server of those that may be connected to. STUN is of no use: the SFU sees where we are."""
    urls = [(url, server) for server in servers for url in server.urls][:MOST_URLS]
    for url, server in sorted(urls, key=lambda one: _order(one[0])):
        try:
            parsed = parse_stun_turn_uri(url)
        except ValueError:
            continue
        protocol = parsed.get("transport")
        secure = parsed["scheme"] == "turns"
        if protocol not in ("udp", "tcp") or (secure and protocol != "tcp"):
            continue
        host = parsed["host"]
        address = await _address(host, parsed["port"], private=private)
        if address is not None:
            tls = await asyncio.to_thread(_tls, host) if secure else None
            return Relay(address, parsed["port"], protocol, tls, server.username, server.credential)
    return None


def _order(url: str) -> int:
    """Put TLS before TCP before UDP: a server is needed where the network lets little through."""
    return 0 if url.startswith("turns:") else 1 if "transport=tcp" in url else 2


async def _address(host: str, port: int, *, private: bool) -> str | None:
    """Return the address of a host; None where it has none, or one that may not be connected to."""
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_DGRAM)
    except (OSError, UnicodeError):
        return None
    addresses = [str(address[0]) for *_, address in found]
    return addresses[0] if addresses and (private or all(map(is_public, addresses))) else None


class _Named(ssl.SSLContext):
    """TLS with a host that is connected to by its address, and has to show the certificate of its name."""

    name: str

    def wrap_bio(self, *bios: Any, **more: Any) -> ssl.SSLObject:
        return super().wrap_bio(*bios, **more | {"server_hostname": self.name})


def _tls(host: str) -> ssl.SSLContext:
    context = _Named(ssl.PROTOCOL_TLS_CLIENT)
    context.load_default_certs()
    context.name = host
    return context
