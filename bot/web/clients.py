"""Which client is behind a connection or a request, for counting them only, and which address it asked. Pure.

A client is one public IPv4 address, or one IPv6 network of the size that a household gets. Addresses of private
networks and of this machine are not counted: a proxy may stand there for the whole world. A proxy that
`web.trusted_proxies` names tells in `X-Forwarded-For` for whom it asks, and in `X-Forwarded-Host` and
`X-Forwarded-Proto` by which address. Nobody else's headers are believed.
"""

import re
from collections.abc import Mapping, Sequence
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address, ip_network

HOUSEHOLD_BITS = 64
LONGEST_HEADER = 2000
_HOST = re.compile(r"(?:[a-z0-9_.-]{1,253}|\[[0-9a-f:.]{2,45}\])(?::[0-9]{1,5})?")

_BY_PROXIES = ("X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Real-IP", "Forwarded", "Via")

Address = IPv4Address | IPv6Address


class Clients:
    """Names for clients. `trusted`: addresses and networks of proxies, as the settings have them."""

    def __init__(self, trusted: Sequence[str] = ()) -> None:
        self._trusted = [ip_network(network, strict=False) for network in trusted]

    @property
    def behind_proxies(self) -> bool:
        return bool(self._trusted)

    def trusts(self, peer: str) -> bool:
        """Return whether the `X-Forwarded-For` of this address is believed."""
        address = parse_address(peer)
        return address is not None and self._is_trusted(address)

    def of_connection(self, peer: str) -> str | None:
        """Return the client at the other end of a connection; None where it is a proxy or may be one."""
        address = parse_address(peer)
        if address is None or not address.is_global or self._is_trusted(address):
            return None
        return client_of(address)

    def of_request(self, forwarded: str) -> str | None:
        """Return the client that asked a trusted proxy: the last address that is not a trusted proxy's. None where
        that can't be read. Anything before it was written by the client itself."""
        for part in reversed(forwarded[-LONGEST_HEADER:].split(",")):
            address = parse_address(part.strip())
            if address is None:
                return None
            if not self._is_trusted(address):
                return client_of(address)
        return None

    def _is_trusted(self, address: Address) -> bool:
        return any(address in network for network in self._trusted)


def parse_address(text: str) -> Address | None:
    """Parse an address, also with a port, in brackets, or IPv4 written as IPv6; None where it is none."""
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    return (address.ipv4_mapped or address) if isinstance(address, IPv6Address) else address


def asked_origin(headers: Mapping[str, str], *, trusted: bool) -> str | None:
    """Return the scheme and host that a client asked, as `https://pods.example`; None where that can't be read.

    `trusted`: the request came from a trusted proxy. Only for telling old addresses from the present one: addresses are
    always built from `web.public_url`.
    """
    host, scheme = headers.get("Host", ""), "http"
    if trusted:  # of several proxies the last to add its word is the nearest
        host = _last(headers.get("X-Forwarded-Host", "")) or host
        scheme = _last(headers.get("X-Forwarded-Proto", "")) or scheme
    host, scheme = host.lower(), scheme.lower()
    return f"{scheme}://{host}" if scheme in ("http", "https") and _HOST.fullmatch(host) else None


def is_near(peer: str, headers: Mapping[str, str]) -> bool:
    """Tell whether a request was made on this machine, and through no proxy as far as its headers say."""
    address = parse_address(peer)
    return address is not None and address.is_loopback and not any(header in headers for header in _BY_PROXIES)


def _last(header: str) -> str:
    return header[-LONGEST_HEADER:].rpartition(",")[2].strip()


def client_of(address: Address) -> str:
    if isinstance(address, IPv4Address):
        return str(address)
    return str(IPv6Network((address, HOUSEHOLD_BITS), strict=False).network_address)
